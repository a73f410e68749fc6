"""Numbers that aren't finite change no weight and no checkpoint."""

import logging
import math

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision

from callbacks.checkpoint import BestCheckpoint, StepCheckpoint
from callbacks.ema import EMA
from callbacks.nonfinite import NonFinite
from foundation.errors import DivergedError
from music_diffusion.commands.error_lines import explain
from tests.callbacks.toy import At, Toy, fit


class Bad(Toy):
    """Give a loss that isn't finite, or gradients that aren't, in some batches."""

    def __init__(self, batches: set[int], factor: float = math.nan, gradients: bool = False):
        super().__init__()
        self.batches, self.factor, self.gradients, self.done = batches, factor, gradients, -1

    def training_step(self, batch, batch_idx):
        self.done += 1
        loss = super().training_step(batch, batch_idx)
        if self.done not in self.batches:
            return loss
        if self.gradients:  # sqrt has an infinite slope at 0
            return loss + (self.weight - self.weight.detach()).square().sum().sqrt()
        return loss * self.factor


def finite(path) -> bool:
    content = torch.load(path)
    states = [content["state_dict"], content.get("current_model_state", {})]
    return all(value.isfinite().all() for state in states for value in state.values())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"factor": math.nan}, "the loss is nan"),
        ({"factor": math.inf}, "the loss is inf"),
        ({"gradients": True}, "a gradient isn't finite"),
    ],
    ids=["nan", "inf", "gradient"],
)
def test_training_stops_at_a_bad_step_and_keeps_the_checkpoint_before(tmp_path, kind, said, caplog):
    caplog.set_level(logging.INFO)
    module = Bad({6}, **kind)
    callbacks = [NonFinite(), EMA(), StepCheckpoint(every_n_steps=4), BestCheckpoint()]
    with pytest.raises(DivergedError, match=f"step 7: {said} .the loss before was .*learning_rate"):
        fit(tmp_path, callbacks, 20, module)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best.ckpt", "last.ckpt", "step_00000004.ckpt"]
    assert all(finite(path) for path in (tmp_path / "checkpoints").iterdir())
    assert module.weight.isfinite().all()
    assert any("last.ckpt is the checkpoint of step 4" in text for text in caplog.messages)


@pytest.mark.parametrize(
    ("scale", "factor", "said"),
    [(2.0**-13, 1, "a gradient isn't finite"), (2.0**16, math.inf, "the loss is inf")],
    ids=["vanished", "inf"],
)
def test_scaled_training_stops_where_no_scale_helps(tmp_path, scale, factor, said):
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    module = Bad(set(range(3, 9)), factor, gradients=factor == 1)
    with pytest.raises(DivergedError, match=f"stopped at step .: {said}"):
        fit(tmp_path, [NonFinite()], 9, module, plugins=[plugin])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_some_bad_steps_can_be_left_out(tmp_path, caplog, accumulate):
    module, bad = Bad({5}), NonFinite(skip=1)
    logger = CSVLogger(tmp_path)
    fit(tmp_path, [bad, EMA()], 6, module, logger=logger, accumulate_grad_batches=accumulate)
    before, after = module.trajectory[4 if accumulate == 1 else 1 :][:2]
    assert torch.equal(before, after) and module.weight.isfinite().all()
    assert len(module.trajectory) == 6 and bad.state_dict() == {"skipped": 1}
    assert "left out, 1 of at most 1" in caplog.text
    assert "train/skipped_steps" in (tmp_path / logger.log_dir / "metrics.csv").read_text()


def test_more_bad_steps_than_allowed_stop_training(tmp_path):
    with pytest.raises(DivergedError, match="step 4: .* after 2 steps that were left out"):
        fit(tmp_path, [NonFinite(skip=2)], 9, Bad({1, 2, 3}))


def test_steps_left_out_count_over_the_whole_run(tmp_path):
    fit(tmp_path, [NonFinite(skip=1), StepCheckpoint()], 4, Bad({1}))
    with pytest.raises(DivergedError, match="after 1 steps"):
        fit(tmp_path, [NonFinite(skip=1), StepCheckpoint()], 8, Bad({1}), ckpt_path="last")


@pytest.mark.parametrize("what", ["weights", "average", "optimizer"])
def test_a_checkpoint_of_numbers_that_are_not_finite_is_never_written(tmp_path, what):
    ema, module = EMA(), Toy()

    def spoil():
        if what == "weights":
            module.weight.data[1] = math.nan
        elif what == "average":
            ema.average["weight"][1] = math.inf
        else:
            module.optimizers().state[module.weight]["exp_avg"][0] = math.nan

    callbacks = [ema, At(spoil, 6), StepCheckpoint(every_n_steps=2), BestCheckpoint()]
    with pytest.raises(DivergedError, match="at step 6: .* aren't finite any more"):
        fit(tmp_path, callbacks, 20, module)
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 4
    assert all(finite(path) for path in (tmp_path / "checkpoints").iterdir())


def test_a_validation_loss_that_is_not_finite_is_no_best(tmp_path, caplog):
    module = Toy()
    module.validation_step = lambda *_: module.log("val/loss", torch.tensor(-math.inf))
    fit(tmp_path, [BestCheckpoint()], 4, module)
    assert not (tmp_path / "checkpoints/best.ckpt").exists()
    assert "val/loss is -inf at step 4" in caplog.text


def test_diverged_training_ends_as_one_line_and_status_1():
    assert explain(DivergedError("training stopped at step 3")) == ("training stopped at step 3", 1)


class Fused(Bad):
    """Trained by a fused optimizer, which leaves out steps by itself."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.1, fused=True)


def test_a_fused_optimizer_leaves_bad_steps_out_and_they_are_counted_later(
    tmp_path, monkeypatch, caplog
):
    """As on CUDA, where reading a loss in each step would make the host wait."""
    monkeypatch.setattr("callbacks.nonfinite.leaves_out", lambda optimizer: True)
    module, bad = Fused({2, 5}), NonFinite(skip=2)
    fit(tmp_path, [bad, EMA()], 7, module)
    for number in (2, 5):
        assert torch.equal(module.trajectory[number - 1], module.trajectory[number])
    assert not torch.equal(module.trajectory[5], module.trajectory[6])
    assert module.weight.isfinite().all() and bad.state_dict() == {"skipped": 2}
    with pytest.raises(DivergedError, match="a loss or a gradient of the last 20 steps"):
        fit(tmp_path, [NonFinite(skip=1)], 7, Fused({2, 5}))
