"""v-diffusion (Salimans & Ho 2022, arXiv:2202.00512): noising, loss, times, inpainting.

x_t = alpha x + sigma eps and v = alpha eps - sigma x with alpha, sigma = cos, sin of pi t / 2.
A network is any callable `v_fn(x, t)` with x [B, D, L] and t [B] from 0 (clean) to 1 (noise).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from foundation.errors import UserError
from foundation.sampler import check_steps

VFn = Callable[[Tensor, Tensor], Tensor]
Generators = torch.Generator | Sequence[torch.Generator] | None  # a sequence: one an example


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the weights of the clean signal and of the noise at times t of any shape."""
    return torch.cos(t * math.pi / 2), torch.sin(t * math.pi / 2)


def noised(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Noise a clean signal [B, D, L] to times t, a scalar or [B, 1, 1]."""
    alpha, sigma = alpha_sigma(t)
    return alpha * clean + sigma * noise


def split(x: Tensor, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Split x_t [B, D, L] by its velocity into the clean signal and the noise, both [B, D, L]."""
    alpha, sigma = alpha_sigma(t)
    return alpha * x - sigma * v, sigma * x + alpha * v


def v_loss(v_fn: VFn, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Compute the mean squared error of v for each example [B] at times t [B].

    `clean` and `noise` are [B, D, L]; the noise need not be Gaussian.
    """
    alpha, sigma = alpha_sigma(t[:, None, None])
    v = v_fn(alpha * clean + sigma * noise, t)
    return (v - (alpha * noise - sigma * clean)).square().mean(dim=(1, 2))


def min_snr_weight(t: Tensor, gamma: float) -> Tensor:
    """Weigh the v-loss at times [B] by min(SNR, gamma) / (SNR + 1) (Hang et al. 2023, 2303.09556).

    SNR is the signal-to-noise ratio alpha^2 / sigma^2.
    """
    alpha, sigma = alpha_sigma(t)
    return torch.minimum(alpha**2, gamma * sigma**2)  # times sigma^2 / sigma^2, safe at both ends


def check_strength(strength: float) -> None:
    """Raise UserError unless 0 <= strength <= 1."""
    if not 0 <= strength <= 1:
        raise UserError(f"strength must be in [0, 1], got {strength}")


def even_times(
    steps: int, strength: float | None = None, device: torch.device | None = None
) -> Tensor:
    """Return even times [S] from 1 down to 1 / steps.

    With a strength the first int(strength * steps) of them are left out: sampling then starts from
    an initial signal noised to the first time. At strength 1 there are none.

    Raises:
        UserError: if steps is not positive or strength outside [0, 1]
    """
    check_steps(steps)
    check_strength(strength or 0.0)
    skipped = int((strength or 0.0) * steps)
    return torch.linspace(1, 0, steps + 1, device=device)[skipped:-1]


def draw_like(x: Tensor, generator: Generators = None) -> Tensor:
    """Draw unit noise of the shape, type and device of x [B, D, L].

    With a generator for each example, an example's noise doesn't depend on the rest of the batch.
    """
    if isinstance(generator, Sequence):
        return torch.cat([draw_like(x[i : i + 1], own) for i, own in enumerate(generator)])
    device = x.device if generator is None else generator.device
    return torch.randn(x.shape, generator=generator, device=device, dtype=x.dtype).to(x.device)


def inpainted(v_fn: VFn, known: Tensor, keep: Tensor) -> VFn:
    """Return a v_fn whose clean prediction is `known` [B, D, L] where `keep` [B or 1, 1, L].

    There v = (alpha x - known) / sigma, so a sampler follows the path from its noise to what is
    known and ends there exactly; elsewhere the network sees it noised to the right time (the
    replacement method of Song et al. 2021, arXiv:2011.13456, with one noise for all times).
    """

    def wrapped(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(t[:, None, None])
        return torch.where(keep, (alpha * x - known) / sigma, v_fn(x, t))

    return wrapped
