"""Callbacks that make something which may be a mistake, such as a network of the user's choice."""

from abc import ABC, abstractmethod

from lightning.pytorch import Callback, Trainer


class PreparedCallback(Callback, ABC):
    """Is prepared before loggers start a run elsewhere, which Lightning does before `setup`."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what may fail, once; UserError for a mistake."""


def prepare_callbacks(trainer: Trainer) -> None:
    """Prepare all of a Trainer's callbacks that ask for it."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, PreparedCallback):
            callback.prepare()
