"""An optimizer step of so many examples, on any number of processes."""

from lightning.pytorch import Trainer

from foundation.errors import UserError


def keep_global_batch(trainer: Trainer, batch_size: int, global_batch: int) -> None:
    """Accumulate as many batches as make a step of `global_batch` examples of all processes.

    A validation interval in batches is changed along, so that it stays the same in steps.

    Raises:
        UserError: where no number of batches does
    """
    ranks = trainer.world_size
    accumulate, rest = divmod(global_batch, batch_size * ranks)
    if rest or not accumulate:
        fits = f", whose number divides {global_batch // batch_size}"
        advice = f"take processes{fits}" if global_batch % batch_size == 0 else "set a multiple"
        raise UserError(
            f"global_batch must be a multiple of batch_size {batch_size} x {ranks} processes, got "
            f"{global_batch}: {advice}, or another batch_size"
        )
    before, trainer.accumulate_grad_batches = trainer.accumulate_grad_batches, accumulate
    if isinstance(interval := trainer.val_check_interval, int):
        trainer.val_check_interval = max(1, round(interval / before)) * accumulate
