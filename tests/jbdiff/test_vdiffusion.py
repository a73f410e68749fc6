"""v-diffusion: identities, samplers on a problem whose solution is known, guidance."""

import pytest
import torch
from torch import Tensor

from jbdiff.unet import UNet, drop_context, velocity
from jbdiff.vdiffusion import (
    SAMPLERS,
    alpha_sigma,
    ddim,
    dpm,
    falling_times,
    guided,
    min_snr_weight,
    split,
    v_loss,
)

SMALL = dict(
    in_channels=8,
    channels=(8, 16),
    factors=(1, 2),
    items=(1, 2),
    attentions=(0, 1),
    cross_attentions=(1, 1),
    attention_heads=2,
    attention_features=4,
    context_features=8,
    modulation_features=16,
    resnet_groups=4,
)


def small_net(**options: object) -> UNet:
    torch.manual_seed(0)
    return UNet(12, 0.0, **(SMALL | options)).eval()


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def gaussian_v(mean: float, deviation: float):
    """The true velocity where data are normal: E[v | x_t]."""

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(t[:, None, None])
        variance = (alpha * deviation) ** 2 + sigma**2
        clean = mean + alpha * deviation**2 / variance * (x - alpha * mean)
        eps = sigma / variance * (x - alpha * mean)
        return alpha * eps - sigma * clean

    return v_fn


def test_the_velocity_gives_back_signal_and_noise():
    clean, noise, t = normal(5, 2, 3), normal(5, 2, 4)[..., :3], torch.linspace(0, 1, 5)
    alpha, sigma = alpha_sigma(t[:, None, None])
    x, v = alpha * clean + sigma * noise, alpha * noise - sigma * clean
    got = split(x, v, t[:, None, None])
    torch.testing.assert_close(got[0], clean)
    torch.testing.assert_close(got[1], noise)
    assert v_loss(lambda *_: v, clean, noise, t).abs().max() < 1e-10


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_return_the_only_datum_there_is(sampler):
    datum = normal(2, 3, 4)

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(t[:, None, None])
        eps = (x - alpha * datum) / sigma
        return alpha * eps - sigma * datum

    result = SAMPLERS[sampler](v_fn, normal(2, 3, 5)[..., :4], falling_times(7))
    torch.testing.assert_close(result, datum, atol=1e-5, rtol=1e-5)


def test_dpm_needs_far_fewer_steps_than_ddim():
    v_fn, noise = gaussian_v(0.3, 1.0), normal(4, 8, 16).double()

    def solve(sampler, steps: int) -> Tensor:
        return sampler(v_fn, noise, falling_times(steps).double())

    exact = 0.3 + noise
    errors = [(solve(ddim, n) - exact).norm() for n in (25, 50, 250)]
    assert errors[0] > errors[1] > errors[2]
    assert (solve(dpm, 20) - exact).norm() < errors[2]
    errors = [(solve(dpm, n) - exact).norm() for n in (10, 20, 40, 80)]
    assert sorted(errors, reverse=True) == errors


def test_dpm_starts_where_it_is_told():
    seen = []

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        seen.append(float(t[0]))
        return torch.zeros_like(x)

    dpm(v_fn, normal(1, 2, 3), falling_times(10, 0.5))
    assert seen[0] == 0.5 and len(seen) == 5 and sorted(seen, reverse=True) == seen


def test_initial_latents_skip_the_first_share_of_steps():
    assert falling_times(10).tolist() == pytest.approx([1 - i / 10 for i in range(10)])
    assert falling_times(10, 0.5)[0] == 0.5 and not len(falling_times(10, 1.0))
    for wrong in ((0, 0.5), (5, 1.5)):
        with pytest.raises(ValueError, match="strength in"):
            falling_times(*wrong)


def test_min_snr_weighs_by_the_clipped_ratio():
    t = torch.tensor([0.1, 0.5, 0.9])
    alpha, sigma = alpha_sigma(t)
    snr = (alpha / sigma) ** 2
    expected = snr.clamp(max=5) / (snr + 1)
    torch.testing.assert_close(min_snr_weight(t, 5.0), expected)
    assert min_snr_weight(torch.tensor([0.0, 1.0]), 5.0).isfinite().all()


def test_guidance_is_one_batched_call():
    net, x, context, t = small_net(), normal(3, 8, 8), normal(3, 6, 8), torch.rand(3)
    with torch.no_grad():
        plain = velocity(net, x, t, context)
        null = velocity(net, x, t, net.null_context(context))
        torch.testing.assert_close(guided(net, context, 1.0)(x, t), plain)
        calls = []
        net.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
        v = guided(net, context, 3.0)(x, t)
        assert calls == [6]
        torch.testing.assert_close(v, null + 3 * (plain - null), atol=1e-4, rtol=1e-4)
        rescaled = guided(net, context, 3.0, 1.0)(x, t)
    torch.testing.assert_close(rescaled.std(dim=(1, 2)), plain.std(dim=(1, 2)))


def test_contexts_are_read_once_and_change_the_result():
    net, x, context, t = small_net(), normal(2, 8, 8), normal(2, 6, 8), torch.rand(2)
    with torch.no_grad():
        contexts = net.prepare(context)
        assert len(contexts) == 6  # a cross-attention with each ResNet block
        torch.testing.assert_close(net(x, t, contexts), velocity(net, x, t, context))
        assert (velocity(net, x, t, context.flip(1)) - net(x, t, contexts)).abs().max() < 1e-4
        assert (velocity(net, x, t, -context) - net(x, t, contexts)).abs().max() > 1e-3
        dropped = drop_context(net, context, 1.0)
    assert torch.equal(dropped, net.null_context(context))
    assert torch.equal(drop_context(net, context, 0.0), context)


def test_checkpointed_activations_give_the_same_gradients():
    x, context, t = normal(2, 8, 8), normal(2, 6, 8), torch.rand(2)
    plain, saving = small_net(), small_net(checkpoint_activations=True)
    for net in (plain, saving):
        velocity(net.train(), x, t, context).square().sum().backward()
    for ours, theirs in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_wrong_sizes_are_named():
    net = small_net()
    with pytest.raises(ValueError, match="multiple of 2, got 7"):
        velocity(net, normal(1, 8, 7), torch.ones(1), normal(1, 6, 8))
    with pytest.raises(ValueError, match="at most 12 positions, got 13"):
        net.null_context(normal(1, 13, 8))
    with pytest.raises(ValueError, match="one entry a depth"):
        small_net(items=(1,))
