"""SIGTERM and Ctrl-C in training: all processes stop after the same step, and save."""

import logging
import signal
import threading

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from foundation.checks import check_at_least

log = logging.getLogger(__name__)


class AgreedInterrupt(KeyboardInterrupt):
    """Ctrl-C, where all processes stop after the same step, so that they can save together."""


class Termination(Callback):
    """Stop before the next batch; where one process trains, at once on Ctrl-C or in a validation.

    Lightning's own handler of SIGTERM talks to the other processes from within the signal: where
    signals reach several of them, or one twice, they wait for each other for ever. Here a signal
    leaves a note, and the processes agree on it where all of them pass. A second Ctrl-C is part of
    the first where one process trains; where several do, it stops them at once, without saving.
    Between an optimizer's step and the end of its batch Ctrl-C waits: half a step isn't saved.

    Args:
        every_n_batches: from one agreement of several processes to the next, for which they wait;
            the batches between two must fit into the time that a cluster leaves after its signal
    """

    def __init__(self, every_n_batches: int = 10):
        check_at_least(1, every_n_batches=every_n_batches)
        self.every_n_batches = every_n_batches
        self._asked: type[BaseException] | None = None
        self._stepping = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._replace_handlers(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._replace_handlers(trainer)

    def _replace_handlers(self, trainer: Trainer) -> None:
        """Replace Lightning's handlers, which are there by now; it restores those before them."""
        if threading.current_thread() is threading.main_thread():  # only there Python allows it
            signal.signal(signal.SIGTERM, lambda *_: self._terminate(trainer))
            signal.signal(signal.SIGINT, lambda *_: self._interrupt(trainer))

    def _terminate(self, trainer: Trainer) -> None:
        if self._asked:
            return
        self._asked = SIGTERMException
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGTERM)  # to the processes this one started
        if trainer.world_size == 1 and (trainer.validating or trainer.sanity_checking):
            raise SIGTERMException

    def _interrupt(self, trainer: Trainer) -> None:
        first, self._asked = self._asked is not KeyboardInterrupt, KeyboardInterrupt
        if trainer.world_size == 1:
            if first and not self._stepping:
                raise KeyboardInterrupt
        elif trainer.is_global_zero:
            if not first:
                raise KeyboardInterrupt  # it ends the other processes, which pass this over
            log.info("stopping after this step; Ctrl-C again stops at once, without saving")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        if trainer.world_size == 1 or batch_idx % self.every_n_batches == 0:
            self._agree(trainer)

    def on_before_optimizer_step(self, *_: object) -> None:
        self._stepping = True

    def on_train_batch_end(self, *_: object) -> None:
        self._stepping = False

    def _agree(self, trainer: Trainer) -> None:
        agree = trainer.strategy.reduce_boolean_decision
        if agree(self._asked is not None, all=False):
            interrupted = agree(self._asked is KeyboardInterrupt, all=False)
            raise AgreedInterrupt if interrupted else SIGTERMException

    def on_validation_start(self, trainer: Trainer, *_: object) -> None:
        self._agree(trainer)

    def on_validation_batch_start(self, trainer: Trainer, *_: object) -> None:
        self._agree(trainer)
