"""The tracks of a folder: which can be read, and which are for training or validation."""

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from audio import files as audio
from foundation.errors import UserError
from foundation.windows import AudioWindow

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Track:
    """The part of a file from `start` to `stop`, in samples at the window's rate."""

    path: Path
    name: str  # the place under the folder, which decides the split
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@rank_zero_only
def say(level: int, message: str) -> None:
    log.log(level, message)


def scan(folder: str | Path, window: AudioWindow) -> list[Track]:
    """List a folder's readable tracks; those that can't be read are named once and left out."""
    root = Path(folder).expanduser()
    tracks, rates, broken = [], Counter(), 0
    files = audio.find(root)
    for path in files:
        try:
            info = audio.check(path)
        except (ValueError, OSError) as error:
            broken += 1
            say(logging.WARNING, f"skipped: {error}")
            continue
        rates[info.sample_rate] += 1
        name = path.relative_to(root).as_posix() if path != root else path.name
        tracks.append(Track(path, name, 0, info.num_samples_at(window.sample_rate)))
    if broken:
        say(logging.WARNING, f"{broken} of {len(files)} files in {root} can't be read")
    if not tracks:
        raise UserError(f"none of the {len(files)} audio files in {root} can be read")
    del rates[window.sample_rate]
    if rates:
        found = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(rates.items()))
        say(logging.INFO, f"resampling to {window.sample_rate} Hz while reading: {found}")
    return tracks


def split(
    tracks: list[Track], val_fraction: float, seed: int = 0
) -> tuple[list[Track], list[Track]]:
    """Split into training and validation tracks by a hash of each name.

    A track stays on its side when others are added, but for the one that has to change sides so
    that neither is empty. A single track is split in time: its end is for validation.
    """
    if not val_fraction:
        return tracks, []
    if len(tracks) == 1:
        (only,) = tracks
        cut = only.stop - max(1, round(len(only) * val_fraction))
        say(logging.INFO, f"one track: the last {val_fraction:.0%} of {only.name} is validation")
        return [replace(only, stop=cut)], [replace(only, start=cut)]

    def draw(track: Track) -> float:
        digest = hashlib.sha256(f"{seed} {track.name}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    ranked = sorted(tracks, key=draw)
    count = sum(draw(track) < val_fraction for track in tracks)
    validation = set(ranked[: min(max(count, 1), len(tracks) - 1)])
    train = [track for track in tracks if track not in validation]
    return train, [track for track in tracks if track in validation]


def drop_short(
    tracks: list[Track], length: int, seconds: float, short: str, what: str, otherwise: str
) -> list[Track]:
    """Skip the tracks shorter than a window's `length`, which is so many seconds; say how many.

    With short "pad" they stay, and `otherwise` says what is done to them.
    """
    shorter = sum(len(track) < length for track in tracks)
    if shorter:
        action = otherwise if short == "pad" else "skipped"
        say(
            logging.WARNING,
            f"{shorter} of {len(tracks)} {what} tracks are shorter than {seconds:.2f} s: {action}",
        )
    if short == "skip":
        tracks = [track for track in tracks if len(track) >= length]
    if not tracks:
        raise UserError(
            f"all {what} tracks are shorter than the {seconds:.2f} s of an example: give longer "
            "ones, or short=pad"
        )
    return tracks
