"""What a latent diffusion model is trained to predict, and how samplers read it.

Samplers follow v-diffusion's path, x_t = cos(pi t / 2) x + sin(pi t / 2) eps. An objective with
another path gives the velocity on this one, so that every sampler suits every objective.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.errors import UserError
from jbdiff.vdiffusion import VFn, alpha_sigma, v_loss


@dataclass(frozen=True)
class LatentObjective(ABC):
    """A loss of a network `net(x, t)` with x [B, D, L] and t [B]; its fields are options."""

    @abstractmethod
    def losses(self, net: VFn, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Compute the loss of each example [B]: clean and noise are [B, D, L].

        Times [B] are uniform in [0, 1], from clean to noise; the objective may space them its way.
        """

    @abstractmethod
    def velocity(self, net: VFn) -> VFn:
        """Return v on the path of v-diffusion, as samplers ask for it."""


@dataclass(frozen=True)
class VDiffusion(LatentObjective):
    """Predict v = alpha eps - sigma x (Salimans & Ho 2022, arXiv:2202.00512) at even times."""

    def losses(self, net: VFn, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return v_loss(net, clean, noise, times)

    def velocity(self, net: VFn) -> VFn:
        return net


@dataclass(frozen=True)
class RectifiedFlow(LatentObjective):
    """Predict eps - x on the straight path (1 - s) x + s eps (Liu et al. 2022, arXiv:2209.03003).

    Args:
        spread: of the logit-normal times (Esser et al. 2024, arXiv:2403.03206): the smaller, the
            more of the training is about the middle of the path; 0 takes even times
        shift: of their logit: above 0 more of the training is about noisier times. A window of many
            latents shows through strong noise what it is like, so that what kind of music it
            becomes is decided in the first steps, at times that a shift of 0 never draws
    """

    spread: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if self.spread < 0:
            raise UserError(f"spread must not be negative, got {self.spread}")

    def losses(self, net: VFn, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        s = self.spaced(times)
        x = clean.lerp(noise, s[:, None, None])
        return (net(x, s) - (noise - clean)).square().mean(dim=(1, 2))

    def spaced(self, times: Tensor) -> Tensor:
        """Turn uniform times [B] into logit-normal ones."""
        if not self.spread:
            return times
        normal = torch.special.ndtri(times.double().clamp(1e-6, 1 - 1e-6))
        return torch.sigmoid(self.shift + self.spread * normal).to(times)

    def velocity(self, net: VFn) -> VFn:
        """Scale a sample of v-diffusion's path to the straight one of the same noise level.

        There s = sin / (sin + cos), and the straight path's x is the other one's over (sin + cos).
        """

        def v_fn(x: Tensor, t: Tensor) -> Tensor:
            alpha, sigma = alpha_sigma(t[:, None, None])
            total = alpha + sigma
            s = sigma / total
            flow = net(x / total, s[:, 0, 0])
            clean, eps = x / total - s * flow, x / total + (1 - s) * flow
            return alpha * eps - sigma * clean

        return v_fn
