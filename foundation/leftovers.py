"""What killed processes leave behind: temporary files and folders, known by their names."""

import os
import platform
import re
import time
from pathlib import Path

PATTERN = re.compile(r"\..+\.(?P<host>\w+)-(?P<process>\d+)\.tmp")
DAY = 24 * 3600  # seconds after which nobody on another machine is writing any more


def host() -> str:
    """Return this machine's name in letters, digits and underscores."""
    return re.sub(r"\W", "_", platform.node())[:40] or "unnamed"


def temporary_name(path: Path) -> Path:
    """Return a hidden path beside `path` whose name tells who writes it."""
    return path.with_name(f".{path.name}.{host()}-{os.getpid()}.tmp")


def is_leftover(path: Path) -> bool:
    """Say whether a path is temporary, and nobody is writing it any more.

    Its process has ended if it ran on this machine; that of another machine on a shared disk can't
    be asked, so a day has to pass.
    """
    match = PATTERN.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] == host() and not is_running(int(match["process"])):
        return True
    try:
        return time.time() - path.lstat().st_mtime > DAY
    except OSError:  # it has just been renamed
        return False


def is_running(process: int) -> bool:
    """Say whether a process of this number runs; of Windows, where it can't be asked, True."""
    if os.name == "nt":  # where os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def find_leftovers(folder: Path, deep: bool = False) -> list[Path]:
    """List the leftovers in a folder, or, if `deep`, in all that are in it."""
    found = folder.rglob(".*.tmp") if deep else folder.glob(".*.tmp")
    return [path for path in found if is_leftover(path)]
