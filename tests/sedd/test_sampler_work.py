"""Step samplers spare calls and draws, and their law stays that of the plain steps."""

import pytest
import torch

from benchmarks.sampler_law import (
    NETWORKS,
    Counted,
    PlainAnalytic,
    PlainEuler,
    compare,
    random_scores,
)
from foundation.errors import UserError
from sedd.ddit import DDiT
from sedd.graph import Absorb, Uniform
from sedd.module import usual_sampler
from sedd.noise import LogLinear
from sedd.objective import CleanScores, Subs
from sedd.samplers import Analytic, Euler, FirstHitting

EMPTY = torch.zeros(1, 1, 6, dtype=torch.long)


@pytest.mark.parametrize(
    "name, ours, plain",
    [(name, Analytic, PlainAnalytic) for name in NETWORKS] + [("Subs", Euler, PlainEuler)],
)
def test_tokens_and_pairs_have_the_law_of_the_plain_steps(name, ours, plain):
    score_fn = random_scores(**NETWORKS[name])
    assert min(compare(ours(5), plain(5), score_fn, 1000)) > 1e-3


@pytest.mark.parametrize(
    "options, sampler, calls",
    [
        ({}, Analytic(100), 101),
        ({"time_conditioning": False}, Analytic(100), 7),
        ({"objective": Subs}, Analytic(100), 7),
        ({"objective": Subs}, Euler(100), 7),
        ({}, FirstHitting(100), 6),
    ],
)
def test_a_call_is_made_only_where_its_result_can_change_a_token(options, sampler, calls):
    score_fn = random_scores(**options)
    Counted.calls = Counted.scored = 0
    sampler.sample(score_fn, Absorb(4), LogLinear(), EMPTY, EMPTY.bool())
    assert Counted.calls <= calls
    assert not isinstance(score_fn, CleanScores) or Counted.scored == 6  # each token's scores once


class HalfPace(Absorb):
    """Masks tokens at half the pace."""

    def transition(self, x, sigma):
        return super().transition(x, sigma / 2)


@pytest.mark.parametrize(
    "graph, kind", [(Absorb(4), FirstHitting), (Uniform(4), Analytic), (HalfPace(4), Analytic)]
)
def test_the_default_is_the_sampler_of_the_fewest_calls_that_suits_the_graph(graph, kind):
    assert type(usual_sampler(graph)) is kind


def test_a_network_without_time_conditioning_knows_the_noise_by_the_scale_alone():
    scores, x = random_scores(time_conditioning=False), torch.full((2, 1, 6), 4)
    sigma = torch.tensor([0.1, 3.0])
    scaled = scores(x, sigma)[..., :4] + torch.log(torch.expm1(sigma))[:, None, None, None]
    torch.testing.assert_close(scaled[0], scaled[1])
    with pytest.raises(UserError, match="needs scale_by_sigma"):
        DDiT(5, 1, 16, 1, 2, time_conditioning=False, scale_by_sigma=False)
