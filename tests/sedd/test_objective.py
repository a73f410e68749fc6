"""Score entropy as an objective: what it is of a known law, over any number of codebooks."""

import math

import pytest
import torch
from torch import Tensor

from sedd.graph import Absorb
from sedd.noise import LogLinear
from sedd.objective import ScoreEntropy

OBJECTIVE = ScoreEntropy(Absorb(3), LogLinear())


def uniform_law(x: Tensor, sigma: Tensor) -> Tensor:
    """True log scores [B, K, L, 4] of independent tokens, each of three values alike often."""
    ratio = -torch.log(3 * torch.expm1(sigma))[:, None, None, None]
    return ratio.expand(*x.shape, 4).scatter(-1, x[..., None], 0)


@pytest.mark.parametrize("codebooks", [1, 3])
def test_the_true_score_reaches_the_entropy_of_the_law(codebooks):
    """Averaged over times the bound is tight: log 3 nats per token, whatever the codebooks."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, (4000, codebooks, 8), generator=generator)
    times = 1e-3 + (1 - 1e-3) * (torch.arange(4000) + 0.5) / 4000
    losses = OBJECTIVE.losses(uniform_law, tokens, times, generator)
    assert losses.shape == (4000,) and losses.mean().item() == pytest.approx(math.log(3), abs=0.03)


def test_losses_follow_the_generator_and_score_functions_are_the_networks():
    tokens, times = torch.zeros(2, 1, 50, dtype=torch.long), torch.tensor([0.2, 0.8])
    first, again = (
        OBJECTIVE.losses(uniform_law, tokens, times, torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert OBJECTIVE.log_score(uniform_law) is uniform_law
