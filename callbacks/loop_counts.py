"""Counts of a checkpoint's loops, so that a resumed run validates and logs where it would have."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

BATCHES = "epoch_loop.batch_progress"  # names in Lightning's checkpoints
VALIDATION = "epoch_loop.val_loop.batch_progress"
LOGGED = ("epoch_loop.state_dict", "_batches_that_stepped")  # the step that loggers are given
INTERRUPTED = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


class LoopCounts(Callback):
    """Write the counts of whole steps into checkpoints.

    Lightning writes counts as they are in the middle of things, and takes them up so: each stop
    within a batch would move all later validations, and the steps of loggers, by one; batches of a
    step that was being accumulated would be lost; a validation that was stopped would be continued
    with the batches that remain, or left out. Here a batch without its step is trained on again,
    and a validation without its end is made again from its start. A run that resumes with more or
    fewer batches in a step, as on another number of processes, counts on from the same step.
    """

    def __init__(self):
        self._validated = -1  # batches trained on at the end of the last validation
        self._accumulate = 1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._accumulate = trainer.accumulate_grad_batches

    def state_dict(self) -> dict[str, int]:
        return {"validated": self._validated, "accumulate": self._accumulate}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._validated = state_dict["validated"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            done = trainer.fit_loop.epoch_loop.batch_progress.total
            self._validated = done.processed  # pyright: ignore[reportAttributeAccessIssue]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict
    ) -> None:
        own = checkpoint.get("callbacks", {}).get(self.state_key, {})
        before, now = own.get("accumulate", 0), self._accumulate
        if trainer.state.fn == TrainerFn.FITTING and before > 0:  # earlier versions don't say
            batches = checkpoint["loops"]["fit_loop"][BATCHES]
            recount(batches["total"], before, now)
            recount(batches["current"], before, now)
            own["validated"] = own.get("validated", -1) * now // before

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict
    ) -> None:
        counts = checkpoint["loops"]["fit_loop"]
        batches, progress = counts[BATCHES], counts[VALIDATION]
        rest = batches["current"]["processed"] % trainer.accumulate_grad_batches
        for part in (batches["total"], batches["current"]):
            part["processed"] -= 0 if batches["is_last_batch"] else rest
            part["ready"] = part["started"] = part["processed"]
            part["completed"] = min(part["completed"], part["processed"])
        if self._validated != batches["total"]["processed"]:
            progress["total"] |= INTERRUPTED
            progress["current"] = dict.fromkeys(progress["current"], 0)
        if pl_module.automatic_optimization:
            state, name = LOGGED
            again = in_batch_end(batches) + is_due(trainer, batches)  # how often it is raised
            counts[state][name] = checkpoint["global_step"] - again


def recount(part: dict, before: int, now: int) -> None:
    """Count the batches of whole steps as if they had `now` batches each, instead of `before`."""
    done = part["processed"]
    part["processed"] = part["ready"] = part["started"] = done * now // before
    part["completed"] += part["processed"] - done


def in_batch_end(batches: dict) -> bool:
    """Say whether the checkpoint is written by a callback of the end of a batch."""
    return batches["total"]["completed"] < batches["total"]["processed"]


def is_due(trainer: Trainer, batches: dict) -> bool:
    """Say whether a validation follows the batches, as Lightning asks when it resumes."""
    interval, every = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if not trainer.enable_validation or not isinstance(interval, int):
        return False
    done = batches["total" if every is None else "current"]["processed"]
    return done % interval == 0 and (every is None or (trainer.current_epoch + 1) % every == 0)
