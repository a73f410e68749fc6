"""Distances of gaussians and of vectors."""

import math

import pytest
import torch

from metrics.extrapolate import extrapolate
from metrics.frechet import Gaussian, deficiency, frechet
from metrics.jackknife import margin
from metrics.kernel import SCALE, kernel_distance, kernel_interval, median_distance


def normal(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64) @ mixing


def test_covariances_that_commute_have_a_closed_form():
    a, b = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([16.0, 4.0, 0.0])
    first = Gaussian.known(torch.zeros(3), a.diag(), 10)
    second = Gaussian.known(torch.tensor([1.0, 2.0, 2.0]), b.diag(), 10)
    expected = 9 + (a.sqrt() - b.sqrt()).square().sum().item()
    assert frechet(first, second) == pytest.approx(expected, rel=1e-12)


def test_few_vectors_and_their_covariance_agree():
    a, b = Gaussian.of(normal(5, 20, 1)), Gaussian.of(normal(9, 20, 2))
    same = [Gaussian.known(g.mean, g.covariance, g.count) for g in (a, b)]
    assert frechet(a, b) == pytest.approx(frechet(*same), rel=1e-10)
    assert frechet(a, a) == pytest.approx(0, abs=1e-10)
    assert (a.rank, same[0].rank) == (4, 4)
    warning = deficiency(a, b) or ""
    assert "5 vectors" in warning and "20 dimensions" in warning
    assert deficiency(Gaussian.of(normal(21, 20)), Gaussian.of(normal(30, 20))) is None


def test_one_dimension():
    a, b = normal(50, 1, 1), normal(40, 1, 2) + 3
    expected = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
    assert frechet(Gaussian.of(a), Gaussian.of(b)) == pytest.approx(expected.item(), rel=1e-12)


def test_constant_dimensions_are_left_out():
    vectors = normal(60, 5)
    padded = torch.cat((vectors, torch.ones(60, 3)), dim=1)
    other = normal(60, 5, 1)
    padded_other = torch.cat((other, torch.ones(60, 3)), dim=1)
    expected = frechet(Gaussian.of(vectors), Gaussian.of(other))
    padded = Gaussian.of(padded)
    assert frechet(padded, Gaussian.of(padded_other)) == pytest.approx(expected, rel=1e-9)
    assert padded.rank == 5


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Gaussian.of(torch.empty(0, 3)), "at least one"),
        (lambda: Gaussian.of(torch.tensor([[1.0, math.nan]])), "1 of 1 vectors"),
        (lambda: Gaussian.of(torch.ones(1, 3)).covariance, "at least two"),
        (lambda: frechet(Gaussian.of(normal(3, 2)), Gaussian.of(normal(3, 4))), "one embedding"),
        (lambda: Gaussian.known(torch.zeros(2), torch.tensor([[1.0, 2], [2, 1]]), 9).root, "-1"),
        (lambda: kernel_distance(normal(1, 2), normal(3, 2)), "2 vectors"),
        (lambda: kernel_distance(torch.ones(3, 2), normal(3, 2)), "alike"),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_extrapolation_takes_the_bias_of_few_vectors_away():
    vectors = normal(20000, 16)
    reference = Gaussian.of(vectors)
    parts = vectors[:800].split(200)
    lines = [extrapolate(reference, part, [2] * 100) for part in parts]
    found = [line for line in lines if line]
    biased = sum(frechet(reference, Gaussian.of(part)) for part in parts) / 4
    assert abs(sum(part.score for part in found) / 4) < biased / 4
    assert sum(abs(part.score) < (part.margin or 0) for part in found) >= 3  # the truth is 0
    assert extrapolate(reference, parts[0][:10], [10]) is None
    line = extrapolate(reference, parts[0], [200])
    assert line and line.margin is None


def test_a_vector_of_the_reference_is_not_paired_with_itself():
    x = normal(40, 3)
    assert kernel_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert kernel_interval(x, x, [5] * 8).margin == pytest.approx(0, abs=1)


def test_kernel_distance_is_the_sum_over_pairs():
    x, y = normal(7, 3, 1), normal(5, 3, 2)
    width = median_distance(x)

    def k(a, b):
        return math.exp(-(a - b).square().sum() / (2 * width**2))

    within_x = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 42
    within_y = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 20
    between = sum(k(a, b) for a in x for b in y) / 35
    expected = SCALE * (within_x + within_y - 2 * between)
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_holds_a_block_of_pairs_at_once(monkeypatch):
    x, y = normal(70, 3, 1), normal(50, 3, 2)
    whole, made, cdist = kernel_distance(x, y), [], torch.cdist
    monkeypatch.setattr("metrics.kernel.BLOCK", 16)
    monkeypatch.setattr(torch, "cdist", lambda *sides: made.append(cdist(*sides)) or made[-1])
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-9)
    assert max(pairs.numel() for pairs in made) == 16 * 16


def test_kernel_interval_leaves_groups_of_files_out():
    x, y, counts = normal(30, 3, 1), normal(40, 3, 2) + 1, [4] * 10
    width = median_distance(x)
    group = torch.arange(10).remainder(8).repeat_interleave(4)
    by_hand = margin(lambda one: kernel_distance(x, y[group != one], width))
    found = kernel_interval(x, y, counts)
    assert found.margin == pytest.approx(by_hand, rel=1e-6)
    assert found.score == pytest.approx(kernel_distance(x, y), rel=1e-9)
    assert kernel_interval(x, y, [20, 20]).margin is None


def test_kernel_distance_has_no_bias():
    scores = [kernel_distance(normal(20000, 4)[:500], normal(9999, 4)[i::300]) for i in range(60)]
    shifted = kernel_distance(normal(500, 4), normal(500, 4) + 3)
    mean = sum(scores) / len(scores)
    assert min(scores) < 0 < max(scores)
    assert abs(mean) < shifted / 10


def test_the_fast_way_and_the_careful_way_agree(monkeypatch):
    a, b = Gaussian.of(normal(90, 12, 1)), Gaussian.of(normal(80, 12, 2) + 1)
    fast = frechet(a, b)
    monkeypatch.setattr("metrics.frechet.WELL_CONDITIONED", 2.0)
    assert frechet(a, b) == pytest.approx(fast, rel=1e-12)
