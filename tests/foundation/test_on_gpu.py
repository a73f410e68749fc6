"""What only a GPU can show; benchmarks.gpu runs these tests."""

import copy

import pytest
import torch

from callbacks.nonfinite import leaves_out
from foundation.precision import fast_dtype
from tests.foundation.test_training_graph import MODELS, times_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
models = pytest.mark.parametrize("name", MODELS)


def on_gpu(name: str):
    model, batch = MODELS[name]()
    moved = {n: v.cuda() if isinstance(v, torch.Tensor) else v for n, v in batch.items()}
    return model.cuda().train(), moved, times_of(batch).cuda()


def step(model, loss, batch, times, optimizer) -> None:
    with torch.autocast("cuda", torch.bfloat16):
        value = loss(batch, times).mean()
    value.backward()
    optimizer.step()
    optimizer.zero_grad()


@models
def test_a_step_never_waits_for_the_device(name):
    model, batch, times = on_gpu(name)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, fused=True)
    assert leaves_out(optimizer)
    step(model, model.losses, batch, times, optimizer)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(model, model.losses, batch, times, optimizer)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@models
def test_a_compiled_loss_is_one_graph_with_finite_gradients(name):
    model, batch, times = on_gpu(name)
    torch.compile(model.losses, fullgraph=True, dynamic=False)(batch, times).mean().backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


def test_the_vocabulary_layer_of_bfloat16_sums_in_float32():
    model, batch, times = on_gpu("absorb, 3 codebooks")
    net, x = model.net.eval(), batch["tokens"]
    torch.nn.init.normal_(net.output_layer.linear.weight)
    where, sigma = torch.ones_like(x, dtype=torch.bool), model.noise.sigma(times)
    exact = copy.deepcopy(net).double()
    with torch.autocast("cuda", torch.bfloat16):
        total, at = net.mask_scores(x, sigma, x, where)
    assert total.dtype == at.dtype == torch.float32
    expected = exact(x, sigma.double())[..., :-1].logsumexp(-1)
    torch.testing.assert_close(total.double(), expected, atol=0.1, rtol=0.02)


def test_a_fused_optimizer_leaves_out_a_step_that_is_not_finite():
    weight = torch.nn.Parameter(torch.ones(8, device="cuda"))
    optimizer = torch.optim.AdamW([weight], fused=True)
    weight.grad = torch.full_like(weight, torch.nan)
    optimizer.found_inf = torch.ones((), device="cuda")  # type: ignore[attr-defined]
    optimizer.step()
    assert (weight == 1).all()


@models
def test_a_model_is_sampled_in_mixed_precision(name):
    model, _, _ = on_gpu(name)
    assert fast_dtype(model.device) in (torch.bfloat16, None)
    audio = model.eval().generate(0.005, sampler=type(model.sampler)(steps=2))
    assert audio.isfinite().all() and audio.dtype == torch.float32
