"""Checkpoints: every so many steps, the best, the last, and one when a run is stopped.

All lie in `<default_root_dir>/checkpoints`, whatever the logger numbers its runs by, so that
`fit --ckpt_path last` finds the newest `last.ckpt` of an earlier run with the same root.
"""

import logging
import os
import shlex
import shutil
import sys
from pathlib import Path

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)
TEMPORARY = ".tmp"
CAUSES = {KeyboardInterrupt: "Ctrl-C", SIGTERMException: "SIGTERM"}
TERMINATED = 128 + 15  # the exit status shells give a process ended by SIGTERM


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the final name, then rename: a file under the final name is always whole.

    Lightning's own writer holds the whole file in memory, puts it in the system's temporary folder
    and moves it from there, which between file systems is a copy that can be cut short.
    """

    def save_checkpoint(
        self, checkpoint: dict, path: str | Path, storage_options: object | None = None
    ) -> None:
        if "://" in str(path):  # object stores publish a file only when it is complete
            return super().save_checkpoint(checkpoint, path, storage_options)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}{TEMPORARY}"
        try:
            with open(temporary, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:  # torch's zip writer hides the system's error
            reason = error.__context__ if isinstance(error.__context__, OSError) else error
            raise OSError(
                f"the checkpoint {path} can't be written: {reason}; what was there before is whole"
            ) from error
        finally:
            Path(temporary).unlink(missing_ok=True)


class RunCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that writes whole files to `<default_root_dir>/checkpoints`."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._place(trainer)
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        if stage == "fit" and trainer.is_global_zero and not trainer.fast_dev_run:
            for leftover in Path(self.dirpath).glob(f"*{self.FILE_EXTENSION}{TEMPORARY}"):
                leftover.unlink(missing_ok=True)  # a run was killed while it wrote

    def _find_last_checkpoints(self, trainer: Trainer) -> set[str]:
        self._place(trainer)  # the Trainer looks for `last` before it calls setup
        return super()._find_last_checkpoints(trainer)

    def _place(self, trainer: Trainer) -> None:
        if self.dirpath is None:
            self.dirpath = os.path.join(os.path.abspath(trainer.default_root_dir), "checkpoints")


class BestCheckpoint(RunCheckpoint):
    """Keep `best.ckpt`, the one with the lowest (or highest) monitored value at a validation.

    Args:
        monitor: the value's name
        mode: min or max
    """

    def __init__(self, monitor: str = "val/loss", mode: str = "min"):
        super().__init__(filename="best", monitor=monitor, mode=mode, save_on_train_epoch_end=False)


class StepCheckpoint(RunCheckpoint):
    """Save every so many steps, keep the newest few, and `last.ckpt` as another name of the newest.

    Saves too when training ends and when it is stopped: by SIGTERM, after which the process ends
    with status 143, and, where one process trains, by Ctrl-C or an error.

    Args:
        every_n_steps: steps from one to the next
        keep: how many to keep
    """

    def __init__(self, every_n_steps: int = 1000, keep: int = 1):
        super().__init__(
            filename="step_{step:08d}",
            auto_insert_metric_name=False,
            monitor="step",
            mode="max",
            save_top_k=keep,
            save_last="link",
            save_on_exception=True,
            every_n_train_steps=every_n_steps,
        )
        self._training = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._training = False

    def _find_last_checkpoints(self, trainer: Trainer) -> set[str]:
        found = super()._find_last_checkpoints(trainer)
        if not found:
            raise FileNotFoundError(
                f"there is no last.ckpt in {self.dirpath}: give the run's "
                "--trainer.default_root_dir, or leave --ckpt_path out"
            )
        return found

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._training = True
        self._last_global_step_saved = trainer.global_step  # what was loaded needs no saving
        if not self.last_model_path:  # known before the first save, which stores it
            self.last_model_path = self._free_last_path(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_newest(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, SIGTERMException):
            exception.code = TERMINATED
        if trainer.state.fn != TrainerFn.FITTING or not self._training or trainer.fast_dev_run:
            return
        together = trainer.world_size == 1 or isinstance(exception, SIGTERMException)
        if together and self._should_save_on_exception(
            trainer
        ):  # alone, saving would wait for ever
            try:
                self._save_newest(trainer)
            except Exception as failure:  # the reason for stopping must not be lost to this one
                log.warning("no checkpoint was saved on stopping: %s", failure)
                return
        if trainer.is_global_zero and os.path.exists(self.last_model_path):
            reason = CAUSES.get(type(exception), type(exception).__name__)
            step, command = trainer.global_step, again(sys.argv[1:], self.last_model_path)
            log.info("stopped by %s at step %d; resume with: %s", reason, step, command)

    def _save_newest(self, trainer: Trainer) -> None:
        candidates = self._monitor_candidates(trainer)
        self._save_topk_checkpoint(trainer, candidates)
        self._save_last_checkpoint(trainer, candidates)

    def _free_last_path(self, trainer: Trainer) -> str:
        """Name the last checkpoint so that a new run leaves an earlier run's alone."""
        path = self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST)
        version = self.STARTING_VERSION
        while self.file_exists(path, trainer):
            path = self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST, ver=version)
            version += 1
        return path

    @staticmethod
    def _link_checkpoint(trainer: Trainer, filepath: str, linkpath: str) -> None:
        """Give the file a second name at once: a hard link, or a copy where there are none."""
        if trainer.is_global_zero:
            temporary = f"{linkpath}{TEMPORARY}"
            Path(temporary).unlink(missing_ok=True)
            try:
                os.link(filepath, temporary)
            except OSError:
                shutil.copyfile(filepath, temporary)
            os.replace(temporary, linkpath)
        trainer.strategy.barrier()


def again(args: list[str], checkpoint: str) -> str:
    """Write the command line that goes on from a checkpoint, to be copied."""
    kept = [
        arg
        for before, arg in zip(["", *args], args, strict=False)
        if "--ckpt_path" not in (before, arg.split("=")[0])
    ]
    return shlex.join(["python", "cli.py", *kept, "--ckpt_path", checkpoint])
