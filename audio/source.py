"""The contract of a decoder: an open audio file that returns any part of its samples."""

from abc import ABC, abstractmethod
from pathlib import Path

from torch import Tensor

from foundation.errors import UserError

BLOCK = 2**18  # frames decoded at once: a header's length never decides how much memory is asked


class AudioError(UserError):
    """A file can't be read as audio; the message names it and the reason."""


class Source(ABC):
    """An open audio file; `with` closes it.

    Attributes:
        path: of the file
        sample_rate: in Hz
        channels: how many
        num_samples: what decoding all of it returns
        speakers: the channels' names as FFmpeg has them (FL, FR, FC, LFE, …); () if not known
        peak: the largest absolute value, where the whole file was decoded; else None
    """

    path: Path
    sample_rate: int
    channels: int
    num_samples: int
    speakers: tuple[str, ...] = ()
    peak: float | None = None

    @abstractmethod
    def frames(self, start: int, stop: int) -> Tensor:
        """Decode frames start to stop to [C, T] float32; fewer where the file ends."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
