"""The Frechet distance in the limit of infinitely many generated vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metrics.frechet import Gaussian, frechet
from metrics.jackknife import groups_of, margin

PARTS = (1, 2, 3, 4, 6)  # for each point of the line the vectors are split into so many parts
FEWEST = 16  # vectors; no line is fitted to less


@dataclass(frozen=True)
class Extrapolation:
    """A score at infinite size, and half the width of its 95 % interval where it is known."""

    score: float
    margin: float | None


def extrapolate(
    reference: Gaussian, vectors: Tensor, counts: list[int], seed: int = 0
) -> Extrapolation | None:
    """Extrapolate the distance of vectors [N, D] in 1 / N (Gui et al. 2024, arXiv:2311.01616).

    The bias falls as 1 / N: the distances of random parts are fitted by a line in 1 / N, and its
    value at 0 is the score. `counts` says how many vectors each file gave; the interval is a
    jackknife over groups of files, for vectors of one file aren't independent. Bias and chance on
    the reference's side remain. Returns None for fewer than 16 vectors.
    """
    if len(vectors) < FEWEST:
        return None
    score = intercept(reference, vectors, seed)
    group = groups_of(counts)
    if group is None:
        return Extrapolation(score, None)
    without = margin(lambda left_out: intercept(reference, vectors[group != left_out], seed))
    return Extrapolation(score, without)


def intercept(reference: Gaussian, vectors: Tensor, seed: int) -> float:
    """Fit a line to the mean distance of equal parts over 1 / their size; return its value at 0."""
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))
    points = []
    for parts in PARTS:
        size = len(vectors) // parts
        equal = vectors[order[: size * parts]].split(size)
        scores = [frechet(reference, Gaussian.of(part)) for part in equal]
        points.append((1 / size, sum(scores) / parts))
    x, y = torch.tensor(points, dtype=torch.float64).T
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return (y.mean() - slope * x.mean()).item()
