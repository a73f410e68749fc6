"""Starting noise of successive windows: each anew, all the same, or wandering."""

import math
from collections.abc import Iterator
from itertools import repeat

import torch
from torch import Tensor

STYLES = ("random", "constant", "region", "walk")


def check(style: str, step_size: float) -> None:
    if style not in STYLES:
        raise ValueError(f"the noise style must be {', '.join(STYLES)}, got {style!r}")
    if not 0 <= step_size <= 1:
        raise ValueError(f"a noise step size must be in [0, 1], got {step_size}")


def noise_path(
    shape: tuple[int, ...], style: str = "random", step_size: float = 0.05, seed: int = 0
) -> Iterator[Tensor]:
    """Give unit noise of a shape for one window after another, without end, on the CPU.

    `random` is new each time, `constant` always the first; `region` stays within `step_size` of
    the first, `walk` moves that far from the one before: 0 is like constant, 1 like random.
    """
    check(style, step_size)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randn(shape, generator=generator)

    home = here = draw()
    yield home
    if style == "constant":
        yield from repeat(home)
    keep = math.sqrt(1 - step_size**2)
    while True:
        if style == "random":
            yield draw()
        else:
            here = keep * (home if style == "region" else here) + step_size * draw()
            yield here


def base_noise(
    channels: int, window: int, count: int, style: str, step_size: float = 0.05, seed: int = 0
) -> Iterator[Tensor]:
    """Give the latent noise [1, D, window] of `count` windows; `random` is one draw for all.

    So the noise of the style `random` is that of the original with the same seed. It takes half
    the memory of the song's audio at level 2.
    """
    check(style, step_size)
    if style == "random":
        (whole,) = [next(noise_path((1, channels, count * window), seed=seed))]
        yield from whole.split(window, dim=-1)
    else:
        path = noise_path((1, channels, window), style, step_size, seed)
        yield from (noise for _, noise in zip(range(count), path, strict=False))
