"""Precision, recall, density and coverage: which music a set holds, by nearest neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.errors import UserError

BLOCK = 1024  # vectors compared at once with all others


@dataclass(frozen=True)
class Neighbours:
    """How two sets overlap, each figure about 1 for two samples of one distribution.

    Attributes:
        precision: share of the generated vectors that lie among the reference's
        recall: share of the reference's vectors that lie among the generated ones
        density: precision that counts how many neighbourhoods a vector is in; it may pass 1
        coverage: share of the reference's neighbourhoods that hold a generated vector
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(reference: Tensor, generated: Tensor, nearest: int = 5) -> Neighbours:
    """Compare vectors [N, D] and [M, D] by the balls around them that reach `nearest` others.

    Precision and recall by Kynkäänniemi et al. 2019 (arXiv:1904.06991, eq. 1 and 2), density and
    coverage by Naeem et al. 2020 (arXiv:2002.09797, eq. 3 and 4). Coverage and recall depend on the
    sizes of the sets: compare only figures of equal sizes. Memory grows with N + M.

    Raises:
        UserError: for a set of no more than `nearest` vectors, and for different dimensions
    """
    if reference.shape[1:] != generated.shape[1:]:
        raise UserError(
            f"can't compare vectors of {reference.shape[-1]} and of {generated.shape[-1]} numbers"
        )
    x, y = (vectors.detach().to("cpu", torch.float64) for vectors in (reference, generated))
    if min(len(x), len(y)) <= nearest:
        raise UserError(
            f"{nearest} nearest neighbours need more vectors than {len(x)} and {len(y)}: give more "
            "or longer clips"
        )
    around_x, around_y = radii(x, nearest), radii(y, nearest)
    held = torch.zeros(len(y))  # balls of the reference that a generated vector is in
    recalled, covered = 0, 0
    for part, radius in zip(x.split(BLOCK), around_x.split(BLOCK), strict=True):
        distances = torch.cdist(part, y)
        inside = distances <= radius[:, None]
        held += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distances <= around_y).any(1).sum())
    return Neighbours(
        precision=float((held > 0).float().mean()),
        recall=recalled / len(x),
        density=float(held.mean()) / nearest,
        coverage=covered / len(x),
    )


def radii(vectors: Tensor, nearest: int) -> Tensor:
    """Return the distance of each vector [N, D] to its `nearest`-th other one, [N]."""
    found = [
        torch.cdist(part, vectors).kthvalue(nearest + 1, dim=1).values  # itself is the first
        for part in vectors.split(BLOCK)
    ]
    return torch.cat(found)
