"""One run a folder: what an earlier one left is kept aside, and two at once are refused."""

import fcntl
from pathlib import Path
from typing import IO

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

MADE = ("checkpoints", "demos", "config.yaml", "fad.csv", "fad.png")  # what a run writes by name


class RunFolder(Callback):
    """Keep `default_root_dir` to one run, so that its `best.ckpt` and `last.ckpt` are of that run.

    When another run starts there, the files of the one before are moved to `earlier_1` and so on;
    going on from one of its checkpoints is the same run. `resumed` is the path that training goes
    on from, or `last`. While a run lasts, `fit` refuses to start another in its folder; the lock is
    the operating system's, so that a killed run leaves none.
    """

    def __init__(self, resumed: str | None = None):
        self.resumed = resumed
        self.trained = False  # a batch at least
        self._lock: IO[str] | None = None

    def take(self, folder: Path) -> None:
        """Lock the folder, before loggers write there; ValueError if another run has it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock(folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """By now the settings have proved good, and nothing is written yet."""
        folder = place_of(trainer)
        if folder is None:
            return
        problem = self._set_aside(folder) if trainer.is_global_zero else None
        if problem := trainer.strategy.broadcast(problem):  # all processes stop, or none
            raise OSError(problem)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        self.trained = True

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    def _set_aside(self, folder: Path) -> str | None:
        """Keep an earlier run's files; say why that can't be."""
        try:
            if not self._goes_on(folder):
                set_aside(folder)
        except OSError as error:
            return str(error)
        return None

    def _goes_on(self, folder: Path) -> bool:
        if self.resumed is None:
            return any(folder.glob("hpc_ckpt_*"))  # what Lightning resumes from on a SLURM cluster
        if self.resumed in ("last", "hpc"):
            return True
        return Path(self.resumed).resolve().is_relative_to((folder / "checkpoints").resolve())


def place_of(trainer: Trainer) -> Path | None:
    """Give the folder of a run on this machine; None for one that is elsewhere or saves nothing."""
    root = str(trainer.default_root_dir)
    return None if trainer.fast_dev_run or "://" in root else Path(root).absolute()


def lock(folder: Path) -> IO[str]:
    """Lock a folder for as long as the file returned is open; ValueError where it's locked."""
    file = (folder / ".lock").open("w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"another run is training in {folder}: give this one a folder of its own with "
            "--trainer.default_root_dir runs/NAME"
        ) from error
    except OSError:
        pass  # a file system without locks
    return file


def set_aside(folder: Path) -> None:
    """Move the checkpoints, demos and settings of an earlier run to `earlier_N`."""
    if not any(any((folder / name).glob("*")) for name in ("checkpoints", "demos")):
        return
    number = 1
    while (folder / f"earlier_{number}").exists():
        number += 1
    kept = folder / f"earlier_{number}"
    kept.mkdir()
    for name in MADE:
        if (folder / name).exists():
            (folder / name).rename(kept / name)
    rank_zero_info(f"{folder} holds an earlier run: its files are in {kept} now")
