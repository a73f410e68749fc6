"""What a run goes without where it has no validation."""

import logging

from lightning.pytorch import Callback, Trainer

log = logging.getLogger(__name__)


def warn_without_validation(trainer: Trainer, callback: Callback) -> None:
    """Say in one line what there won't be; each callback that acts in validations calls this.

    Such a callback names what it makes in `makes`; the first of them speaks for all.
    """
    without = trainer.val_dataloaders is not None and not sum(trainer.num_val_batches)
    if trainer.enable_validation and not without:
        return
    makers = [one for one in trainer.callbacks if hasattr(one, "makes")]  # type: ignore[attr-defined]
    if makers and makers[0] is callback and trainer.is_global_zero:
        names = list(dict.fromkeys(maker.makes for maker in makers))
        log.warning(
            "no validation (val_fraction, limit_val_batches or the music's length leaves none): "
            "there will be no %s",
            ", no ".join(names),
        )
