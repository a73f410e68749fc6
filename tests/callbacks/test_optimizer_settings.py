"""What a user sets at resume is used."""

import logging

import pytest
import torch
from lightning.pytorch import Callback
from torch.optim import lr_scheduler

from callbacks.checkpoint import StepCheckpoint
from callbacks.optimizer_settings import OptimizerSettings
from tests.callbacks.toy import Toy, fit

SCHEDULES = {
    "none": lambda optimizer, lr: None,
    "warm-up": lambda optimizer, lr: lr_scheduler.LambdaLR(optimizer, lambda n: (n + 1) / 100),
    "steps": lambda optimizer, lr: lr_scheduler.StepLR(optimizer, 2),
    "chain": lambda optimizer, lr: lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, 0.01, total_iters=3),
            lr_scheduler.CosineAnnealingLR(optimizer, 10, lr / 50),
        ],
        [3],
    ),
}


class Scheduled(Toy):
    def __init__(self, schedule: str, lr: float, weight_decay: float = 0.0, beta: float = 0.9):
        super().__init__()
        self.schedule, self.lr, self.rates = SCHEDULES[schedule], lr, []
        self.options = {"weight_decay": weight_decay, "betas": (beta, 0.99)}

    def configure_optimizers(self):
        self.optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, **self.options)
        schedule = self.schedule(self.optimizer, self.lr)
        if schedule is None:
            return self.optimizer
        return {
            "optimizer": self.optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_train_batch_start(self, *_):
        self.rates.append(self.optimizer.param_groups[0]["lr"])


def run(root, module, steps, ckpt_path=None, settings=True, **options):
    callbacks = [StepCheckpoint(), *([OptimizerSettings()] if settings else [])]
    return fit(root, callbacks, steps, module, ckpt_path, **options)


CASES = [(schedule, known) for schedule in SCHEDULES for known in (True, False)]
CASES.remove(("chain", False))  # checkpoints of earlier versions don't hold a chain's settings


@pytest.mark.parametrize(("schedule", "known"), CASES)
def test_a_changed_learning_rate_is_used_at_its_place_in_the_schedule(
    schedule, known, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    run(tmp_path, Scheduled(schedule, 0.1), 5, settings=known)
    resumed = run(tmp_path, Scheduled(schedule, 0.001), 9, "last")
    expected = run(tmp_path / "straight", Scheduled(schedule, 0.001), 9).rates
    torch.testing.assert_close(resumed.rates, expected[5:])
    assert "resumed with learning rate 0.001, which was 0.1" in caplog.text


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_is_not_changed_is_as_it_was(schedule, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(tmp_path, Scheduled(schedule, 0.1), 5)
    resumed = run(tmp_path, Scheduled(schedule, 0.1), 9, "last")
    straight = run(tmp_path / "straight", Scheduled(schedule, 0.1), 9)
    assert resumed.rates == straight.rates[5:] and "resumed with" not in caplog.text
    assert torch.equal(resumed.weight, straight.weight)


def test_weight_decay_betas_and_accumulation_are_used(tmp_path):
    run(tmp_path, Scheduled("warm-up", 0.1), 4)
    changed = Scheduled("warm-up", 0.1, weight_decay=0.3, beta=0.8)
    run(tmp_path, changed, 6, "last", accumulate_grad_batches=2)
    (group,) = changed.optimizer.param_groups
    assert group["weight_decay"] == 0.3 and group["betas"] == (0.8, 0.99)
    assert len(changed.rates) == 4  # two batches for each of two steps


class Finder(Callback):
    def on_fit_start(self, trainer, pl_module):
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = 0.5


@pytest.mark.parametrize("schedule", ["none", "warm-up", "steps"])
def test_a_rate_that_a_callback_finds_is_the_schedules(schedule, tmp_path):
    callbacks = [Finder(), OptimizerSettings()]
    found = fit(tmp_path, callbacks, 6, Scheduled(schedule, 0.1))
    expected = fit(tmp_path, [], 6, Scheduled(schedule, 0.5))
    torch.testing.assert_close(found.rates, expected.rates)
