"""A forward process between masking and uniform noise."""

from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.errors import UserError
from sedd.graph import Graph, align


@dataclass(frozen=True)
class Hybrid(Graph):
    """Every state jumps to a mask or to a token drawn uniformly; neither is the end.

    A network that unmasks also learns to see which tokens are wrong, and samplers change those (von
    Ruette et al. 2025, arXiv:2503.04482, here with shares that don't depend on the time).

    Args:
        uniform: the share of the jumps that lead to tokens, the others lead to a mask
    """

    codebook_size: int
    uniform: float = 0.1

    def __post_init__(self) -> None:
        if self.codebook_size < 2:
            raise UserError(f"codebook_size must be at least 2, got {self.codebook_size}")
        if not 0 < self.uniform < 1:
            raise UserError(f"uniform must lie between 0 and 1, got {self.uniform}")

    @property
    def dim(self) -> int:
        return self.codebook_size + 1

    @property
    def mask_id(self) -> int:
        return self.codebook_size

    def limit_law(self, device: torch.device | None = None) -> Tensor:
        law = torch.full((self.dim,), self.uniform / self.codebook_size, device=device)
        law[self.mask_id] = 1 - self.uniform
        return law

    def rate(self, x: Tensor) -> Tensor:
        return self.limit_law(x.device) - self._one_hot(x)

    def transp_rate(self, x: Tensor) -> Tensor:
        return self.limit_law(x.device)[x][..., None] - self._one_hot(x)

    def transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        moved = -torch.expm1(-align(sigma, x))[..., None]
        return (1 - moved) * self._one_hot(x) + moved * self.limit_law(x.device)

    def transp_transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        moved = -torch.expm1(-align(sigma, x))[..., None]
        return (1 - moved) * self._one_hot(x) + moved * self.limit_law(x.device)[x][..., None]

    def staggered_score(self, score: Tensor, dsigma: Tensor) -> Tensor:
        dsigma, limit = align(dsigma, score), self.limit_law(score.device).to(score)
        return torch.exp(dsigma) * score - torch.expm1(dsigma) * score.sum(-1, keepdim=True) * limit

    def score_entropy(self, log_score: Tensor, sigma: Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """Sum s - r log s + r (log r - 1) over the states y != x, times the rate from them to x."""
        log_score = log_score if log_score.dtype == torch.float64 else log_score.float()
        law = self.transition(x0, sigma.to(log_score))
        ratio = law / law.gather(-1, x[..., None])
        terms = log_score.exp() - ratio * (log_score - ratio.log() + 1)
        others = terms.sum(-1) - terms.gather(-1, x[..., None])[..., 0]
        return self.limit_law(x.device)[x] * others

    def sample_limit(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        tokens = torch.randint(self.codebook_size, shape, generator=generator, device=device)
        masked = torch.rand(shape, generator=generator, device=device) >= self.uniform
        return tokens.masked_fill(masked, self.mask_id)

    def movable(self, x: Tensor) -> Tensor:
        return torch.ones_like(x, dtype=torch.bool)
