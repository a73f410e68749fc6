"""What decoding a whole file shows: its true length, its peak, and places to seek to.

Files are surveyed that libsndfile can't read, whose header can't be believed, and whose samples are
floats of any size. A survey takes the memory of a block and, once made, lies in the cache.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from foundation.files import cache_folder, replacing

VERSION = 1  # of the decoding: another one makes surveys anew


@dataclass
class Survey:
    """What is known of a file after decoding it.

    Attributes:
        sample_rate: of the first decoded samples, in Hz
        channels: their number
        num_samples: all that could be decoded, per channel
        peak: the largest absolute value; infinite where one isn't finite
        speakers: names of the channels
        marks: [N, 3] int64: a sample, and time stamp and byte position of the packet it begins
    """

    sample_rate: int = 0
    channels: int = 0
    num_samples: int = 0
    peak: float = 0.0
    speakers: tuple[str, ...] = ()
    marks: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))

    def save(self, path: Path) -> None:
        numbers = (self.sample_rate, self.channels, self.num_samples)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                numbers=np.array(numbers, np.int64),
                peak=np.float64(self.peak),
                speakers=np.array(self.speakers, dtype="U8"),
                marks=self.marks,
            )

    @classmethod
    def load(cls, path: Path) -> "Survey | None":
        """Read what `save` wrote; None where there is none, or a damaged one."""
        try:
            with np.load(path) as stored:
                rate, channels, num_samples = (int(number) for number in stored["numbers"])
                speakers = tuple(str(name) for name in stored["speakers"])
                peak, marks = float(stored["peak"]), stored["marks"].reshape(-1, 3)
        except Exception:  # zipfile, zlib and numpy each have their own
            return None
        usable = 0 < rate and 0 < channels and 0 < num_samples and marks.dtype == np.int64
        return cls(rate, channels, num_samples, peak, speakers, marks) if usable else None


def survey_of(path: Path, make: Callable[[Path], Survey]) -> Survey:
    """Return a file's survey: from memory, from the cache, or made now."""
    stat = path.stat()
    return _survey(os.path.realpath(path), stat.st_size, stat.st_mtime_ns, make)


@lru_cache(maxsize=1024)
def _survey(path: str, size: int, modified: int, make: Callable[[Path], Survey]) -> Survey:
    text = f"{VERSION} {make.__module__} {size} {modified} ".encode() + os.fsencode(path)
    place = cache_folder() / "surveys" / f"{hashlib.sha256(text).hexdigest()[:24]}.npz"
    if (stored := Survey.load(place)) is not None:
        return stored
    survey = make(Path(path))
    try:
        survey.save(place)
    except OSError:  # it is made again next time
        pass
    return survey
