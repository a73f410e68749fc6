"""Where runs lie: a folder each in `runs`, named by the user or by the time of its start."""

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path

from foundation.checks import check_not_empty, refuse_address
from foundation.errors import MissingFileError, UserError
from foundation.files import user_path

RUNS = Path("runs")
NEWEST = ("last", "best")  # of a run's checkpoints
BASE = {"base": "jbdiff", "base_sedd": "sedd"}  # the packages whose models come with the project

NO_CHECKPOINT = f"no checkpoint at {{}}: give {', '.join([*NEWEST, *BASE])} or the path of a file"


def folder_of(name: str | None, root: str | None, checkpoint: str | None) -> str:
    """Return the folder that a run writes to.

    It is the one that is given, or that of the checkpoint which is resumed, or a new one: named by
    the time, and a number where one of that second is there, or by the job on a SLURM cluster which
    starts a job again under the same number.
    """
    if name and root:
        raise UserError("give --name or --trainer.default_root_dir, not both")
    check_not_empty(name=name)
    if root is not None:
        return root if "://" in root else str(user_path(root, "default_root_dir"))
    if name is not None:
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or ".." in parts:
            raise UserError(f"--name {name} isn't a name in {RUNS}: see --trainer.default_root_dir")
        return str(RUNS / name)
    if checkpoint and (parent := Path(checkpoint).absolute().parent):
        if parent.name == "checkpoints":
            return str(parent.parent)
    if job := os.environ.get("SLURM_JOB_ID"):
        return str(RUNS / f"job_{job}")
    now = time.strftime("%Y-%m-%d_%H-%M-%S")
    names = chain([now], (f"{now}_{number}" for number in count(2)))
    return str(next(RUNS / one for one in names if not (RUNS / one).exists()))


def find_checkpoint(which: str, name: str | None = None, root: str | None = None) -> str:
    """Find `last` or `best` of a run, or of the newest one where none is named, or a base model.

    Raises:
        MissingFileError: where there is none
        UserError: for a URL, since Lightning runs the code that a remote checkpoint holds
    """
    refuse_address(which, which)
    if which in BASE:
        return str(base_folder(which))
    if which not in NEWEST:
        return str(user_path(which, "the path of a checkpoint"))
    if name or root:
        folders = [Path(folder_of(name, root, None))]
    else:
        folders = [RUNS, *runs_below(RUNS)]
    found = [path for folder in folders for path in folder.glob(f"checkpoints/{which}*.ckpt")]
    if not found:
        where = folders[0] if name or root else f"the runs in {RUNS}"
        others = sorted(path for folder in folders for path in folder.glob("checkpoints/*.ckpt"))
        instead = f"give {others[-1]}, " if others else "give "
        raise MissingFileError(
            f"there is no {which}.ckpt in {where}: {instead}a run's --name, a checkpoint's path, "
            "or leave --ckpt_path out"
        )
    return str(max(found, key=lambda path: path.stat().st_mtime))


def runs_below(folder: Path) -> Iterator[Path]:
    """Yield the folders of runs, also of those with names such as `set/a`; none lies in another."""
    for child in sorted(folder.glob("*/")):
        if (child / "checkpoints").is_dir():
            yield child
        elif not child.is_symlink():
            yield from runs_below(child)


def model_name(checkpoint: str, saved: str = "") -> str:
    """Name the model of a checkpoint for people: base, or `mine last` and when it was `saved`."""
    path = Path(checkpoint).absolute()
    for name in BASE:
        if path == base_folder(name):
            return name
    run = path.parent.parent.name if path.parent.name == "checkpoints" else ""
    time = f" of {saved[:19].replace('T', ' ')}" if run and saved else ""
    return f"{run} {path.stem}".strip() + time


def base_folder(name: str) -> Path:
    """Return the exported folder of a base model, without importing its package."""
    spec = find_spec(BASE[name])
    assert spec is not None and spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], "base")
