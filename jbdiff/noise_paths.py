"""Initial noise of successive windows: independent, constant, or a random walk."""

import math
from collections.abc import Iterator
from itertools import repeat

import torch
from torch import Tensor

from foundation.checks import check_choice, check_fraction

STYLES = ("random", "constant", "region", "walk")


def check(style: str, step_size: float, of: str = "") -> None:
    """Raise UserError for a style that doesn't exist, and a size out of range; `of` names both."""
    check_choice(f"{of}noise_style", style, STYLES)
    check_fraction(**{f"{of}noise_step_size": step_size})


def noise_path(
    shape: tuple[int, ...], style: str = "random", step_size: float = 0.05, seed: int = 0
) -> Iterator[Tensor]:
    """Yield unit noise of a shape for one window after another, without end, on the CPU.

    `random` is drawn for each window, `constant` repeats the first; `region` stays within
    `step_size` of the first, `walk` moves that far from the previous one: 0 is like constant, 1
    like random.

    Raises:
        UserError: for an unknown style, or a step size outside [0, 1]
    """
    check(style, step_size)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randn(shape, generator=generator)

    first = latest = draw()
    yield first
    if style == "constant":
        yield from repeat(first)
    keep = math.sqrt(1 - step_size**2)
    while True:
        if style == "random":
            yield draw()
        else:
            latest = keep * (first if style == "region" else latest) + step_size * draw()
            yield latest


def base_noise(
    channels: int, window: int, count: int, style: str, step_size: float = 0.05, seed: int = 0
) -> Iterator[Tensor]:
    """Yield the latent noise [1, D, window] of `count` windows; `random` is one draw for all.

    With style `random` it equals the noise of the original implementation with the same seed. It
    takes half the memory of the song's audio at level 2.
    """
    check(style, step_size)
    if style == "random":
        whole = next(noise_path((1, channels, count * window), seed=seed))
        yield from whole.split(window, dim=-1)
    else:
        path = noise_path((1, channels, window), style, step_size, seed)
        yield from (noise for _, noise in zip(range(count), path, strict=False))
