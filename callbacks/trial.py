"""Whether a run is a trial that writes nothing."""

from lightning.pytorch import Trainer


def is_trial(trainer: Trainer) -> bool:
    """Say whether this is a `fast_dev_run`."""
    return bool(trainer.fast_dev_run)  # pyright: ignore[reportAttributeAccessIssue] (set elsewhere)
