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

    Attributes:
        sample_rate: in Hz
        length: of the segment
        context: samples before the segment that the model reads as well
        align: the segment starts at a multiple of it
        channels: of the audio
        val_length: length of validation segments, if it differs
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
        """The length in seconds."""
        return self.length / self.sample_rate


@dataclass(frozen=True)
class TokenWindow:
    """A segment of a codec's tokens, or latents; all lengths are in positions of them.

    Attributes:
        length: of the segment
        context: positions before the segment that the model reads as well, of the first stream
        streams: the codec's streams that the model reads, by their keys in a batch
    """

    length: int
    context: int = 0
    streams: dict[str, str] = field(default_factory=lambda: {"tokens": "tokens"})

    def __post_init__(self) -> None:
        _check("tokens", self.length, self.context, 1)

    @property
    def context_stream(self) -> str:
        """The codec's stream that the context is of."""
        return next(iter(self.streams.values()))

    def in_samples(
        self, sample_rate: int, hop: int, align: int | None = None, channels: int = 1
    ) -> AudioWindow:
        """Return the same window of a codec's audio, aligned to whole tokens or to `align`."""
        length, context = self.length * hop, self.context * hop
        return AudioWindow(sample_rate, length, context, align or hop, channels)
