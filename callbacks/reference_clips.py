"""The real music that a model's clips are held against."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from lightning.pytorch import Trainer
from torch import Tensor

from audio import files as audio


def validation_files(trainer: Trainer) -> list[Path]:
    """List the data module's validation tracks whose audio files are at hand."""
    data = getattr(trainer, "datamodule", None)
    tracks = getattr(data, "val_tracks", None) or []
    root = Path(getattr(data, "audio", None) or ".").expanduser()
    suffixes = audio.AUDIO_SUFFIXES
    places = [place for track in tracks for place in (track.path, root / track.name)]
    return sorted({p for p in places if p.suffix.lower() in suffixes and p.is_file()})


def passages(
    files: list[Path], sample_rate: int, num_samples: int, count: int, numbers: Iterable[int]
) -> Iterator[Tensor]:
    """Read those numbers of `count` passages [1, T], the middles of even parts of all the music.

    A file shorter than `num_samples` is read whole.
    """
    ends = list(accumulate(audio.probe(file).num_samples_at(sample_rate) for file in files))
    for number in numbers:
        place = (2 * number + 1) * ends[-1] // (2 * count)
        index = bisect_right(ends, place)
        first = ends[index - 1] if index else 0
        start = max(0, min(place, ends[index] - num_samples) - first)
        length = min(num_samples, ends[index] - first)
        yield audio.read(files[index], start, length, sample_rate, channels=1)
