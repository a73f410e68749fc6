"""Samplers of latents and of audio: from noise to a clean signal along a network's velocity.

A sampler knows no network: it calls `v_fn(x, t)` with x [B, D, L] and t [B]. Which times it runs
over is the model's choice, a Schedule: `vdiffusion.even_times` or `dance_sampling.sine_times`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from foundation.errors import UserError
from foundation.returned import check_returned
from foundation.sampler import OnStep, Sampler, check_steps, ignore_step
from jbdiff.vdiffusion import (
    Generators,
    VFn,
    alpha_sigma,
    check_strength,
    draw_like,
    noised,
    split,
)

# steps, strength (None: from pure noise) and device to falling times [S]
Schedule = Callable[[int, float | None, torch.device | None], Tensor]
ADAMS_BASHFORTH = (
    (1.0,),
    (1.5, -0.5),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


@dataclass(frozen=True)
class LatentSampler(Sampler, ABC):
    """Samples a signal [B, D, L] with a velocity; a frozen dataclass whose fields are its options.

    `steps` is how many times a schedule has from pure noise.

    Args:
        noise_scale: deviation of the noise that it starts from: below 1 what comes out is closer to
            the mean, calmer and cleaner, and varies less
    """

    noise_scale: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if self.noise_scale < 0:
            raise UserError(f"noise_scale must not be negative, got {self.noise_scale}")

    @abstractmethod
    def sample(
        self,
        v_fn: VFn,
        x: Tensor,
        times: Tensor,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Return the clean signal [B, D, L] from x [B, D, L] at times[0].

        Args:
            v_fn: predicts the velocity [B, D, L] of x [B, D, L] at times [B]
            x: noise, or a signal noised to times[0]
            times: [S], falling, all above 0; there is at least one
            generator: of the noise that a stochastic sampler adds, see `vdiffusion.draw_like`
            on_step: called after each step with the steps done and their total
        """


@dataclass(frozen=True)
class DDIM(LatentSampler):
    """DDIM (Song et al. 2021, arXiv:2010.02502, eq. 12 and 16); returns the last clean prediction.

    Args:
        steps: one network call each
        eta: noise added in each step: 0 is deterministic, 1 is ancestral sampling
    """

    steps: int = 250
    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eta < 0:
            raise UserError(f"eta must not be negative, got {self.eta}")

    def sample(
        self,
        v_fn: VFn,
        x: Tensor,
        times: Tensor,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        for i, t in enumerate(times[:-1]):
            clean, eps = split(x, v_fn(x, t.expand(len(x))), t)
            on_step(i + 1, len(times))
            (alpha, sigma), (alpha_next, sigma_next) = alpha_sigma(t), alpha_sigma(times[i + 1])
            ratio = (1 - (alpha / alpha_next) ** 2).clamp(min=0).sqrt()
            added = self.eta * sigma_next / sigma * ratio
            x = alpha_next * clean + (sigma_next**2 - added**2).clamp(min=0).sqrt() * eps
            if self.eta:
                x = x + added * draw_like(x, generator)
        clean, _ = split(x, v_fn(x, times[-1].expand(len(x))), times[-1])
        on_step(len(times), len(times))
        return clean


@dataclass(frozen=True)
class DPM(LatentSampler):
    """DPM-Solver++ as a multistep method of third order, extrapolating in phi = pi t / 2.

    The exact solution is x / sin(phi) = integral of D / sin(phi)^2, with the predicted clean signal
    D on a parabola through its last three values. DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095)
    draws its curve over the log-SNR, which is infinite at t = 1; over the angle, as Zhang & Chen
    2022 (arXiv:2204.13902) do over t, it also works there. It keeps the first of its times, halves
    the last and spaces the others more closely near the noise. `benchmarks.jbdiff` measures how
    few steps match DDIM's 250.

    Args:
        steps: one network call each
    """

    steps: int = 50

    def sample(
        self,
        v_fn: VFn,
        x: Tensor,
        times: Tensor,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        times = dpm_times(times)
        angles = [math.pi / 2 * t for t in times.tolist()]
        past: list[Tensor] = []  # predictions, the newest first
        for i, phi in enumerate(angles):
            clean, _ = split(x, v_fn(x, times[i].expand(len(x))), times[i])
            on_step(i + 1, len(times))
            if i + 1 == len(times):
                break
            past = [clean, *past[:2]]
            end = angles[i + 1]
            weights = integral_weights(angles[i::-1][: len(past)], end)
            terms = [weight * value for weight, value in zip(weights, past, strict=True)]
            x = math.sin(end) * (x / math.sin(phi) + sum(terms))
        return clean


def dpm_times(times: Tensor) -> Tensor:
    """Space falling times [S] more closely near the first one; the last one is halved."""
    last = times[-1] / 2
    fraction = torch.arange(len(times), device=times.device) / max(1, len(times) - 1)
    return times[0] - (times[0] - last) * fraction**1.5


def integral_weights(angles: list[float], end: float) -> list[float]:
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


@dataclass(frozen=True)
class IPLMS(LatentSampler):
    """DDIM's transfer with a noise extrapolated from the last four predictions, down to t = 0.

    Improved pseudo linear multistep (Liu et al. 2022, arXiv:2202.09778; Zhang & Chen 2022,
    arXiv:2204.13902, in k-diffusion's predecessor v-diffusion).

    Args:
        steps: one network call each
    """

    steps: int = 50

    def sample(
        self,
        v_fn: VFn,
        x: Tensor,
        times: Tensor,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        past: list[Tensor] = []  # predicted noises, the newest first
        for i, t in enumerate(times):
            clean, eps = split(x, v_fn(x, t.expand(len(x))), t)
            on_step(i + 1, len(times))
            past = [eps, *past[:3]]
            weights = ADAMS_BASHFORTH[len(past) - 1]
            terms = [weight * noise for weight, noise in zip(weights, past, strict=True)]
            better = sum(terms, start=torch.zeros_like(eps))
            alpha, sigma = alpha_sigma(t)
            if len(past) > 1:  # at the first step alpha may be 0, and the two are the same
                clean = clean - (better - eps) * sigma / alpha
            x = noised(clean, better, times[i + 1] if i + 1 < len(times) else torch.zeros_like(t))
        return x


@dataclass(frozen=True)
class Heun(LatentSampler):
    """Heun's method along the straight path from noise to signal (Karras et al. 2022, 2206.00364).

    A step goes as DDIM does, then again with the mean of the velocities at both of its ends. The
    straight path is (1 - s) x + s eps; times keep their noise level on it.

    Args:
        steps: two network calls each, but one at the last
    """

    steps: int = 25

    def sample(
        self,
        v_fn: VFn,
        x: Tensor,
        times: Tensor,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        alpha, sigma = alpha_sigma(times[0])
        clean, eps = split(x, v_fn(x, times[0].expand(len(x))), times[0])
        x = x / (alpha + sigma)  # on the straight path
        for i, t in enumerate(times[1:]):
            alpha, sigma = alpha_sigma(t)
            step = straight(t) - straight(times[i])
            guess = (alpha + sigma) * (x + step * (eps - clean))
            clean_there, eps_there = split(guess, v_fn(guess, t.expand(len(x))), t)
            x = x + step * (eps - clean + eps_there - clean_there) / 2
            on_step(i + 1, len(times))
            scaled = (alpha + sigma) * x
            clean, eps = split(scaled, v_fn(scaled, t.expand(len(x))), t)
        on_step(len(times), len(times))
        return clean


def straight(t: Tensor) -> Tensor:
    """Return s of the straight path (1 - s) x + s eps where it has the noise level of time t."""
    alpha, sigma = alpha_sigma(t)
    return sigma / (alpha + sigma)


def sample_from(
    v_fn: VFn,
    noise: Tensor,
    sampler: LatentSampler,
    schedule: Schedule,
    init: Tensor | None = None,
    strength: float = 0.0,
    generator: Generators = None,
    on_step: OnStep = ignore_step,
) -> Tensor:
    """Sample a signal [B, D, L] from noise of that shape, or from `init` noised by it.

    The more strength, from 0 to 1, the less noise and the closer to `init`; strength 1 returns it.

    Raises:
        UserError: if strength is outside [0, 1]
        ValueError: if the sampler returned another shape
    """
    start = sampler.noise_scale * noise
    if init is None:
        times = schedule(sampler.steps, None, noise.device)
    else:
        check_strength(strength)
        times = schedule(sampler.steps, strength, noise.device)
        if not len(times):
            return init
        start = noised(init, start, times[0])
    made = sampler.sample(v_fn, start, times, generator, on_step)
    check_returned(sampler, "sample", made, start.shape)
    return made
