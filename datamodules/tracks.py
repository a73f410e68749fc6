"""The tracks of a folder: which can be read, and which are for training or validation."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np

from audio import files as audio_files
from datamodules.messages import log_once
from datamodules.metadata import Sidecar
from datamodules.scan_cache import ScanCache
from foundation.errors import UserError
from foundation.files import bytes_of, user_path

BLOCK = 4096  # numbers of a column that are Python's at once


@dataclass(frozen=True)
class Track:
    """A part of a track.

    Attributes:
        path: the audio file; of stored tokens, the name
        name: the file's path relative to the music folder, which decides the split
        start: where the part begins, in samples at the window's rate or in tokens
        stop: where it ends
        cond: metadata by name
        row: which track of its source it is
    """

    path: Path
    name: str
    start: int
    stop: int
    cond: Mapping[str, str] = field(default_factory=dict, compare=False)
    row: int = field(default=0, compare=False)

    def __len__(self) -> int:
        return self.stop - self.start


class TrackSource(ABC):
    """Where tracks come from: a folder that was scanned, or a token store, by row."""

    @property
    @abstractmethod
    def lengths(self) -> np.ndarray:
        """The tracks' lengths, int64 [N]."""

    @abstractmethod
    def names(self) -> Iterator[bytes]:
        """Yield all names, as bytes."""

    @abstractmethod
    def track(self, row: int, start: int, stop: int) -> Track:
        """Return a part of a track."""


class Listed(TrackSource):
    """Tracks that are in memory."""

    def __init__(self, tracks: Sequence[Track]):
        self.tracks = tracks

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.array([len(track) for track in self.tracks], np.int64)

    def names(self) -> Iterator[bytes]:
        return (bytes_of(track.name) for track in self.tracks)

    def track(self, row: int, start: int, stop: int) -> Track:
        track = self.tracks[row]
        return replace(track, start=track.start + start, stop=track.start + stop, row=row)


@dataclass(frozen=True)
class Tracks(Sequence[Track]):
    """Parts of a source's tracks, in three columns: a million take as many megabytes as columns.

    Attributes:
        source: of the tracks
        rows: which tracks, int64 [N]
        starts: where each part begins
        stops: where it ends
    """

    source: TrackSource
    rows: np.ndarray
    starts: np.ndarray
    stops: np.ndarray

    @classmethod
    def whole(cls, source: TrackSource) -> "Tracks":
        lengths = source.lengths
        return cls(source, np.arange(len(lengths)), np.zeros_like(lengths), lengths)

    @classmethod
    def of(cls, tracks: Sequence[Track]) -> "Tracks":
        return cls.whole(Listed(tracks))

    @property
    def lengths(self) -> np.ndarray:
        return self.stops - self.starts

    def where(self, chosen: np.ndarray) -> "Tracks":
        """Return the parts for which a column of booleans is true."""
        columns = self.rows[chosen], self.starts[chosen], self.stops[chosen]
        return Tracks(self.source, *columns)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Track: ...
    @overload
    def __getitem__(self, index: slice) -> "Tracks": ...
    def __getitem__(self, index: int | slice) -> "Track | Tracks":
        if isinstance(index, slice):
            return self.where(index)  # pyright: ignore[reportArgumentType]
        row, start, stop = (column[index] for column in (self.rows, self.starts, self.stops))
        return self.source.track(int(row), int(start), int(stop))


def fingerprint(parts: Sequence[Tracks]) -> str:
    """Hash names and limits of tracks, whatever part they are in."""
    digest = hashlib.sha256()
    for source in {id(tracks.source): tracks.source for tracks in parts if len(tracks)}.values():
        same = [tracks for tracks in parts if tracks.source is source]
        columns = [(tracks.rows, tracks.starts, tracks.stops) for tracks in same]
        rows, starts, stops = map(np.concatenate, zip(*columns, strict=True))
        order = np.lexsort((starts, rows))
        limits = zip(*(by_block(column[order]) for column in (starts, stops)), strict=True)
        counts = np.bincount(rows, minlength=len(source.lengths))
        for name, count in zip(source.names(), by_block(counts), strict=True):
            for start, stop in islice(limits, count):
                digest.update(b"%s %d %d\n" % (name, start, stop))
    return digest.hexdigest()


def by_block(column: np.ndarray) -> Iterator[int]:
    """Return a column's numbers as Python's, a few at a time: a million would take 40 MB."""
    for first in range(0, len(column), BLOCK):
        yield from column[first : first + BLOCK].tolist()


def name_of(path: Path, root: Path) -> str:
    """Return a file's path relative to the music folder `root`; its name if `root` is the file."""
    return path.name if path == root else path.relative_to(root).as_posix()


def scan(
    folder: str | Path,
    sample_rate: int,
    sidecar: Sidecar | None = None,
    too_loud: audio_files.TooLoud = "skip",
) -> Tracks:
    """List a folder's readable tracks, in samples at `sample_rate`; log the names of the others.

    A file that was read by an earlier scan, on this machine, and hasn't changed isn't read again.

    `too_loud` says what to do with samples far beyond full scale, as `audio.files.Reader` does.

    Raises UserError where none can be read, MissingFileError where there is no folder.
    """
    root, sidecar = user_path(folder, "audio"), sidecar or Sidecar()
    tracks, rates, broken = [], Counter(), 0
    files, cache = audio_files.find(root), ScanCache(root)
    for path in files:
        try:
            if (info := cache.get(path)) is None:
                cache.add(info := audio_files.check(path, too_loud))
        except (UserError, OSError, MemoryError) as error:
            broken += 1
            log_once(logging.WARNING, f"skipped: {error or f'{path} needs too much memory'}")
            continue
        rates[info.sample_rate] += 1
        name = name_of(path, root)
        length = info.num_samples_at(sample_rate)
        tracks.append(Track(path, name, 0, length, sidecar.cond(name)))
    cache.save()
    if broken:
        log_once(logging.WARNING, f"{broken} of {len(files)} files in {root} can't be read")
    report_left_out(root)
    if not tracks:
        raise UserError(f"none of the {len(files)} audio files in {root} can be read")
    del rates[sample_rate]
    if rates:
        found = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(rates.items()))
        log_once(logging.INFO, f"resampling to {sample_rate} Hz while reading: {found}")
    return Tracks.of(tracks)


def report_left_out(root: Path) -> None:
    """Log which files of a folder are of no known audio format."""
    if others := audio_files.left_out(root):
        log_once(logging.INFO, f"no known audio format, left out: {others}")


def split(tracks: Tracks, val_fraction: float, seed: int = 0) -> tuple[Tracks, Tracks]:
    """Split all tracks of a source into those of training and validation, by a hash of each name.

    A track keeps its side when others are added, except one that has to change it so that neither
    side is empty. A single track is split in time: its end is for validation.
    """
    if not val_fraction:
        return tracks, tracks[:0]
    if len(tracks) == 1:
        only = tracks[0]
        cut = tracks.stops - max(1, round(len(only) * val_fraction))
        share = f"the last {val_fraction:.0%} of {only.name}"
        log_once(logging.INFO, f"one track: {share} is validation")
        return replace(tracks, stops=cut), replace(tracks, starts=cut)
    hashes = (hashlib.sha256(b"%d %s" % (seed, n)).digest()[:8] for n in tracks.source.names())
    draws = np.fromiter((int.from_bytes(one, "big") for one in hashes), np.uint64, len(tracks))
    count = np.count_nonzero(draws / 2.0**64 < val_fraction)
    count = min(max(count, 1), len(tracks) - 1)
    validation = np.zeros(len(tracks), bool)
    validation[np.argsort(draws, kind="stable")[:count]] = True
    return tracks.where(~validation), tracks.where(validation)
