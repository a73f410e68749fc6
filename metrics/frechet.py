"""Frechet distance between gaussians, exact also where there are fewer vectors than dimensions.

With roots A, B of the covariances (A^T A = S1, B^T B = S2), the trace of (S1^1/2 S2 S1^1/2)^1/2 is
the sum of the singular values of A B^T. Where the matrix is well conditioned, their squares are
computed as eigenvalues of a symmetric matrix, which is five times faster; elsewhere they are
computed directly, so that no square root magnifies rounding. Nothing can become complex.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from foundation.errors import UserError

WELL_CONDITIONED = 1e-8  # least to largest eigenvalue; an error of 1e-16 then stays below 1e-8


@dataclass(frozen=True)
class Gaussian:
    """Statistics of `count` vectors in float64: their mean [D] and the products of deviations.

    The products are held as `products` [D, D], or, where that is smaller, as `rows` [K, D] with
    rows^T rows = products.
    """

    count: int
    mean: Tensor
    rows: Tensor | None = None
    products: Tensor | None = None

    @classmethod
    def of(cls, vectors: Tensor) -> "Gaussian":
        """Compute the statistics of vectors [N, D]; UserError for none, and for not finite ones."""
        if vectors.dim() != 2 or not len(vectors):
            raise UserError(f"need vectors [count, dim], at least one, got {list(vectors.shape)}")
        if not vectors.isfinite().all():
            bad = (~vectors.isfinite().all(dim=1)).sum().item()
            raise UserError(f"{bad} of {len(vectors)} vectors are not finite")
        vectors = vectors.detach().to("cpu", torch.float64)
        mean = vectors.mean(dim=0)
        rows = vectors - mean
        if len(rows) <= len(mean):
            return cls(len(rows), mean, rows=rows)
        return cls(len(rows), mean, products=rows.T @ rows)

    @classmethod
    def known(cls, mean: Tensor, covariance: Tensor, count: int) -> "Gaussian":
        """Make a gaussian of the mean [D] and unbiased covariance [D, D] of `count` vectors."""
        mean, covariance = mean.double().reshape(-1), covariance.double()
        return cls(count, mean, products=covariance.reshape(len(mean), -1) * (count - 1))

    @property
    def dim(self) -> int:
        return len(self.mean)

    @property
    def scatter(self) -> Tensor:
        """Sum [D, D] of the outer products of the deviations from the mean."""
        if self.rows is not None:
            return self.rows.T @ self.rows
        assert self.products is not None  # one of the two is there
        return self.products

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance [D, D]."""
        return self.scatter / self._freedom

    @property
    def total_variance(self) -> float:
        """Trace of the covariance."""
        total = self.scatter.trace() if self.rows is None else self.rows.square().sum()
        return total.item() / self._freedom

    @property
    def _freedom(self) -> int:
        if self.count < 2:
            raise UserError("one vector has no covariance: give at least two")
        return self.count - 1

    @cached_property
    def root(self) -> Tensor:
        """A matrix A [K, D] with A^T A the covariance; directions without variance are left out."""
        if self.rows is not None:
            return self.rows / math.sqrt(self._freedom)
        covariance = self.covariance
        # below this, an eigenvalue can't be told from the rounding of the largest
        noise = self.dim * torch.finfo(torch.float64).eps * covariance.diagonal().max()
        triangle, failed = torch.linalg.cholesky_ex(covariance)
        if not failed and triangle.diagonal().square().min() > noise:
            return triangle.T
        values, basis = torch.linalg.eigh(covariance)
        if values[0] < -noise - 1e-12 * values[-1]:
            raise ValueError(f"not a covariance: it has the eigenvalue {values[0].item():.3g}")
        kept = values > noise
        kept[: max(0, self.dim - self.count + 1)] = False  # `count` vectors span no more
        return values[kept].sqrt()[:, None] * basis[:, kept].T

    @property
    def rank(self) -> int:
        """Directions in which the vectors vary, at most one less than there are vectors."""
        return min(len(self.root), self.count - 1)


def frechet(a: Gaussian, b: Gaussian) -> float:
    """Frechet distance of two gaussians (Dowson and Landau 1982), in squared units of the vectors.

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2, not clamped: for equal gaussians
    it's 0 up to rounding, of either sign.

    Raises:
        UserError: for gaussians of different dimensions
    """
    if a.dim != b.dim:
        raise UserError(
            f"can't compare vectors of {a.dim} and of {b.dim} numbers: use one embedding for both"
        )
    means = (a.mean - b.mean).square().sum().item()
    return means + a.total_variance + b.total_variance - 2 * shared_deviation(a.root, b.root)


def shared_deviation(a: Tensor, b: Tensor) -> float:
    """Trace of (S1^1/2 S2 S1^1/2)^1/2 from roots [K, D] and [L, D]."""
    product = a @ b.T
    squares = product @ product.T if len(a) <= len(b) else product.T @ product
    if len(squares):
        values = torch.linalg.eigvalsh(squares)
        if values[0] > WELL_CONDITIONED * values[-1]:
            return values.sqrt().sum().item()
    return torch.linalg.svdvals(product).sum().item()


def deficiency(a: Gaussian, b: Gaussian) -> str | None:
    """Say which side has too few vectors to know its covariance, if one has."""
    sides = [
        f"{name} has {gaussian.count} vectors"
        for name, gaussian in (("the reference", a), ("the generated side", b))
        if gaussian.count <= gaussian.dim
    ]
    if not sides:
        return None
    return (
        f"{' and '.join(sides)} for {a.dim} dimensions: the distance is exact for these vectors "
        "but biased upwards; trust the kernel distance, or the extrapolated score if there is one"
    )
