"""Samplers of latents on a mixture of normal laws, with its exact velocity."""

import pytest
import torch

from benchmarks.known_mixture import Mixture, distance
from jbdiff.samplers import DDIM, DPM, IPLMS, Heun


def test_the_mixture_knows_its_own_quantiles():
    law, levels = Mixture(), torch.tensor([0.05, 0.3, 0.95], dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    means = torch.tensor(law.means)[
        torch.multinomial(torch.tensor(law.weights), 40000, True, generator=draw)
    ]
    drawn = means + law.deviation * torch.randn(40000, generator=draw)
    torch.testing.assert_close(
        drawn.double().quantile(levels), law.quantiles(levels), atol=0.05, rtol=0
    )


@pytest.mark.parametrize(
    "sampler, order", [(DDIM, 1.0), (IPLMS, 1.5), (Heun, 2.0), (DPM, 2.5)], ids=repr
)
def test_the_error_falls_with_the_order_of_the_sampler(sampler, order):
    errors = [distance(sampler(steps), count=301) for steps in (40, 80)]
    assert errors[1] < 0.02 and errors[0] / errors[1] > 0.85 * 2**order


def test_at_equal_calls_higher_orders_are_nearer():
    """Heun calls the network twice a step."""
    ddim, heun, dpm = (distance(s, count=301) for s in (DDIM(60), Heun(30), DPM(60)))
    assert dpm < heun < ddim / 2


def test_noise_on_the_way_leaves_the_law():
    errors = [distance(DDIM(steps, eta=1.0)) for steps in (10, 160)]
    assert errors[1] < 0.05 and errors[0] > 0.08
