"""A music file to continue or to repair: what a model looks at, and what lies around it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from audio.files import Reader, TooLoud
from foundation.audio_module import AudioModel
from foundation.errors import UserError

SEEN = 60  # seconds of a prompt that a model is given, or four windows if those are longer
ALIGN = 256  # positions of a codec: parts begin at a multiple of so many, as the codecs' pieces do
BLOCK = 2**20  # samples copied at once


class Prompt:
    """A music file, of which only the part near what is generated is held in memory.

    Args:
        path: the music file
        model: continues it, or repairs it
        part: start and end in seconds of what is regenerated; None continues the file
        too_loud: what to do with samples far beyond full scale, as `audio.files.Reader` says

    Attributes:
        audio: the part [C, T] for the model; more than two channels are mixed to stereo
        keep: which of its samples [T] stay; None if all do
    """

    def __init__(
        self,
        path: Path,
        model: AudioModel,
        part: tuple[float, float] | None = None,
        too_loud: TooLoud = "skip",
    ):
        self.path, self.rate = path, model.sample_rate
        self.too_loud: TooLoud = too_loud
        with self._open() as reader:
            self.total = reader.num_samples
            start, stop = self._samples(part)
            seen = max(SEEN * self.rate, 4 * (model.window.length + model.window.context))
            align = ALIGN * (model.codec.hop if model.codec else 1)
            self.first = max(0, start - seen) // align * align
            self.last = min(self.total, stop + seen)
            self.audio = reader.read_all(self.first, self.last)
        self.keep: Tensor | None = None
        if part is not None:
            self.keep = torch.ones(self.audio.shape[-1], dtype=torch.bool)
            self.keep[start - self.first : stop - self.first] = False

    def _open(self, channels: int | None = None) -> Reader:
        reader = Reader(self.path, self.rate, channels, self.too_loud)
        if channels is None and reader.source.channels > 2:
            reader.channels = 2
        return reader

    def _samples(self, part: tuple[float, float] | None) -> tuple[int, int]:
        """Return where generated sound begins and ends."""
        if part is None:
            return self.total, self.total
        start, stop = part
        length = self.total / self.rate
        if not 0 <= start < stop <= length:
            raise UserError(
                f"regenerate needs 0 <= start < end <= {length:.2f} s, the prompt's length, "
                f"got {start} and {stop}"
            )
        return round(start * self.rate), round(stop * self.rate)

    def around(self, clip: Tensor) -> Iterable[Tensor]:
        """Yield the whole of a generated clip [C, T] piece by piece, with the rest of the file."""
        yield from self._copy(0, self.first, len(clip))
        yield clip
        yield from self._copy(self.last, self.total, len(clip))

    def _copy(self, start: int, stop: int, channels: int) -> Iterator[Tensor]:
        if start >= stop:
            return
        with self._open(channels) as reader:
            for begin in range(start, stop, BLOCK):
                yield reader.read_all(begin, min(begin + BLOCK, stop))
