"""What a caller of `generate` may ask for: checked, and its audio brought to a model's channels."""

from torch import Tensor

from foundation import codec
from foundation.audio_module import AudioModel
from foundation.batch import Cond
from foundation.control import Control
from foundation.errors import UserError


def check_cond(model: AudioModel, cond: Control | Cond | None, count: int) -> None:
    """Raise UserError where `count` clips are asked for by what the model wasn't trained with."""
    told, _ = model.told(cond, count)
    if told and not model.conditions:
        name = type(model).__name__
        raise UserError(f"{name} reads no metadata: leave out cond {sorted(told)}")


def with_channels(audio: Tensor, channels: int) -> Tensor:
    """Return audio [C, T] as [1, channels, T] on the CPU, its mean repeated where C differs."""
    return codec.with_channels(audio.detach().float().cpu()[None], channels)


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
