"""Validations, and the steps of loggers, of a run that is stopped wherever it can be."""

import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from callbacks.checkpoint import StepCheckpoint
from callbacks.loop_counts import LoopCounts
from callbacks.termination import Termination
from tests.callbacks.toy import Toy, fit


class Validations(Callback):
    """Notes where and with which result validations end."""

    def __init__(self):
        self.rows: list[tuple[int, int, float]] = []

    def on_validation_end(self, trainer: Trainer, *_: object) -> None:
        if not trainer.sanity_checking:
            logged = trainer.fit_loop.epoch_loop._batches_that_stepped
            loss = trainer.callback_metrics["val/loss"].item()
            self.rows.append((trainer.global_step, logged, loss))


class Stop(Callback):
    """Sends a signal to this process from within a hook, at its n-th call."""

    def __init__(self, hook: str, number: int, sent: signal.Signals):
        self.left, self.sent = number, sent
        setattr(self, hook, self.count)

    def count(self, trainer: Trainer, *_: object) -> None:
        self.left -= not trainer.sanity_checking
        if self.left == 0:
            os.kill(os.getpid(), self.sent)


STOPS = [
    ("on_train_batch_start", 3, signal.SIGINT),  # of a step that is being accumulated
    ("on_before_backward", 4, signal.SIGINT),
    ("on_before_zero_grad", 2, signal.SIGINT),  # of a step that is made, but not to its end
    ("on_validation_start", 1, signal.SIGTERM),
    ("on_validation_batch_end", 2, signal.SIGINT),
]


def train(root: Path, seen: Validations, steps: int, *stop: Callback) -> Toy:
    callbacks = [LoopCounts(), Termination(), StepCheckpoint(every_n_steps=3), seen, *stop]
    last = "last" if (root / "checkpoints/last.ckpt").exists() else None
    options = {"accumulate_grad_batches": 2, "val_check_interval": 4, "limit_train_batches": 1.0}
    return fit(root, callbacks, steps, ckpt_path=last, check_val_every_n_epoch=None, **options)


def test_a_run_that_is_stopped_everywhere_validates_and_logs_as_one_that_is_not(tmp_path):
    whole, cut = Validations(), Validations()
    straight = train(tmp_path / "straight", whole, 12)
    for hook, number, sent in STOPS:
        with pytest.raises((SystemExit, SIGTERMException)):
            train(tmp_path / "cut", cut, 12, Stop(hook, number, sent))
    resumed = train(tmp_path / "cut", cut, 12)
    assert sorted({*cut.rows}) == whole.rows and len(whole.rows) == 6
    assert torch.equal(resumed.weight, straight.weight)
