"""Precision, recall, density and coverage against known answers."""

import pytest
import torch

from foundation.errors import UserError
from metrics import neighbours as module
from metrics.neighbours import neighbours


def normal(count, seed, dim=4):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_equal_sets_overlap_wholly():
    found = neighbours(normal(60, 0), normal(60, 0))
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(1, abs=0.35)  # each in 6 balls or so


def test_disjoint_gaussians_share_nothing():
    found = neighbours(normal(60, 0), normal(80, 1) + 50)
    assert found == module.Neighbours(0, 0, 0, 0)


def test_two_samples_of_one_distribution_score_about_one():
    found = neighbours(normal(400, 0), normal(400, 1))
    assert min(found.precision, found.recall, found.coverage) > 0.9
    assert found.density == pytest.approx(1, abs=0.1)


def test_a_set_that_lost_half_of_the_music_is_precise_and_recalls_half():
    reference = torch.cat([normal(100, 0), normal(100, 1) + 50])
    found = neighbours(reference, normal(100, 2))
    assert found.precision > 0.85
    assert found.recall == pytest.approx(0.5, abs=0.08)
    assert found.coverage == pytest.approx(0.5, abs=0.08)


def test_points_on_a_line():
    """Radii of 0, 1, 3 to their nearest: 1, 1, 2; of 0.5, 10: 9.5 each."""
    found = neighbours(torch.tensor([[0.0], [1], [3]]), torch.tensor([[0.5], [10]]), nearest=1)
    assert found == module.Neighbours(precision=0.5, recall=1, density=1, coverage=2 / 3)


def test_blocks_change_nothing_and_mistakes_are_named(monkeypatch):
    whole = neighbours(normal(50, 0), normal(40, 1))
    monkeypatch.setattr(module, "BLOCK", 7)
    assert neighbours(normal(50, 0), normal(40, 1)) == whole
    with pytest.raises(UserError, match="more vectors than 5 and 50"):
        neighbours(normal(5, 0), normal(50, 1))
    with pytest.raises(UserError, match="of 4 and of 3"):
        neighbours(normal(50, 0), normal(50, 1, dim=3))
