"""What a caller of `generate` may ask for: checked, and its audio brought to a model's channels."""

from torch import Tensor

from foundation.audio_module import Cond
from foundation.codec import mono
from foundation.errors import UserError
from jbdiff.vdiffusion import check_strength


def check_request(
    model: str,
    seconds: float | None,
    count: int,
    prompt: Tensor | None,
    keep: Tensor | None,
    init: Tensor | None,
    strength: float,
    cond: Cond | None,
) -> None:
    """Raise UserError for values out of range and for what the models of this package can't do."""
    if count < 1:
        raise UserError(f"count must be at least 1, got {count}")
    if seconds is not None and seconds <= 0:
        raise UserError(f"seconds must be positive, got {seconds}")
    check_strength(strength)
    if cond:
        raise UserError(f"{model} reads no metadata: leave out cond {sorted(cond)}")
    for name, audio in (("prompt", prompt), ("init", init)):
        if audio is not None and (audio.dim() != 2 or not audio.numel()):
            raise UserError(f"{name} must be audio [channels, samples], got {list(audio.shape)}")
    if keep is not None:
        _check_keep(prompt, keep, init, seconds)


def _check_keep(
    prompt: Tensor | None, keep: Tensor, init: Tensor | None, seconds: float | None
) -> None:
    if prompt is None:
        raise UserError("keep needs a prompt: the audio of which a part is regenerated")
    if init is not None or seconds is not None:
        raise UserError("where a part of a prompt is regenerated, leave out init and seconds")
    if keep.dim() != 1 or len(keep) != prompt.shape[-1]:
        raise UserError(
            f"keep must say for each of the prompt's {prompt.shape[-1]} samples whether it stays, "
            f"got {list(keep.shape)}"
        )


def with_channels(audio: Tensor, channels: int) -> Tensor:
    """Return audio [C, T] as [1, channels, T] on the CPU, its mean repeated where C differs."""
    audio = audio.detach().float().cpu()[None]
    return audio if audio.shape[1] == channels else mono(audio).expand(-1, channels, -1)


def length_in_samples(
    seconds: float | None, init: Tensor | None, default: int, sample_rate: int
) -> int:
    """Return how many samples are new: of `seconds`, else of the initial audio, else the default.

    Raises:
        UserError: if the initial audio is shorter than what is asked for
    """
    length = default if init is None else init.shape[-1]
    if seconds is None:
        return length
    wanted = max(1, round(seconds * sample_rate))
    if init is not None and wanted > length:
        raise UserError(
            f"init has {length / sample_rate:.2f} s, the result can't be longer: leave out "
            f"seconds, or lower {seconds}"
        )
    return wanted
