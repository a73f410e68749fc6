"""Join windows of audio that overlap."""

import math

import torch
from torch import Tensor

from foundation.errors import UserError

STYLES = ("linear", "constant-power")


def check(style: str) -> None:
    """Raise UserError for a style that doesn't exist."""
    if style not in STYLES:
        raise UserError(f"the crossfade style must be {' or '.join(STYLES)}, got {style!r}")


def weights(
    num_samples: int, style: str, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return fade-in and fade-out weights [N], on `device`.

    Linear weights add up to 1, for windows that are alike in the overlap; the squares of the
    constant-power weights do, for windows that differ.
    """
    check(style)
    w = torch.linspace(0, 1, num_samples, device=device)
    if style == "linear":
        return w, 1 - w
    return torch.sin(math.pi / 2 * w), torch.cos(math.pi / 2 * w)


def crossfade(old: Tensor, new: Tensor, style: str) -> Tensor:
    """Fade from old [..., N] to new [..., N]."""
    fade_in, fade_out = weights(new.shape[-1], style, new.device)
    return fade_in * new + fade_out * old
