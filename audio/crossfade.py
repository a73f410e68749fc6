"""Join windows of audio that overlap."""

import math

import torch
from torch import Tensor

STYLES = ("linear", "constant-power")


def check(style: str) -> None:
    if style not in STYLES:
        raise ValueError(f"the crossfade style must be {' or '.join(STYLES)}, got {style!r}")


def weights(
    num_samples: int, style: str, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Fade-in and fade-out weights [N]; linear ones add up to 1, of constant power their squares.

    Linear suits windows that sound the same in the overlap, constant power those that differ.
    """
    check(style)
    w = torch.linspace(0, 1, num_samples, device=device)
    if style == "linear":
        return w, 1 - w
    return torch.sin(math.pi / 2 * w), torch.cos(math.pi / 2 * w)


def crossfade(old: Tensor, new: Tensor, style: str) -> Tensor:
    """Pass from old [..., N] to new [..., N]."""
    fade_in, fade_out = weights(new.shape[-1], style, new.device)
    return fade_in * new + fade_out * old
