"""What a caller of `AudioModel.generate` may ask for."""

import math
from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor

from foundation.batch import Cond
from foundation.checks import check_at_least
from foundation.control import Control
from foundation.errors import UserError


def check_request(
    seconds: float | None,
    count: int,
    prompt: Tensor | None,
    keep: Tensor | None,
    init: Tensor | None,
    strength: float,
    cond: Control | Cond | None,
) -> None:
    """Raise UserError for values out of range, and for what doesn't go together.

    The arguments are those of `AudioModel.generate`.
    """
    if not isinstance(count, int):
        raise UserError(f"count must be a whole number, got {count!r}")
    check_at_least(1, count=count)
    check_seconds(seconds)
    if not 0 <= strength <= 1:
        raise UserError(f"strength must be in [0, 1], got {strength}")
    for name, audio in (("prompt", prompt), ("init", init)):
        if audio is not None:
            _check_audio(name, audio)
    if not isinstance(cond, Control | Mapping | None):
        raise UserError(f"cond must be a Control or metadata by name, got {cond!r}")
    listed = {} if isinstance(cond, Control) or cond is None else cond
    for name, values in listed.items():
        if isinstance(values, str) or len(values) != count:
            raise UserError(f"cond {name} must list a value for each of {count} clips: {values}")
    if keep is not None:
        _check_keep(prompt, keep, init, seconds)


def check_seconds(seconds: object) -> None:
    """Raise UserError for a length that no sound has; None is a default."""
    if seconds is not None and not (isinstance(seconds, Real) and 0 < float(seconds) < math.inf):
        raise UserError(f"seconds must be positive, got {seconds!r}")


def _check_audio(name: str, audio: object) -> None:
    if not isinstance(audio, Tensor) or not audio.is_floating_point():
        kind = audio.dtype if isinstance(audio, Tensor) else type(audio).__name__
        raise UserError(f"{name} must be a tensor of floats [channels, samples], got {kind}")
    if audio.dim() != 2 or not audio.numel():
        raise UserError(f"{name} must be audio [channels, samples], got {list(audio.shape)}")
    if not audio.isfinite().all():
        raise UserError(f"{name} holds samples that are not finite")


def _check_keep(
    prompt: Tensor | None, keep: Tensor, init: Tensor | None, seconds: float | None
) -> None:
    if prompt is None:
        raise UserError("keep needs a prompt, the audio that is repaired")
    if init is not None or seconds is not None:
        raise UserError("give keep to repair a prompt, or seconds to continue it, and no init")
    if keep.dtype != torch.bool or keep.shape != prompt.shape[-1:]:
        raise UserError(
            f"keep must be {prompt.shape[-1]} booleans, one for each sample of the prompt, "
            f"got {keep.dtype} of shape {list(keep.shape)}"
        )
    if keep.all():
        raise UserError("keep says that the whole prompt stays: nothing is left to regenerate")
