"""A user whom the machine doesn't know, as in a container that runs under any number."""

import getpass
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def name_user() -> None:
    """Give the user a name and a home where there is none: torch and matplotlib need them."""
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = "user"  # where getpass looks first
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = temporary_home()


def temporary_home() -> str:
    """Return a folder that is this user's alone; another one each time if somebody took its name.

    Files in the cache are believed, so it must not be a folder that others can write to.
    """
    folder = Path(tempfile.gettempdir(), f"home-{os.getuid()}")
    with suppress(FileExistsError):  # also a file's, or a link's to nothing
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if found.st_uid == os.getuid() and found.st_mode & 0o40777 == 0o40700:
        return str(folder)
    return tempfile.mkdtemp(prefix="home-")
