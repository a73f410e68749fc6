"""The bar of an epoch that is gone on with."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class ResumedBar(Callback):
    """Give the training bar its end and speed where training goes on within an epoch.

    Lightning takes the steps that are left, not counting accumulated batches, for the whole
    epoch's, and the batches before for done in no time.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        callback = trainer.progress_bar_callback
        if self._first and isinstance(callback, TQDMProgressBar):
            bar = callback.train_progress_bar
            bar.initial, bar.total = batch_idx, batches(trainer, batch_idx)
        self._first = False


def batches(trainer: Trainer, done: int) -> int | None:
    """Count the batches of this epoch, of which some are done; None where there is no end."""
    total = trainer.num_training_batches
    if trainer.max_steps > 0:
        left = trainer.max_steps - trainer.global_step
        total = min(total, done + left * trainer.accumulate_grad_batches)
    return None if total == float("inf") else int(total)
