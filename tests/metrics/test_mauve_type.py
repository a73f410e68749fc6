"""The MAUVE-type divergence against known answers."""

import math

import pytest
import torch

from foundation.errors import UserError
from metrics.mauve_type import clusters, frontier_area, mauve_type


def normal(count, seed, dim=6):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_the_frontier_of_equal_and_of_disjoint_histograms():
    """Disjoint: x = (1 - w)^5, y = w^5, whose area is 5!^2 / 10!."""
    half = torch.tensor([0.5, 0.5, 0, 0], dtype=torch.float64)
    assert frontier_area(half, half) == pytest.approx(1, abs=1e-9)
    known = math.factorial(5) ** 2 / math.factorial(10)
    assert frontier_area(half, half.flip(0)) == pytest.approx(known, rel=0.01)


def test_clusters_are_found():
    vectors = torch.cat([normal(30, seed) + 20 * seed for seed in range(4)]).double()
    found = clusters(vectors, 4, torch.Generator().manual_seed(0)).view(4, 30)
    assert (found == found[:, :1]).all() and len(set(found[:, 0].tolist())) == 4


def test_the_further_apart_the_lower():
    scores = [mauve_type(normal(200, 0), normal(200, 1) + shift) for shift in (0, 0.5, 1, 20)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9 and scores[-1] < 0.1


def test_a_set_that_lost_half_of_the_music_lies_between():
    both = torch.cat([normal(100, 0), normal(100, 1) + 9])
    assert 0.2 < mauve_type(both, normal(200, 2)) < 0.9


def test_the_same_seed_gives_the_same_and_mistakes_are_named():
    a, b = normal(100, 0), normal(90, 1)
    assert mauve_type(a, b) == mauve_type(a, b)
    with pytest.raises(UserError, match="20 vectors on each side, got 100 and 19"):
        mauve_type(a, b[:19])
