"""SIGTERM in training: all processes stop after the same step, and save."""

import signal
from functools import partial

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException


class Termination(Callback):
    """Stop before the next batch when SIGTERM comes, and in the midst of a validation where one
    process trains.

    Lightning's own handler talks to the other processes from within the signal: where signals
    reach several of them, or one twice, they wait for each other for ever. Here the signal leaves a
    note, and the processes agree on it where all of them pass.
    """

    def __init__(self):
        self._asked = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        self._stop_if_asked(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_asked(trainer)

    def _listen(self, trainer: Trainer) -> None:
        """Replace Lightning's handler, which is there by now; it puts back the one before."""
        signal.signal(signal.SIGTERM, partial(self._hear, trainer))

    def _hear(self, trainer: Trainer, *_: object) -> None:
        if self._asked:
            return
        self._asked = True
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGTERM)  # to the processes this one started
        if trainer.world_size == 1 and (trainer.validating or trainer.sanity_checking):
            raise SIGTERMException

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            raise SIGTERMException
