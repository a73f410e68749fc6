"""Kernel audio distance: it assumes no gaussian, and few clips don't bias it."""

import torch
from torch import Tensor

from foundation.errors import UserError

SCALE = 100.0  # the paper's unit
MEDIAN_OF = 2000  # vectors at most whose distances give the bandwidth
BLOCK = 1024


def kernel_distance(reference: Tensor, generated: Tensor, bandwidth: float | None = None) -> float:
    """Kernel audio distance of vectors [N, D] and [M, D] (Chung et al. 2025, arXiv:2502.15602).

    100 times the unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) with the
    kernel exp(-|x - y|^2 / (2 bandwidth^2)); the bandwidth is the median distance within the
    reference. Unbiased, so equal distributions score around 0, below it as often as above.

    Raises:
        UserError: for fewer than 2 vectors of a side, different dimensions, or a reference of
            equal vectors
    """
    if reference.shape[1:] != generated.shape[1:]:
        raise UserError(
            f"can't compare vectors of {reference.shape[-1]} and of {generated.shape[-1]} numbers"
        )
    x, y = (vectors.detach().to("cpu", torch.float64) for vectors in (reference, generated))
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise UserError(f"the kernel distance needs 2 vectors on each side, got {n} and {m}")
    bandwidth = median_distance(x) if bandwidth is None else bandwidth
    within_x = (_sum(x, x, bandwidth) - n) / (n * (n - 1))  # without each vector's own 1
    within_y = (_sum(y, y, bandwidth) - m) / (m * (m - 1))
    return SCALE * (within_x + within_y - 2 * _sum(x, y, bandwidth) / (n * m))


def median_distance(vectors: Tensor) -> float:
    """Median distance between the vectors [N, D], of at most 2000 spread evenly among them."""
    step = -(-len(vectors) // MEDIAN_OF)
    median = torch.pdist(vectors[::step].double()).median().item()
    if median == 0:
        raise UserError("the reference's vectors are all alike: no kernel distance")
    return median


def _sum(x: Tensor, y: Tensor, bandwidth: float) -> float:
    """Sum the kernel over all pairs, block by block."""
    distances = (torch.cdist(part, y) for part in x.split(BLOCK))
    return sum((-(d / bandwidth).square() / 2).exp().sum().item() for d in distances)
