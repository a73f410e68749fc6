"""One run a folder: what an earlier one left is kept aside, and two at once are refused."""

from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from callbacks.trial import is_trial
from foundation.errors import UserError
from foundation.files import missing_folders, remove_leftovers, remove_new

WRITTEN = ("checkpoints", "demos", "config.yaml", "fad.csv", "fad.png")
WRITTEN += ("index.html", "index_files", "curves.csv", "provenance.json")  # by a run


class RunFolder(Callback):
    """Keep `default_root_dir` to one run, so that its `best.ckpt` and `last.ckpt` are of that run.

    When another run starts there, the files of the one before are moved to `earlier_1` and so on;
    resuming from one of its checkpoints is the same run. While a run lasts, another one in its
    folder is refused; the lock is the operating system's, so a killed run leaves none, and the
    temporary files that it does leave are removed.

    Args:
        resumed: the checkpoint that training resumes from, if any
    """

    def __init__(self, resumed: str | None = None):
        self.resumed = resumed
        self._lock: FileLock | None = None
        self._made: list[Path] = []  # folders that are there for this run alone, until it starts

    def take(self, folder: Path) -> None:
        """Lock the folder, before loggers write there; UserError if another run has it."""
        self._made = missing_folders(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                f"another run is training in {folder}: give this one a folder of its own with "
                "--name NAME"
            ) from error
        except (OSError, NotImplementedError):
            return  # a file system without locks
        self._lock = lock

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """By now the settings have proved good, and nothing is written yet."""
        folder, problem = local_folder(trainer), None
        if folder and trainer.is_global_zero:
            try:
                remove_leftovers(folder, deep=True)
                if not self._resumes(folder):
                    set_aside(folder)
            except OSError as error:
                problem = str(error)
        if problem := trainer.strategy.broadcast(problem):  # all processes stop, or none
            raise UserError(problem)
        self._made = []

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave no folder of a run that never started."""
        remove_new(self._made)
        self._made = []

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._lock:
            self._lock.release()
            self._lock = None

    def _resumes(self, folder: Path) -> bool:
        if self.resumed in (None, "hpc"):  # Lightning's checkpoint for a SLURM job's next start
            return any(folder.glob("hpc_ckpt_*"))
        return Path(self.resumed).resolve().is_relative_to((folder / "checkpoints").resolve())


def local_folder(trainer: Trainer) -> Path | None:
    """Return the run's folder on this machine; None for one elsewhere, or that saves nothing."""
    root = str(trainer.default_root_dir)
    return None if is_trial(trainer) or "://" in root else Path(root).absolute()


def set_aside(folder: Path) -> None:
    """Move the checkpoints, demos and settings of an earlier run to `earlier_N`."""
    if not any(any((folder / name).glob("*")) for name in ("checkpoints", "demos")):
        return
    number = 1
    while (folder / f"earlier_{number}").exists():
        number += 1
    kept = folder / f"earlier_{number}"
    kept.mkdir()
    for name in WRITTEN:
        if (folder / name).exists():
            (folder / name).rename(kept / name)
    rank_zero_info(f"{folder} holds an earlier run: its files are in {kept} now")
