"""SIGTERM in training: all processes stop after the same step, and save."""

import signal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException


class Termination(Callback):
    """Stop before the next batch, or in the midst of a validation where one process trains.

    Lightning's own handler talks to the other processes from within the signal: where signals
    reach several of them, or one twice, they wait for each other for ever. Here the signal leaves a
    note, and the processes agree on it where all of them pass.
    """

    def __init__(self):
        self._asked = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._replace_handler(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._replace_handler(trainer)

    def _replace_handler(self, trainer: Trainer) -> None:
        """Replace Lightning's handler, which is there by now; it restores the one before."""

        def note(*_: object) -> None:
            if self._asked:
                return
            self._asked = True
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signal.SIGTERM)  # to the processes this one started
            if trainer.world_size == 1 and (trainer.validating or trainer.sanity_checking):
                raise SIGTERMException

        signal.signal(signal.SIGTERM, note)

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        if trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            raise SIGTERMException

    def on_validation_start(self, trainer: Trainer, *_: object) -> None:
        self.on_train_batch_start(trainer)
