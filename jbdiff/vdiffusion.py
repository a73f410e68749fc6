"""v-diffusion (Salimans & Ho 2022, arXiv:2202.00512): loss, samplers and guidance.

x_t = alpha x + sigma eps and v = alpha eps - sigma x with alpha, sigma = cos, sin of pi t / 2.
Samplers take a callable `v_fn(x, t)` with x [B, C, T] and t [B], and times [S] that fall.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from jbdiff.unet import UNet

VFn = Callable[[Tensor, Tensor], Tensor]
OnStep = Callable[[int, int], None]


def ignore_step(done: int, total: int) -> None:
    """Stand in for a progress bar."""


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the clean signal and of the noise at time t."""
    return torch.cos(t * math.pi / 2), torch.sin(t * math.pi / 2)


def split(x: Tensor, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Part x_t [B, C, T] by its velocity into the clean signal and the noise."""
    alpha, sigma = alpha_sigma(t)
    return alpha * x - sigma * v, sigma * x + alpha * v


def v_loss(v_fn: VFn, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Mean squared error of v for each example [B]; the noise [B, C, T] is taken as it is."""
    alpha, sigma = alpha_sigma(t[:, None, None])
    v = v_fn(alpha * clean + sigma * noise, t)
    return (v - (alpha * noise - sigma * clean)).square().mean(dim=(1, 2))


def min_snr_weight(t: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) / (SNR + 1) at times [B], for the v-loss (Hang et al. 2023, 2303.09556)."""
    alpha, sigma = alpha_sigma(t)
    return torch.minimum(alpha**2, gamma * sigma**2)  # times sigma^2 / sigma^2, safe at both ends


def falling_times(steps: int, kept: float = 0.0, device: torch.device | None = None) -> Tensor:
    """Even times from 1 down to 1 / steps, without the share that initial audio keeps."""
    if steps < 1 or not 0 <= kept <= 1:
        raise ValueError(f"steps must be positive and strength in [0, 1], got {steps} and {kept}")
    return torch.linspace(1, 0, steps + 1, device=device)[int(kept * steps) : -1]


def ddim(
    v_fn: VFn,
    x: Tensor,
    times: Tensor,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    on_step: OnStep = ignore_step,
) -> Tensor:
    """DDIM (Song et al. 2021, arXiv:2010.02502, eq. 12 and 16) from times[0]; eta 1 is ancestral.

    Returns the clean signal [B, C, T] predicted at the last time.
    """
    for i, t in enumerate(times):
        clean, eps = split(x, v_fn(x, t.expand(len(x))), t)
        on_step(i + 1, len(times))
        if i + 1 == len(times):
            return clean
        (alpha, sigma), (alpha_next, sigma_next) = alpha_sigma(t), alpha_sigma(times[i + 1])
        fresh = eta * sigma_next / sigma * (1 - (alpha / alpha_next) ** 2).clamp(min=0).sqrt()
        x = alpha_next * clean + (sigma_next**2 - fresh**2).clamp(min=0).sqrt() * eps
        if eta:
            x = x + fresh * torch.randn(
                x.shape, generator=generator, device=x.device, dtype=x.dtype
            )
    return x


def dpm(v_fn: VFn, x: Tensor, times: Tensor, on_step: OnStep = ignore_step) -> Tensor:
    """DPM-Solver++ as a multistep method of third order, extrapolating in phi = pi t / 2.

    The exact solution is x / sin(phi) = integral of D / sin(phi)^2, with the predicted clean signal
    D on a parabola through its last three values. DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095)
    draws its curve over the log-SNR, which is infinite at t = 1; over the angle, as Zhang & Chen
    2022 (arXiv:2204.13902) do over t, it also serves there. Times are spread anew, closer together
    near the noise: `benchmarks.jbdiff` tells how few do what DDIM does in 250.
    """
    last = times[-1] / 2
    share = torch.arange(len(times), device=times.device) / max(1, len(times) - 1)
    times = times[0] - (times[0] - last) * share**1.5
    angles = [math.pi / 2 * t for t in times.tolist()]
    past: list[Tensor] = []  # predictions, the newest first
    for i, phi in enumerate(angles):
        clean, _ = split(x, v_fn(x, times[i].expand(len(x))), times[i])
        on_step(i + 1, len(times))
        if i + 1 == len(times):
            return clean
        past = [clean, *past[:2]]
        end = angles[i + 1]
        parts = shares(angles[i::-1][: len(past)], end)
        integral = sum(part * value for part, value in zip(parts, past, strict=True))
        x = math.sin(end) * (x / math.sin(phi) + integral)
    return x


def shares(angles: list[float], end: float) -> list[float]:
    """Integrate 1 / sin^2 times each Lagrange polynomial of `angles`, from end to the first."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = (angles[0] - end) / 2
    u = end + half * (nodes + 1)
    kernel = half * weights / np.sin(u) ** 2
    polynomials = [
        np.prod([(u - other) / (angle - other) for other in angles if other != angle], axis=0)
        for angle in angles
    ]
    return [float((kernel * polynomial).sum()) for polynomial in polynomials]


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddim": ddim, "dpm": dpm}


def guided(net: UNet, context: Tensor, scale: float, rescale: float = 0.0) -> VFn:
    """Classifier-free guidance (Ho & Salimans 2022) by a context [B, M, E], in one call a step.

    `rescale` pulls the guided prediction's deviation back to the plain one's (Lin et al. 2023,
    arXiv:2305.08891, eq. 15 and 16). Scale 1 is the plain prediction.
    """
    if scale == 1:
        contexts = net.prepare(context)
        return lambda x, t: net(x, t, contexts).float()
    both = net.prepare(torch.cat([context, net.null_context(context)]))

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        plain, null = net(torch.cat([x, x]), torch.cat([t, t]), both).float().chunk(2)
        v = null + scale * (plain - null)
        if rescale:
            matched = v * plain.std(dim=(1, 2), keepdim=True) / v.std(dim=(1, 2), keepdim=True)
            v = v.lerp(matched, rescale)
        return v

    return v_fn
