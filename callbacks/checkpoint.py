"""Checkpoints in `<default_root_dir>/checkpoints`: every so many steps, the best, and the last.

`best.ckpt` has the best monitored value, `last.ckpt` is the newest, also of a run that was stopped.
"""

import logging
import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from callbacks.termination import AgreedInterrupt
from callbacks.trial import is_trial
from callbacks.validation import warn_without_validation
from foundation.checks import check_at_least
from foundation.errors import TERMINATED, DivergedError, UserError
from foundation.files import replacing
from foundation.settings import content_of
from foundation.sharded import whole

log = logging.getLogger(__name__)
BEST = "best.ckpt"
CAUSES = {KeyboardInterrupt: "Ctrl-C", AgreedInterrupt: "Ctrl-C", SIGTERMException: "SIGTERM"}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the final name, then rename: a file under the final name is always whole."""

    def save_checkpoint(
        self, checkpoint: dict, path: str | Path, storage_options: object | None = None
    ) -> None:
        if "://" in str(path):  # object stores publish a file only when it is complete
            return super().save_checkpoint(checkpoint, path, storage_options)
        try:
            with replacing(path) as temporary, open(temporary, "wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch's zip writer hides the system's error
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            message = f"the checkpoint can't be written, the one before is whole: {cause}"
            raise OSError(getattr(cause, "errno", None), message, str(path)) from error


class RunCheckpoint(Checkpoint):
    """Save whole files to the run's `checkpoints`; a base of the two below."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        root = os.path.abspath(trainer.default_root_dir)
        self.folder = Path(trainer.strategy.broadcast(root), "checkpoints")
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()

    def active(self, trainer: Trainer) -> bool:
        """Say whether this is training, and not a trial of it."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        return fitting and not trainer.sanity_checking and not is_trial(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict
    ) -> None:
        """Raise DivergedError, on all processes, before weights that are not finite are written."""
        names = {name for name, _ in pl_module.named_parameters(remove_duplicate=False)}
        states = [checkpoint["state_dict"], checkpoint.get("current_model_state", {})]
        weights = [state[name] for state in states for name in names & state.keys()]
        moments = [
            value
            for optimizer in checkpoint.get("optimizer_states", [])
            for state in optimizer["state"].values()
            for value in state.values()
        ]
        if self.active(trainer) and not all_finite([*weights, *moments]):
            raise DivergedError(
                f"training stopped at step {trainer.global_step}: weights, their average or the "
                "optimizer's state aren't finite any more: resume from the checkpoint before with "
                "a lower --model.learning_rate"
            )


def all_finite(values: Iterable[object]) -> bool:
    """Say whether all numbers of the tensors among some values are finite."""
    tensors = [v for v in values if isinstance(v, Tensor) and v.is_floating_point()]
    finite = [whole(v.isfinite().all()).cpu() for v in tensors]
    return bool(torch.stack(finite).all()) if finite else True


class BestCheckpoint(RunCheckpoint):
    """Keep `best.ckpt`, the one with the lowest (or highest) monitored value at a validation.

    A run that resumes from a checkpoint older than its best.ckpt replaces it by a better one only.

    Args:
        monitor: the value's name
        mode: min or max
    """

    makes = BEST

    def __init__(self, monitor: str = "val/loss", mode: str = "min"):
        if mode not in ("min", "max"):
            raise UserError(f"mode must be min or max, got {mode!r}")
        self.monitor, self.sign = monitor, 1 if mode == "min" else -1
        self.measure = f"{mode} {monitor}"
        self.best = float("inf")

    def state_dict(self) -> dict[str, float | str]:
        return {"best": self.best, "measure": self.measure}

    def load_state_dict(self, state_dict: dict) -> None:
        score = state_dict.get("best_model_score")  # of a checkpoint of earlier versions
        if state_dict.get("measure", self.measure) == self.measure:
            self.best = state_dict["best"] if score is None else self.sign * float(score)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        warn_without_validation(trainer, self)
        if trainer.ckpt_path and self.active(trainer):
            written = self.written() if trainer.is_global_zero else math.inf
            self.best = min(self.best, trainer.strategy.broadcast(written))

    def written(self) -> float:
        """Return the score of the run's best.ckpt; infinite where there is none, or of another."""
        try:
            state = content_of(self.folder / BEST)["callbacks"][self.state_key]
            return float(state["best"]) if state.get("measure") == self.measure else math.inf
        except (UserError, LookupError, AttributeError, TypeError, ValueError):  # damaged
            return math.inf

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.active(trainer):
            return
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise UserError(f"BestCheckpoint's monitor {self.monitor} isn't logged, but {known}")
        value = self.sign * float(trainer.callback_metrics[self.monitor])
        if not math.isfinite(value) and trainer.is_global_zero:
            log.warning("%s is %g at step %d", self.monitor, self.sign * value, trainer.global_step)
        if trainer.strategy.reduce_boolean_decision(math.isfinite(value) and value < self.best):
            self.best = value
            trainer.save_checkpoint(self.folder / BEST)


class StepCheckpoint(RunCheckpoint):
    """Save every so many steps, keep the newest few, and `last.ckpt` as another name of the newest.

    Saves too when training ends and when it is stopped: by SIGTERM, after which the process ends
    with status 143, by Ctrl-C, and, where one process trains, by an error; but not where training
    diverged, for the step before is no better then: the checkpoints before it are kept.

    Args:
        every_n_steps: steps from one to the next
        keep: how many to keep; -1 keeps all, 0 only last.ckpt
    """

    def __init__(self, every_n_steps: int = 1000, keep: int = 1):
        check_at_least(1, every_n_steps=every_n_steps)
        self.every_n_steps, self.keep = every_n_steps, keep
        self._saved: int | None = None  # the step of the newest checkpoint; none before training

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._saved = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved = trainer.global_step  # what was loaded needs no saving

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, SIGTERMException):
            exception.code = TERMINATED
        elif trainer.world_size > 1 and not isinstance(exception, AgreedInterrupt):
            return  # alone, saving would wait for the others for ever
        if self._saved is None or not self.active(trainer):
            return
        if isinstance(exception, DivergedError):
            return self._tell_newest(trainer)
        try:
            self._save(trainer)
        except Exception as failure:  # the reason for stopping must not be lost to this one
            return log.warning("no checkpoint was saved on stopping: %s", failure)
        reason = CAUSES.get(type(exception), type(exception).__name__)
        step, last = trainer.global_step, self.folder / "last.ckpt"
        if trainer.is_global_zero and last.exists():
            log.info(
                "stopped by %s at step %d; resume with the same command and --ckpt_path %s",
                reason, step, last,
            )  # fmt: skip

    def _tell_newest(self, trainer: Trainer) -> None:
        last = self.folder / "last.ckpt"
        if trainer.is_global_zero and last.exists():
            log.info("nothing was saved of it: %s is the checkpoint of step %d", last, self._saved)

    def _save(self, trainer: Trainer) -> None:
        """Save unless this step is saved; all processes must call it."""
        if not self.active(trainer) or trainer.global_step == self._saved:
            return
        path = self.folder / f"step_{trainer.global_step:08d}.ckpt"
        trainer.save_checkpoint(path)
        self._saved = trainer.global_step
        if trainer.is_global_zero:
            name_again(path, self.folder / "last.ckpt")
            steps = sorted(self.folder.glob("step_*.ckpt"))
            for old in steps[: len(steps) - self.keep] if self.keep >= 0 else []:
                old.unlink()
        trainer.strategy.barrier("checkpoint")


def name_again(path: Path, name: Path) -> None:
    """Give a file a second name at once: a hard link, or a copy where there are none."""
    with replacing(name) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
