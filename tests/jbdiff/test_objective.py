"""Objectives and samplers of latents, on signals whose best prediction is known."""

import pytest
import torch

from foundation.errors import UserError
from jbdiff.objective import RectifiedFlow, VDiffusion
from jbdiff.samplers import DDIM, DPM, IPLMS, Heun, sample_from
from jbdiff.vdiffusion import alpha_sigma, even_times

MEAN, SPREAD = 0.7, 0.3  # of the signals, Gaussian


def best_clean(x, a, b):
    """The mean of the clean signals given a clean + b eps = x."""
    gain = a * SPREAD**2 / (a**2 * SPREAD**2 + b**2)
    return MEAN + gain * (x - a * MEAN)


def best_v(x, t):
    alpha, sigma = alpha_sigma(t[:, None, None])
    clean = best_clean(x, alpha, sigma)
    return alpha * (x - alpha * clean) / sigma - sigma * clean


def best_flow(x, s):
    s = s[:, None, None]
    clean = best_clean(x, 1 - s, s)
    return (x - (1 - s) * clean) / s - clean


def test_a_straight_path_gives_the_velocity_of_the_other_one():
    x, t = torch.randn(5, 3, 4), torch.linspace(0.05, 0.95, 5)
    expected = VDiffusion().velocity(best_v)(x, t)
    torch.testing.assert_close(RectifiedFlow().velocity(best_flow)(x, t), expected)


@pytest.mark.parametrize("sampler", [DDIM(100), DPM(20), IPLMS(50), Heun(30)], ids=repr)
@pytest.mark.parametrize("v_fn", [best_v, RectifiedFlow().velocity(best_flow)], ids=["v", "flow"])
def test_samples_have_the_signals_law(sampler, v_fn):
    noise = torch.randn(1, 1, 4000, generator=torch.Generator().manual_seed(0))
    sample = sample_from(v_fn, noise, sampler, even_times)
    expected = MEAN + SPREAD * noise  # the deterministic path keeps the quantiles
    torch.testing.assert_close(sample, expected, atol=0.03, rtol=0)


def test_heun_is_of_second_order():
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[None, None]

    def error(sampler):
        sample = sample_from(best_v, noise, sampler, even_times)
        return (sample - MEAN - SPREAD * noise).abs().max()

    assert error(Heun(40)) < error(Heun(20)) / 3
    assert error(DDIM(40)) > error(DDIM(20)) / 2.5
    assert error(Heun(40)) < error(DDIM(80)) / 2


def test_less_noise_varies_less():
    noise = torch.randn(1, 1, 2000)
    full, calm = (
        sample_from(best_v, noise, DPM(20, noise_scale=scale), even_times) for scale in (1.0, 0.5)
    )
    assert calm.std() / full.std() == pytest.approx(0.5, abs=0.02)
    with pytest.raises(UserError, match="noise_scale"):
        DPM(20, noise_scale=-1.0)


@pytest.mark.parametrize(
    ("objective", "net"), [(VDiffusion(), best_v), (RectifiedFlow(), best_flow)]
)
def test_the_best_prediction_has_the_least_loss(objective, net):
    generator = torch.Generator().manual_seed(1)
    clean = MEAN + SPREAD * torch.randn(64, 1, 64, generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    times = (torch.arange(64) + 0.5) / 64
    best = objective.losses(net, clean, noise, times).mean()
    for offset in (-0.2, 0.2):
        other = objective.losses(lambda x, t, o=offset: net(x, t) + o, clean, noise, times)
        assert best < other.mean()


def test_logit_normal_times_are_spaced_as_told():
    times = (torch.arange(1000) + 0.5) / 1000
    spaced = RectifiedFlow(spread=1.0, shift=0.5).spaced(times)
    logits = torch.logit(spaced)
    assert logits.mean() == pytest.approx(0.5, abs=0.01)
    assert logits.std() == pytest.approx(1.0, abs=0.01)
    assert RectifiedFlow(spread=0.0).spaced(times) is times
    with pytest.raises(UserError, match="spread"):
        RectifiedFlow(spread=-1.0)
