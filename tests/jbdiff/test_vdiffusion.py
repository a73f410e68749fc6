"""v-diffusion: identities, samplers on a problem whose solution is known, guidance."""

import pytest
import torch
from torch import Tensor

from foundation.errors import UserError
from jbdiff.guidance import guided
from jbdiff.samplers import DDIM, DPM, IPLMS
from jbdiff.unet import UNet
from jbdiff.vdiffusion import (
    alpha_sigma,
    draw_like,
    even_times,
    inpainted,
    min_snr_weight,
    noised,
    split,
    v_loss,
)
from jbdiff.velocity_net import VelocityNet, drop_context, velocity

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


def only(datum: Tensor):
    """The true velocity where there is one datum."""

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(t[:, None, None])
        eps = (x - alpha * datum) / sigma
        return alpha * eps - sigma * datum

    return v_fn


def test_the_velocity_gives_back_signal_and_noise():
    clean, noise, t = normal(5, 2, 3), normal(5, 2, 4)[..., :3], torch.linspace(0, 1, 5)
    alpha, sigma = alpha_sigma(t[:, None, None])
    x, v = alpha * clean + sigma * noise, alpha * noise - sigma * clean
    got = split(x, v, t[:, None, None])
    torch.testing.assert_close(got[0], clean)
    torch.testing.assert_close(got[1], noise)
    assert v_loss(lambda *_: v, clean, noise, t).abs().max() < 1e-10


@pytest.mark.parametrize("sampler", [DDIM(7), DDIM(7, eta=1.0), DPM(7), IPLMS(7)], ids=repr)
def test_samplers_return_the_only_datum_there_is(sampler):
    datum = normal(2, 3, 4)
    result = sampler.sample(only(datum), normal(2, 3, 5)[..., :4], even_times(7))
    torch.testing.assert_close(result, datum, atol=1e-5, rtol=1e-5)


def test_dpm_needs_far_fewer_steps_than_ddim():
    v_fn, noise = gaussian_v(0.3, 1.0), normal(4, 8, 16).double()

    def solve(sampler, steps: int) -> Tensor:
        return sampler(steps).sample(v_fn, noise, even_times(steps).double())

    exact = 0.3 + noise
    errors = [(solve(DDIM, n) - exact).norm() for n in (25, 50, 250)]
    assert errors[0] > errors[1] > errors[2]
    assert (solve(DPM, 20) - exact).norm() < errors[2]
    errors = [(solve(DPM, n) - exact).norm() for n in (10, 20, 40, 80)]
    assert sorted(errors, reverse=True) == errors


def test_dpm_starts_where_it_is_told():
    seen = []

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        seen.append(float(t[0]))
        return torch.zeros_like(x)

    DPM(10).sample(v_fn, normal(1, 2, 3), even_times(10, 0.5))
    assert seen[0] == 0.5 and len(seen) == 5 and sorted(seen, reverse=True) == seen


def test_initial_latents_skip_the_first_share_of_steps():
    assert even_times(10).tolist() == pytest.approx([1 - i / 10 for i in range(10)])
    assert even_times(10, 0.5)[0] == 0.5 and not len(even_times(10, 1.0))
    for wrong in ((0, 0.5), (5, 1.5)):
        with pytest.raises(UserError, match="must be"):
            even_times(*wrong)


@pytest.mark.parametrize("sampler", [DDIM(20), DDIM(20, eta=0.5), DPM(20), IPLMS(20)], ids=repr)
def test_inpainting_ends_in_what_is_known_and_leaves_the_rest(sampler):
    known, keep = normal(2, 3, 8), torch.arange(8)[None, None] < 3
    seen = []

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x.clone(), t[0]))
        return gaussian_v(0.3, 1.0)(x, t)

    noise = normal(2, 3, 9)[..., :8]
    made = sampler.sample(inpainted(v_fn, known, keep), noise, even_times(20))
    torch.testing.assert_close(made[..., :3], known[..., :3], atol=1e-4, rtol=0)
    if sampler != DDIM(20, eta=0.5):  # the network sees the known part noised to each time
        plain = sampler.sample(v_fn, noise, even_times(20))
        torch.testing.assert_close(made[..., 3:], plain[..., 3:])
        for x, t in seen[: len(seen) // 2]:
            torch.testing.assert_close(
                x[..., :3], noised(known, noise, t)[..., :3], atol=1e-4, rtol=0
            )


@pytest.mark.parametrize("sampler", [DDIM, DPM, IPLMS])
def test_options_that_make_no_sense_are_refused(sampler):
    with pytest.raises(UserError, match="steps must be at least 1, got 0"):
        sampler(0)
    with pytest.raises(UserError, match="eta must not be negative"):
        DDIM(5, eta=-1.0)


def test_noise_of_an_example_does_not_depend_on_the_batch():
    x = torch.zeros(3, 2, 4)
    made = draw_like(x, [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)])
    alone = draw_like(x[:1], torch.Generator().manual_seed(2))
    assert torch.equal(made[1:2], alone) and not torch.equal(made[0], made[2])


class Own(VelocityNet):
    """The smallest network: a convolution, and the context's mean."""

    def __init__(self, context_length: int = 12, dropout: float = 0.0):
        super().__init__()
        self.channels = 8
        self.layer = torch.nn.Conv1d(8, 8, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        return self.layer(x) * t[:, None, None] + context.mean(-1, keepdim=True)


def test_a_network_of_ones_own_is_guided_away_from_zeros():
    net, x, context, t = Own(), normal(3, 8, 8), normal(3, 8, 6), torch.rand(3)
    with torch.no_grad():
        plain, null = velocity(net, x, t, context), velocity(net, x, t, 0 * context)
        torch.testing.assert_close(guided(net, context, 3.0)(x, t), null + 3 * (plain - null))
        assert not drop_context(net, context, 1.0).any()


def test_min_snr_weighs_by_the_clipped_ratio():
    t = torch.tensor([0.1, 0.5, 0.9])
    alpha, sigma = alpha_sigma(t)
    snr = (alpha / sigma) ** 2
    expected = snr.clamp(max=5) / (snr + 1)
    torch.testing.assert_close(min_snr_weight(t, 5.0), expected)
    assert min_snr_weight(torch.tensor([0.0, 1.0]), 5.0).isfinite().all()


def test_guidance_is_one_batched_call():
    net, x, context, t = small_net(), normal(3, 8, 8), normal(3, 8, 6), torch.rand(3)
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
    net, x, context, t = small_net(), normal(2, 8, 8), normal(2, 8, 6), torch.rand(2)
    with torch.no_grad():
        contexts = net.prepare(context)
        assert len(contexts) == 6  # a cross-attention with each ResNet block
        torch.testing.assert_close(net(x, t, contexts), velocity(net, x, t, context))
        assert (velocity(net, x, t, context.flip(-1)) - net(x, t, contexts)).abs().max() < 1e-4
        assert (velocity(net, x, t, -context) - net(x, t, contexts)).abs().max() > 1e-3
        dropped = drop_context(net, context, 1.0)
    assert torch.equal(dropped, net.null_context(context))
    assert torch.equal(drop_context(net, context, 0.0), context)


def test_checkpointed_activations_give_the_same_gradients():
    x, context, t = normal(2, 8, 8), normal(2, 8, 6), torch.rand(2)
    plain, saving = small_net(), small_net(checkpoint_activations=True)
    for net in (plain, saving):
        velocity(net.train(), x, t, context).square().sum().backward()
    for ours, theirs in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_wrong_sizes_are_named():
    net = small_net()
    with pytest.raises(UserError, match="UNet takes a multiple of 2 positions.*, got 7"):
        velocity(net, normal(1, 8, 7), torch.ones(1), normal(1, 8, 6))
    with pytest.raises(UserError, match="at most 12 positions, got 13"):
        net.null_context(normal(1, 8, 13))
    with pytest.raises(UserError, match="an entry for each depth"):
        small_net(items=(1,))
