"""The Frechet distance in the limit of infinitely many generated vectors."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metrics.frechet import Gaussian, frechet

PARTS = (1, 2, 3, 4, 6)  # for each point of the line the vectors are split into so many parts
GROUPS = 8  # of files, each left out in turn for the interval
FEWEST = 16  # vectors; no line is fitted to less
STUDENT = 2.365  # 97.5 % point of Student's t with GROUPS - 1 degrees of freedom


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
    if len(counts) < GROUPS:
        return Extrapolation(score, None)
    group = torch.arange(len(counts)).remainder(GROUPS)  # of each file
    group = group.repeat_interleave(torch.tensor(counts))
    without = [intercept(reference, vectors[group != left_out], seed) for left_out in range(GROUPS)]
    spread = torch.tensor(without, dtype=torch.float64).var(correction=0).item()
    return Extrapolation(score, STUDENT * math.sqrt((GROUPS - 1) * spread))


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
