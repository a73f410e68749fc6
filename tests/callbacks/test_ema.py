from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from callbacks.checkpoint import StepCheckpoint
from callbacks.demo import Demo
from callbacks.ema import EMA
from foundation.codec import Frozen
from tests.callbacks.toy import At, Toy, fit

DECAY = 0.3  # reached by the ramp (1 + n) / (10 + n) at n = 3


def averages(trajectory):
    """Compute the average after each step by hand; the first one is the weights themselves."""
    result = [trajectory[0]]
    for updates, weight in enumerate(trajectory[1:], start=1):
        decay = min(DECAY, (1 + updates) / (10 + updates))
        result.append(decay * result[-1] + (1 - decay) * weight)
    return result


def test_the_average_equals_a_hand_computation(tmp_path):
    module = fit(tmp_path, [EMA(DECAY), Demo(num_demos=1, seconds=0.1)], 10)
    expected = averages(module.trajectory)
    torch.testing.assert_close(module.weight.detach(), expected[-1])
    torch.testing.assert_close(module.demo_weights, [expected[3], expected[7]])


def test_a_checkpoint_holds_the_average_and_the_weights(tmp_path):
    module = fit(tmp_path, [EMA(DECAY), StepCheckpoint(every_n_steps=3, keep=-1)], 7)
    expected = averages(module.trajectory)
    for step in (3, 6, 7):  # 7: saved when training had ended
        saved = torch.load(tmp_path / f"checkpoints/step_{step:08d}.ckpt")
        torch.testing.assert_close(saved["state_dict"]["weight"], expected[step - 1])
        current = saved["current_model_state"]
        torch.testing.assert_close(current["weight"], module.trajectory[step - 1])
        assert current["seen"] == saved["state_dict"]["seen"] == step  # buffers aren't averaged


class SaveFirst(Callback):
    """Saves before the callbacks after it have begun, as LearningRateFinder does."""

    def on_fit_start(self, trainer, pl_module):
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "first.ckpt")


def test_a_checkpoint_of_a_callback_before_it_holds_the_first_weights(tmp_path):
    fit(tmp_path, [SaveFirst(), EMA(DECAY)], 1)
    saved = torch.load(tmp_path / "first.ckpt")
    assert torch.equal(saved["state_dict"]["weight"], saved["current_model_state"]["weight"])


def fail():
    raise RuntimeError("for the test")


@pytest.mark.parametrize(
    ("stop_at", "validating"), [(None, False), (4, False), (6, False), (8, True)]
)
def test_resuming_equals_going_straight(tmp_path, stop_at, validating):
    straight = fit(tmp_path / "straight", [EMA(DECAY)], 13)
    callbacks = [EMA(DECAY), StepCheckpoint(every_n_steps=100)]
    if stop_at is None:
        first = fit(tmp_path / "cut", callbacks, 8)
    else:
        first = Toy()
        with pytest.raises(RuntimeError, match="for the test"):
            # after the average, so that its step is complete
            callbacks.insert(1, At(fail, stop_at, validating))
            fit(tmp_path / "cut", callbacks, 13, first)
    callbacks = [EMA(DECAY), StepCheckpoint(every_n_steps=100)]
    second = fit(tmp_path / "cut", callbacks, 13, ckpt_path="last")
    trajectory = first.trajectory[: 13 - len(second.trajectory)] + second.trajectory
    torch.testing.assert_close(trajectory, straight.trajectory, rtol=0, atol=0)
    torch.testing.assert_close(second.weight, straight.weight, rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_the_average_of_true_precisions_is_precise_and_resumes(tmp_path, precision):
    save = StepCheckpoint(every_n_steps=3, keep=-1)
    straight = fit(tmp_path / "straight", [EMA(DECAY), save], 7, precision=precision)
    options = {"ckpt_path": str(tmp_path / "straight/checkpoints/step_00000006.ckpt")}
    callbacks = [EMA(DECAY), StepCheckpoint()]
    fit(tmp_path / "cut", callbacks, 7, precision=precision, **options)
    dtype = torch.float64 if precision == "64-true" else torch.float32
    expected = averages([weight.to(dtype) for weight in straight.trajectory])
    for step in (3, 6, 7):  # the second and third after a validation
        saved = torch.load(tmp_path / f"straight/checkpoints/step_{step:08d}.ckpt")
        assert saved["state_dict"]["weight"].dtype == dtype
        torch.testing.assert_close(saved["state_dict"]["weight"], expected[step - 1])
    again = torch.load(tmp_path / "cut/checkpoints/last.ckpt")
    for part in ("state_dict", "current_model_state"):
        assert torch.equal(again[part]["weight"], saved[part]["weight"])


def test_validating_after_training_keeps_the_average(tmp_path):
    module, ema = Toy(), EMA(DECAY)
    fit(tmp_path, [ema], 5, module)
    average = module.weight.detach().clone()
    trainer = Trainer(
        accelerator="cpu", callbacks=[ema], logger=False, enable_checkpointing=False,
        enable_progress_bar=False,
    )  # fmt: skip
    trainer.validate(module, torch.utils.data.DataLoader(torch.zeros(2, 1)), verbose=False)
    torch.testing.assert_close(module.weight.detach(), average, rtol=0, atol=0)


def test_a_frozen_part_keeps_its_precision():
    owner = Frozen(nn.Linear(2, 2))
    assert owner.bfloat16().module.weight.dtype == torch.float32
    assert owner.double().module.weight.dtype == torch.float32


def test_a_frozen_part_is_shared_and_never_saved(tmp_path):
    module = Toy()
    module.codec = Frozen(nn.Linear(2, 2))
    codec = module.codec.module
    before = codec.weight.clone()
    ema = EMA(DECAY)
    fit(tmp_path, [ema, StepCheckpoint(every_n_steps=3)], 6, module)
    assert list(ema.average) == ["weight"]
    torch.testing.assert_close(codec.weight, before)
    saved = torch.load(tmp_path / "checkpoints/last.ckpt")
    assert set(saved["state_dict"]) == set(saved["current_model_state"]) == {"weight", "seen"}


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match="decay"):
        EMA(1.0)
