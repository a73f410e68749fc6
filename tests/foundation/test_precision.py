"""What accelerators compute fast is used in training and sampling, and where it may not be, not."""

from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy

from foundation import precision
from foundation.fused_module import fused_for
from foundation.precision import full_precision
from music_diffusion.commands.accelerators import (
    set_matmul_precision,
    with_bucket_views,
)
from music_diffusion.commands.trainer import with_progress
from sedd.ddit import DDiT
from sedd.vocabulary import float_linear
from tests.foundation.test_training_graph import MODELS

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(precision, "fast_dtype", lambda device: torch.bfloat16)


@pytest.fixture
def matmul():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("name", ["absorb", "level 3", "Dance"])
def test_networks_are_sampled_in_bfloat16_where_that_is_fast(name, fast):
    model, seen = MODELS[name]()[0].eval(), []
    layer = next(m for m in model.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv1d))
    layer.register_forward_hook(lambda module, given, made: seen.append(made.dtype))
    sampler = type(model.sampler)(steps=2)
    audio = model.generate(0.005, sampler=sampler)
    assert {*seen} == {torch.bfloat16} and audio.dtype == torch.float32 and audio.isfinite().all()
    assert not torch.is_autocast_enabled("cpu")


def test_a_codec_keeps_full_precision_under_autocast_and_tf32(matmul):
    torch.set_float32_matmul_precision("high")
    with torch.autocast("cpu", torch.bfloat16):
        with full_precision(torch.zeros(1)):
            assert torch.get_float32_matmul_precision() == "highest"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert torch.get_float32_matmul_precision() == "high"


def test_products_of_low_precision_are_summed_and_kept_in_float32():
    h, weight = torch.randn(5, 64).bfloat16(), torch.randn(7, 64).bfloat16().requires_grad_()
    made = float_linear(h, weight, torch.ones(7))
    torch.testing.assert_close(made, h.float() @ weight.float().T + 1)
    made.sum().backward()
    torch.testing.assert_close(weight.grad, h.sum(0).expand(7, -1), atol=0.1, rtol=0.02)


def test_tf32_is_for_cuda_unless_it_is_asked_for(matmul):
    set_matmul_precision(None, CPU)
    assert torch.get_float32_matmul_precision() == "highest"
    set_matmul_precision(None, CUDA)
    assert torch.get_float32_matmul_precision() == "high"
    set_matmul_precision("medium", CPU)
    assert torch.get_float32_matmul_precision() == "medium"


def test_the_bar_of_an_accelerator_reads_the_loss_rarely_and_a_users_own_stays():
    (usual,), (bar,) = with_progress([], None, CPU), with_progress(None, None, CUDA)
    assert (usual.refresh_rate, bar.refresh_rate) == (1, 20)
    own = [TQDMProgressBar(3)]
    assert with_progress(own, True, CUDA) == own and with_progress(None, False, CUDA) == []


@pytest.mark.parametrize(
    "given, views",
    [
        (("ddp", CPU, 1), True),
        (("auto", CPU, 2), True),
        (("auto", CPU, 1, 2), True),
        (("auto", CPU, "auto"), False),
        (("ddp_spawn", CPU, 2), False),
    ],
)
def test_ddp_keeps_gradients_where_it_reduces_them(given, views):
    strategy = with_bucket_views(*given)
    assert isinstance(strategy, DDPStrategy) == views
    assert not isinstance(strategy, DDPStrategy) or strategy._ddp_kwargs == {
        "gradient_as_bucket_view": True
    }


def test_fused_optimizers_are_clipped_in_mixed_precision(monkeypatch):
    model = MODELS["absorb"]()[0]
    trainer = type("Trainer", (), {"precision_plugin": MixedPrecision("bf16-mixed", "cpu")})()
    monkeypatch.setattr(type(model), "trainer", trainer)
    (weight, *_) = model.net.parameters()
    weight.grad = torch.full_like(weight, 3.0)
    optimizer = torch.optim.AdamW(model.net.parameters(), fused=True)
    model.configure_gradient_clipping(optimizer, 1.0, "norm")
    torch.testing.assert_close(weight.grad.norm(), torch.ones(()))
    model.configure_gradient_clipping(optimizer, 0.001, "value")
    assert weight.grad.abs().max() <= 0.001
    assert fused_for(model) is None  # on a CPU


def test_scores_are_float32_on_cuda_too():
    """On fake tensors: no GPU is needed to see that the shapes and types meet."""
    with torch.no_grad(), torch._subclasses.FakeTensorMode(), CUDA:
        net = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8)(9, 2)
        net.output_layer.linear = torch.nn.Linear(16, 2 * 9, dtype=torch.bfloat16)
        x = torch.zeros(2, 2, 6, dtype=torch.long)
        total, at = net.mask_scores(x, torch.ones(2), x, x == 8)
        assert net(x, torch.ones(2)).dtype == total.dtype == at.dtype == torch.float32
    assert total.shape == at.shape == (2, 2, 6) and total.is_cuda
