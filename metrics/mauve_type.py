"""A MAUVE-type divergence: two sets of vectors as histograms over shared clusters.

MAUVE (Pillutla et al. 2021, arXiv:2102.01454) is defined for text and the features of GPT-2; this
is its divergence frontier on any embedding, so its figures compare with no published ones.
"""

import torch
from torch import Tensor

from foundation.errors import UserError

SCALE = 5.0  # the paper's c
POINTS = 99  # mixtures along the frontier
EXPLAINED = 0.9  # of the variance, kept before clustering
ROUNDS = 50  # of k-means, at most
STARTS = 4  # of k-means; the best is used
VECTORS_A_CLUSTER = 10
SMOOTHING = 0.5  # added to each count (Krichevsky and Trofimov; arXiv:2212.14578)


def mauve_type(reference: Tensor, generated: Tensor, seed: int = 0) -> float:
    """Compare vectors [N, D] and [M, D]: 1 for equal sets, towards 0 the less they share.

    Both sets are reduced to the principal components of their union, scaled to length 1 and
    clustered together, a cluster for each ten vectors of the smaller set; the score is the area
    under the divergence frontier of the two histograms. Counts are smoothed, since clips are few.

    Raises:
        UserError: for fewer than 20 vectors of a side, and for different dimensions
    """
    if reference.shape[1:] != generated.shape[1:]:
        raise UserError(
            f"can't compare vectors of {reference.shape[-1]} and of {generated.shape[-1]} numbers"
        )
    count = min(len(reference), len(generated)) // VECTORS_A_CLUSTER
    if count < 2:
        raise UserError(
            f"a MAUVE-type divergence needs {2 * VECTORS_A_CLUSTER} vectors on each side, got "
            f"{len(reference)} and {len(generated)}"
        )
    both = reduced(torch.cat([reference, generated]).detach().to("cpu", torch.float64))
    cluster = clusters(both, count, torch.Generator().manual_seed(seed))
    p, q = (
        torch.bincount(side, minlength=count).double() + SMOOTHING
        for side in cluster.split([len(reference), len(generated)])
    )
    return frontier_area(p / p.sum(), q / q.sum())


def reduced(vectors: Tensor) -> Tensor:
    """Reduce vectors [N, D] to the components that explain 90 % of them, each of length 1."""
    centred = vectors - vectors.mean(0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    explained = values.square().cumsum(0) / values.square().sum().clamp(min=1e-300)
    kept = int((explained < EXPLAINED).sum()) + 1
    return torch.nn.functional.normalize(left[:, :kept] * values[:kept], dim=1)


def frontier_area(p: Tensor, q: Tensor) -> float:
    """Return the area under the divergence frontier of histograms [K], from 0.004 to 1.

    Points (exp(-c KL(q|r)), exp(-c KL(p|r))) of the mixtures r = w p + (1 - w) q (Pillutla et al.
    2021, eq. 1 and 2), and the two corners where w is 0 and 1.
    """
    weights = torch.linspace(0, 1, POINTS + 2, dtype=torch.float64)[1:-1, None]
    mixtures = weights * p + (1 - weights) * q
    x, y = (
        (-SCALE * torch.where(side > 0, side * (side / mixtures).log(), 0.0).sum(1)).exp()
        for side in (q, p)
    )
    ends = torch.tensor([1.0, 0.0], dtype=torch.float64)
    x, y = torch.cat([ends[:1], x, ends[1:]]), torch.cat([ends[1:], y, ends[:1]])
    return float(torch.trapezoid(y.flip(0), x.flip(0)))


def clusters(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Cluster vectors [N, D] by k-means (Lloyd's), the best of some starts: cluster of each [N]."""
    found = [lloyd(vectors, starts(vectors, count, generator)) for _ in range(STARTS)]
    return min(found, key=lambda item: item[1])[0]


def lloyd(vectors: Tensor, centres: Tensor) -> tuple[Tensor, float]:
    """Move centres [K, D] to the means of their vectors; return clusters [N] and squared error."""
    nearest = torch.cdist(vectors, centres).min(1)
    for _ in range(ROUNDS):
        total = torch.zeros_like(centres).index_add_(0, nearest.indices, vectors)
        size = torch.bincount(nearest.indices, minlength=len(centres))[:, None]
        centres = torch.where(size > 0, total / size.clamp(min=1), centres)
        before, nearest = nearest, torch.cdist(vectors, centres).min(1)
        if torch.equal(before.indices, nearest.indices):
            break
    return nearest.indices, float(nearest.values.square().sum())


def starts(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw first centres [K, D] far from each other (k-means++, Arthur and Vassilvitskii 2007)."""
    first = int(torch.randint(len(vectors), (1,), generator=generator))
    centres = [vectors[first]]
    distance = torch.full((len(vectors),), torch.inf, dtype=vectors.dtype)
    while len(centres) < count:
        distance = distance.minimum((vectors - centres[-1]).square().sum(1))
        weights = distance if distance.sum() > 0 else torch.ones_like(distance)
        centres.append(vectors[int(torch.multinomial(weights, 1, generator=generator))])
    return torch.stack(centres)
