"""Dance Diffusion's schedule, whose sigma is a squared sine (the original calls it "crash")."""

import math

import torch
from torch import Tensor

from foundation.sampler import check_steps
from jbdiff.vdiffusion import check_strength


def sine_time(t: Tensor) -> Tensor:
    """Warp even times in [0, 1], of any shape, so that sigma is sin^2(pi t / 2)."""
    sigma = torch.sin(t * math.pi / 2) ** 2
    return torch.atan2(sigma, (1 - sigma**2).sqrt()) * 2 / math.pi


def sine_times(
    steps: int, strength: float | None = None, device: torch.device | None = None
) -> Tensor:
    """Return warped times [S], falling from 1, without the 0 at their end.

    With a strength they start at the last time strictly below 1 - strength: sampling then starts
    from an initial signal noised to it. At strength 1 there are none.

    Raises:
        UserError: if steps is not positive or strength outside [0, 1]
    """
    check_steps(steps)
    times = sine_time(torch.linspace(0, 1, steps + 1, device=device)).flip(0)[:-1]
    if strength is None:
        return times
    check_strength(strength)
    return times[times < 1 - strength]
