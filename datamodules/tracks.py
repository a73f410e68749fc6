"""The tracks of a folder: which can be read, and which are for training or validation."""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from audio import files as audio_files
from datamodules.messages import log_once
from datamodules.metadata import Sidecar
from foundation.errors import UserError
from foundation.files import bytes_of, user_path


@dataclass(frozen=True)
class Track:
    """A part of a track.

    Attributes:
        path: the audio file; of stored tokens, the track's key
        name: the file's path relative to the music folder, which decides the split
        start: where the part begins, in samples at the window's rate or in tokens
        stop: where it ends
        cond: metadata by name
    """

    path: Path
    name: str
    start: int
    stop: int
    cond: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return self.stop - self.start


def name_of(path: Path, root: Path) -> str:
    """Return a file's path relative to the music folder `root`; its name if `root` is the file."""
    return path.name if path == root else path.relative_to(root).as_posix()


def scan(
    folder: str | Path,
    sample_rate: int,
    sidecar: Sidecar | None = None,
    too_loud: audio_files.TooLoud = "skip",
) -> list[Track]:
    """List a folder's readable tracks, in samples at `sample_rate`; log the names of the others.

    `too_loud` says what to do with samples far beyond full scale, as `audio.files.Reader` does.

    Raises UserError where none can be read, MissingFileError where there is no folder.
    """
    root, sidecar = user_path(folder, "audio"), sidecar or Sidecar()
    tracks, rates, broken = [], Counter(), 0
    files = audio_files.find(root)
    for path in files:
        try:
            info = audio_files.check(path, too_loud)
        except (UserError, OSError, MemoryError) as error:
            broken += 1
            log_once(logging.WARNING, f"skipped: {error or f'{path} needs too much memory'}")
            continue
        rates[info.sample_rate] += 1
        name = name_of(path, root)
        length = info.num_samples_at(sample_rate)
        tracks.append(Track(path, name, 0, length, sidecar.cond(name)))
    if broken:
        log_once(logging.WARNING, f"{broken} of {len(files)} files in {root} can't be read")
    report_left_out(root)
    if not tracks:
        raise UserError(f"none of the {len(files)} audio files in {root} can be read")
    del rates[sample_rate]
    if rates:
        found = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(rates.items()))
        log_once(logging.INFO, f"resampling to {sample_rate} Hz while reading: {found}")
    return tracks


def report_left_out(root: Path) -> None:
    """Log which files of a folder are of no known audio format."""
    if others := audio_files.left_out(root):
        log_once(logging.INFO, f"no known audio format, left out: {others}")


def split(
    tracks: list[Track], val_fraction: float, seed: int = 0
) -> tuple[list[Track], list[Track]]:
    """Split into training and validation tracks by a hash of each name.

    A track keeps its side when others are added, except one that has to change it so that neither
    side is empty. A single track is split in time: its end is for validation.
    """
    if not val_fraction:
        return tracks, []
    if len(tracks) == 1:
        (only,) = tracks
        cut = only.stop - max(1, round(len(only) * val_fraction))
        share = f"the last {val_fraction:.0%} of {only.name}"
        log_once(logging.INFO, f"one track: {share} is validation")
        return [replace(only, stop=cut)], [replace(only, start=cut)]

    def draw(track: Track) -> float:
        digest = hashlib.sha256(bytes_of(f"{seed} {track.name}")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    ranked = sorted(tracks, key=draw)
    count = sum(draw(track) < val_fraction for track in tracks)
    validation = set(ranked[: min(max(count, 1), len(tracks) - 1)])
    train = [track for track in tracks if track not in validation]
    return train, [track for track in tracks if track in validation]
