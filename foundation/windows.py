"""What an example of training is: the model says it, the data module cuts it.

Lengths of audio and lengths in tokens are two types, so that one can't be taken for the other.
"""

from dataclasses import dataclass, field

from foundation.errors import UserError


def _check(what: str, length: int, context: int, align: int) -> None:
    if length < 1:
        raise UserError(f"an example needs a positive length, got {length} {what}")
    if context < 0 or length % align or context % align:
        raise UserError(
            f"a window's length and context must be multiples of {align} {what}, "
            f"got length {length} and context {context}"
        )


@dataclass(frozen=True)
class AudioWindow:
    """A segment of audio; all lengths are in samples at `sample_rate`.

    It starts at a multiple of `align`, after `context` samples that a model is given before it.
    Validation windows are `val_length` long where that is given.
    """

    sample_rate: int
    length: int
    context: int = 0
    align: int = 1
    channels: int = 1
    val_length: int | None = None

    def __post_init__(self) -> None:
        _check("samples", self.length, self.context, self.align)

    @property
    def seconds(self) -> float:
        return self.length / self.sample_rate


@dataclass(frozen=True)
class TokenWindow:
    """A segment of a codec's tokens; all lengths are in tokens of one codebook.

    `streams` maps batch keys to the names of the codec's token streams that the model reads.
    """

    length: int
    context: int = 0
    streams: dict[str, str] = field(default_factory=lambda: {"tokens": "tokens"})

    def __post_init__(self) -> None:
        _check("tokens", self.length, self.context, 1)

    def in_samples(self, sample_rate: int, hop: int, align: int | None = None) -> AudioWindow:
        """Return the same window of audio, aligned to whole tokens."""
        return AudioWindow(sample_rate, self.length * hop, self.context * hop, align or hop)
