"""Kernel audio distance: it assumes no gaussian, and few clips don't bias it."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.errors import UserError
from metrics.jackknife import groups_of, margin

SCALE = 100.0  # the paper's unit
MEDIAN_OF = 2000  # vectors at most whose distances give the bandwidth
BLOCK = 512  # vectors of each side whose kernel is held at once


@dataclass(frozen=True)
class KernelDistance:
    """A score, and half the width of its 95 % interval where it is known."""

    score: float
    margin: float | None


def kernel_distance(reference: Tensor, generated: Tensor, bandwidth: float | None = None) -> float:
    """Kernel audio distance of vectors [N, D] and [M, D] (Chung et al. 2025, arXiv:2502.15602).

    100 times the unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) with the
    kernel exp(-|x - y|^2 / (2 bandwidth^2)); the bandwidth is the median distance within the
    reference. Unbiased, so equal distributions score around 0, below it as often as above, and the
    reference itself scores 0: no vector is paired with itself. Memory grows with N + M.

    Raises:
        UserError: for fewer than 2 vectors of a side, different dimensions, or a reference of
            equal vectors
    """
    return kernel_interval(reference, generated, [len(generated)], bandwidth).score


def kernel_interval(
    reference: Tensor, generated: Tensor, counts: list[int], bandwidth: float | None = None
) -> KernelDistance:
    """Measure the `kernel_distance` and its interval, where files gave `counts` of `generated`.

    The interval is a jackknife over groups of generated files; chance on the reference's side
    remains. It takes no longer than the distance alone.
    """
    if reference.shape[1:] != generated.shape[1:]:
        raise UserError(
            f"can't compare vectors of {reference.shape[-1]} and of {generated.shape[-1]} numbers"
        )
    x, y = (vectors.detach().to("cpu", torch.float64) for vectors in (reference, generated))
    if min(len(x), len(y)) < 2:
        raise UserError(
            f"the kernel distance needs 2 vectors on each side, got {len(x)} and {len(y)}"
        )
    bandwidth = median_distance(x) if bandwidth is None else bandwidth
    found = groups_of(counts)
    group = torch.zeros(len(y), dtype=torch.long) if found is None else found
    sums = Sums.of(x, y, group, bandwidth)
    if found is None:
        return KernelDistance(sums.score(), None)
    return KernelDistance(sums.score(), margin(sums.score))


@dataclass(frozen=True)
class Sums:
    """Sums of the kernel: within a reference of `count`, and by groups [G] of generated vectors.

    `sizes` [G] counts the vectors of the groups, `within` [G, G] sums the kernel of their pairs
    and `across` [G] that of pairs with the reference; `shared` [G] of these are of a vector that is
    the reference's own.
    """

    count: int
    reference: float
    sizes: Tensor
    within: Tensor
    across: Tensor
    shared: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, group: Tensor, bandwidth: float) -> "Sums":
        """Sum over pairs of vectors [N, D] and [M, D] whose groups are [M]."""
        member = torch.nn.functional.one_hot(group).double()  # [M, G]
        known = Counter(row.tobytes() for row in x.numpy())
        own = [known[row.tobytes()] for row in y.numpy()]
        every = x.new_ones(len(x), 1)
        return cls(
            len(x),
            kernel_sums(x, x, every, bandwidth).sum().item(),
            member.sum(0),
            member.T @ kernel_sums(y, y, member, bandwidth),
            (member.T @ kernel_sums(y, x, every, bandwidth))[:, 0],
            member.T @ torch.tensor(own, dtype=torch.float64),
        )

    def score(self, left_out: int | None = None) -> float:
        """Return the distance, of all groups or without one; no vector is paired with itself."""
        kept = torch.arange(len(self.sizes)) != (-1 if left_out is None else left_out)
        n, m = self.count, self.sizes[kept].sum().item()
        within = (self.within[kept][:, kept].sum().item() - m) / (m * (m - 1))
        shared = self.shared[kept].sum().item()
        across = (self.across[kept].sum().item() - shared) / (n * m - shared)
        return SCALE * ((self.reference - n) / (n * (n - 1)) + within - 2 * across)


def median_distance(vectors: Tensor) -> float:
    """Median distance between the vectors [N, D], of at most 2000 spread evenly among them."""
    step = -(-len(vectors) // MEDIAN_OF)
    median = torch.pdist(vectors[::step].double()).median().item()
    if median == 0:
        raise UserError("the reference's vectors are all alike: no kernel distance")
    return median


def kernel_sums(x: Tensor, y: Tensor, weights: Tensor, bandwidth: float) -> Tensor:
    """Sum the kernel of vectors [N, D] with [M, D], weighted by [M, K], block by block: [N, K]."""
    total = weights.new_zeros(len(x), weights.shape[1])
    for rows, part in zip(total.split(BLOCK), x.split(BLOCK), strict=True):
        for other, weight in zip(y.split(BLOCK), weights.split(BLOCK), strict=True):
            kernel = torch.cdist(part, other).square_().mul_(-0.5 / bandwidth**2).exp_()
            rows += kernel @ weight
    return total
