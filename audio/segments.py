"""Segments of files, evenly spread over all of them."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from torch import Tensor

from audio import files


@dataclass(frozen=True)
class Segment:
    """Samples [1, T] of a file, from `start` on, counted at the rate they were read with."""

    path: Path
    start: int
    samples: Tensor


def spread_segments(
    paths: list[Path], sample_rate: int, num_samples: int, count: int, numbers: Iterable[int]
) -> Iterator[Segment]:
    """Read segments, evenly spread over all files: those `numbers` of `count`.

    A file shorter than `num_samples` is read whole.
    """
    ends = list(accumulate(files.probe(path).num_samples_at(sample_rate) for path in paths))
    for number in numbers:
        middle = (2 * number + 1) * ends[-1] // (2 * count)
        index = bisect_right(ends, middle)
        first = ends[index - 1] if index else 0
        start = max(0, min(middle, ends[index] - num_samples) - first)
        length = min(num_samples, ends[index] - first)
        yield Segment(
            paths[index], start, files.read(paths[index], start, length, sample_rate, channels=1)
        )
