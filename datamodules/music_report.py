"""What a folder of music holds, before anything is trained on it."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from audio import files as audio_files
from audio.measure import Measured, look, measure
from datamodules.tracks import Track, Tracks, name_of, split
from foundation.files import user_path

UNIT = 1000  # positions a second in which the split is counted
SAME_LENGTH = 0.15  # seconds by which other formats of a track may be longer
SAME_OUTLINE = 0.5  # LU, on average
LIVELY = 1.0  # LU of deviation: below it all outlines are alike
MOST_OUTLINES = 5000
MANY_CLIPS = 10  # a minute
MOSTLY = 0.5  # of a track's time


@dataclass
class MusicReport:
    """What was found in a folder.

    Attributes:
        root: the folder, or one file
        tracks: the files that can be used
        unreadable: why the others can't be, by name
        left_out: files of no known format, by kind, as text; "" for none
        val_fraction: share of the tracks that is for validation
    """

    root: Path
    tracks: list[Measured] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    left_out: str = ""
    val_fraction: float = 0.1

    @property
    def hours(self) -> float:
        return sum(track.seconds for track in self.tracks) / 3600

    @property
    def rates(self) -> Counter[int]:
        return Counter(track.sample_rate for track in self.tracks)

    @property
    def channels(self) -> Counter[int]:
        return Counter(track.channels for track in self.tracks)

    @property
    def loudness(self) -> list[float]:
        """The loudness of the tracks that aren't silent, in LUFS, from quiet to loud."""
        known = [track.loudness for track in self.tracks if track.loudness is not None]
        return sorted(value for value in known if np.isfinite(value))

    @property
    def clipped(self) -> list[Measured]:
        """The tracks that clip at least ten times a minute, the worst first."""
        found = [one for one in self.tracks if one.clips >= MANY_CLIPS * one.seconds / 60 > 0]
        return sorted(found, key=lambda one: -one.clips / one.seconds)

    @property
    def silent(self) -> list[Measured]:
        """The tracks that are silent for most of their time."""
        return [track for track in self.tracks if track.silence > MOSTLY * track.seconds]

    @property
    def duplicates(self) -> list[list[Measured]]:
        """Groups of tracks that are the same music, also in different formats."""
        return duplicates(self.tracks)

    def name(self, track: Measured) -> str:
        return name_of(track.path, self.root)

    def split(self) -> tuple[list[float], list[float]]:
        """Return the seconds of the tracks for training and for validation, as fit splits them."""
        found = [
            Track(one.path, self.name(one), 0, max(1, round(one.seconds * UNIT)))
            for one in self.tracks
        ]
        train, validation = split(Tracks.of(found), self.val_fraction)
        return (train.lengths / UNIT).tolist(), (validation.lengths / UNIT).tolist()

    def as_dict(self) -> dict[str, object]:
        """Return everything as JSON holds it."""
        return {
            "folder": str(self.root),
            "tracks": len(self.tracks),
            "hours": self.hours,
            "rates": {str(rate): count for rate, count in sorted(self.rates.items())},
            "channels": {str(count): files for count, files in sorted(self.channels.items())},
            "loudness": self.loudness,
            "clipped": {self.name(one): one.clips for one in self.clipped},
            "silence_hours": sum(one.silence for one in self.tracks) / 3600,
            "silent": [self.name(one) for one in self.silent],
            "duplicates": [[self.name(one) for one in group] for group in self.duplicates],
            "unreadable": self.unreadable,
            "left_out": self.left_out,
            "split": dict(zip(("train", "validation"), map(len, self.split()), strict=True)),
        }


def examine(
    folder: str | Path, too_loud: audio_files.TooLoud = "skip", headers_only: bool = False
) -> MusicReport:
    """Listen to all tracks of a folder, or read their headers only.

    A track takes the memory of ten seconds of it. UserError where there is no music.
    """
    root = user_path(folder, "the folder of music")
    files = audio_files.find(root)
    report = MusicReport(root, left_out=audio_files.left_out(root))
    read = look if headers_only else measure
    logger = logging.getLogger("audio.files")  # says of each loud file what the report counts
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        for path in tqdm(files, desc="listening", unit="track", leave=False, disable=None):
            try:
                report.tracks.append(read(path, too_loud))
            except (ValueError, OSError, MemoryError) as error:
                report.unreadable[name_of(path, root)] = str(error) or "it needs too much memory"
    finally:
        logger.setLevel(level)
    return report


def duplicates(tracks: list[Measured]) -> list[list[Measured]]:
    """Group tracks whose decoded samples are equal, or whose length and outline are.

    Among more than 5,000 tracks only equal samples are looked for.
    """
    groups: dict[str, list[Measured]] = {}
    for track in tracks:
        groups.setdefault(track.content or str(track.path), []).append(track)
    merged = list(groups.values())
    if len(tracks) <= MOST_OUTLINES:
        for one, other in alike([group[0] for group in merged]):
            first = next(group for group in merged if one in group)
            second = next(group for group in merged if other in group)
            if first is not second:
                first += second
                merged.remove(second)
    return [group for group in merged if len(group) > 1]


def alike(tracks: list[Measured]) -> Iterator[tuple[Measured, Measured]]:
    """Yield the pairs of tracks of the same length whose loudness rises and falls alike."""
    lively = [one for one in tracks if len(one.outline) and one.outline.std() > LIVELY]
    lively.sort(key=lambda one: one.seconds)
    seconds = np.array([one.seconds for one in lively])
    outlines = np.array([one.outline for one in lively])
    for index, track in enumerate(lively):
        stop = int(np.searchsorted(seconds, track.seconds + SAME_LENGTH, "right"))
        distances = np.abs(outlines[index + 1 : stop] - track.outline).mean(-1)
        for near in np.flatnonzero(distances < SAME_OUTLINE):
            yield track, lively[index + 1 + int(near)]
