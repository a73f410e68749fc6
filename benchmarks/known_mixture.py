"""A mixture of normal laws, whose exact velocity and quantiles test samplers of latents."""

from dataclasses import dataclass

import torch
from torch import Tensor

from jbdiff.samplers import LatentSampler
from jbdiff.vdiffusion import alpha_sigma, even_times


@dataclass(frozen=True)
class Mixture:
    """Numbers near one of several means; the default is far from normal, and not symmetric."""

    weights: tuple[float, ...] = (0.6, 0.3, 0.1)
    means: tuple[float, ...] = (-1.0, 0.8, 2.0)
    deviation: float = 0.25

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Return E[v | x_t] of x [B, D, L] at times [B]."""
        alpha, sigma = alpha_sigma(t[:, None, None, None])
        means = torch.tensor(self.means, dtype=x.dtype)
        variance = (alpha * self.deviation) ** 2 + sigma**2
        away = x[..., None] - alpha * means  # [B, D, L, number of means]
        log_weights = torch.tensor(self.weights, dtype=x.dtype).log() - away**2 / (2 * variance)
        clean = means + alpha * self.deviation**2 / variance * away
        eps = sigma / variance * away
        return ((alpha * eps - sigma * clean) * log_weights.softmax(-1)).sum(-1)

    def quantiles(self, levels: Tensor) -> Tensor:
        """Return the numbers below which the shares `levels` [N] lie, by bisection."""
        low, high = (torch.full_like(levels, edge) for edge in (-8.0, 8.0))
        for _ in range(60):
            middle = (low + high) / 2
            above = self._share_below(middle) > levels
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2

    def _share_below(self, x: Tensor) -> Tensor:
        parts = zip(self.weights, self.means, strict=True)
        return sum(
            (w * torch.special.ndtr((x - mean) / self.deviation) for w, mean in parts),
            start=torch.zeros_like(x),
        )


def distance(sampler: LatentSampler, law: Mixture = Mixture(), count: int = 2001) -> float:  # noqa: B008
    """Mean distance between the quantiles of what is sampled and the law's own (Wasserstein's).

    Sampling starts from the quantiles of noise, so that nothing of it is chance unless the sampler
    adds noise; the deviation of the default law is 1.
    """
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    noise = torch.special.ndtri(levels)[:, None, None]
    times = even_times(sampler.steps).double()
    generator = torch.Generator().manual_seed(0)
    made = sampler.sample(law.velocity, noise, times, generator)[:, 0, 0]
    return float((made.sort().values - law.quantiles(levels)).abs().mean())
