"""Dance Diffusion's noise schedule ("crash"), its second sampler, and refining what is there.

Samplers take a callable `v_fn(x, t)` with x [B, C, T] and t [B], and times [S] that fall.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from jbdiff.vdiffusion import OnStep, VFn, alpha_sigma, ddim, ignore_step, split


def crash(t: Tensor) -> Tensor:
    """Warp even times in [0, 1] so that sigma is sin^2(pi t / 2)."""
    sigma = torch.sin(t * math.pi / 2) ** 2
    return torch.atan2(sigma, (1 - sigma**2).sqrt()) * 2 / math.pi


def times_below(steps: int, noise_level: float, device: torch.device | None = None) -> Tensor:
    """Give those of steps + 1 crash times that lie strictly below a noise level, falling, to 0."""
    t = crash(torch.linspace(0, 1, steps + 1, device=device))
    return t[t < noise_level].flip(0)


ADAMS_BASHFORTH = (
    (1.0,),
    (1.5, -0.5),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def iplms(v_fn: VFn, x: Tensor, times: Tensor, on_step: OnStep = ignore_step) -> Tensor:
    """Step DDIM's transfer with a noise extrapolated from the last four predictions, down to t = 0.

    Improved pseudo linear multistep (Liu et al. 2022, arXiv:2202.09778; Zhang & Chen 2022,
    arXiv:2204.13902, in k-diffusion's predecessor v-diffusion).
    """
    old: list[Tensor] = []
    for i, t in enumerate(times):
        clean, eps = split(x, v_fn(x, t.expand(len(x))), t)
        on_step(i + 1, len(times))
        old = [eps, *old[:3]]
        better = sum(w * e for w, e in zip(ADAMS_BASHFORTH[len(old) - 1], old, strict=True))
        alpha, sigma = alpha_sigma(t)
        if len(old) > 1:  # at the first step alpha may be 0, and the two are the same
            clean = clean - (better - eps) * sigma / alpha
        alpha, sigma = alpha_sigma(times[i + 1] if i + 1 < len(times) else torch.zeros_like(t))
        x = alpha * clean + sigma * better
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddim": ddim, "iplms": iplms}


def sampler_named(name: str) -> Callable[..., Tensor]:
    if name not in SAMPLERS:
        raise ValueError(f"the sampler must be {' or '.join(SAMPLERS)}, got {name!r}")
    return SAMPLERS[name]


def refine(
    v_fn: VFn,
    audio: Tensor,
    noise: Tensor,
    steps: int,
    strength: float,
    sampler: str = "ddim",
    on_step: OnStep = ignore_step,
) -> Tensor:
    """Noise audio [B, C, T] and bring it back; strength 1 returns it, 0 keeps almost nothing.

    The audio is noised to the last of the schedule's times below 1 - strength, and every time but
    the final 0 costs one network call.
    """
    sample = sampler_named(sampler)
    if steps < 1 or not 0 <= strength <= 1:
        raise ValueError(
            f"steps must be positive and strength in [0, 1], got {steps} and {strength}"
        )
    times = times_below(steps, 1 - strength, audio.device)[:-1]
    if not len(times):
        return audio
    alpha, sigma = alpha_sigma(times[0])
    return sample(v_fn, alpha * audio + sigma * noise, times, on_step=on_step)


def refine_calls(steps: int, strength: float) -> int:
    """Count the network calls of `refine`."""
    return max(0, len(times_below(steps, 1 - strength)) - 1)
