"""Audio files: find, probe and read; `audio.writing` writes them."""

import logging
import os
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from audio.downmix import mix
from audio.opening import FFMPEG, SNDFILE, open_source
from audio.resample import ratio, resample_sinc
from audio.source import AudioError as AudioError
from audio.writing import write as write
from audio.writing import write_pieces as write_pieces
from foundation.checks import check_choice
from foundation.errors import MissingFileError, UserError
from foundation.files import user_path

AUDIO_SUFFIXES = (*SNDFILE, *FFMPEG)
LOOKED_FOR = f"(looked for {' '.join(AUDIO_SUFFIXES)})"
OURS, BESIDE = ("index.html",), (".json", ".png")  # our pages; settings and pictures of a sample
NAMED = 3  # files of a kind that are named when it is left out
MISSING = 9600  # samples, at any rate
MARGIN = 64  # input samples beyond the resampling filter's reach, itself 6 zero crossings
LOUDEST = 8.0  # a larger sample, 18 dB above full scale, is an integer, a unit or damage
INTEGERS = (2.0**7, 2.0**15, 2.0**23, 2.0**31)  # full scale of samples that are integers
TOO_LOUD = ("skip", "clip", "scale")
TooLoud = Literal["skip", "clip", "scale"]
DONE = {"skip": "left out", "clip": "clipped to 1", "scale": "scaled to full scale"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Info:
    """What is known of an audio file; `num_samples` is at its own `sample_rate`, in Hz.

    `peak` is its largest absolute value, where it could be more than 1 and was measured.
    """

    path: Path
    sample_rate: int
    channels: int
    num_samples: int
    peak: float | None = None

    def num_samples_at(self, sample_rate: int) -> int:
        """Count the samples after resampling to another rate."""
        return ceil(self.num_samples * sample_rate / self.sample_rate)


def find(folder: str | Path) -> list[Path]:
    """List the audio files under a folder, sorted, without hidden ones; of a file, itself.

    UserError where there are none, MissingFileError where there is no such folder or file.
    """
    root = user_path(folder, "the folder of music")
    if root.is_file():
        if root.suffix.lower() not in AUDIO_SUFFIXES:
            raise UserError(f"{root} is not an audio file {LOOKED_FOR}")
        return [root]
    if not root.is_dir():
        raise MissingFileError(f"no such folder or audio file: {root}")
    found = (path for path in _walk(root) if path.suffix.lower() in AUDIO_SUFFIXES)
    files = sorted(path for path in found if path.is_file() or not path.exists())  # no pipes
    if not files:
        raise UserError(f"no audio files in {root} {LOOKED_FOR}")
    return files


def left_out(folder: str | Path) -> str:
    """Count a folder's other files by kind and name some: "3 .jpg (a.jpg, …)"; "" for none.

    What this project writes beside its own sound isn't counted.
    """
    root = user_path(folder, "the folder of music")
    kinds: dict[str, list[str]] = {}
    found = _walk(root) if root.is_dir() else []
    sounds = {path.with_suffix("") for path in found if path.suffix.lower() in AUDIO_SUFFIXES}
    for path in found:
        if path.name in OURS or path.suffix in BESIDE and path.with_suffix("") in sounds:
            continue
        if (kind := path.suffix.lower()) not in AUDIO_SUFFIXES:
            kinds.setdefault(kind or "without suffix", []).append(path.name)
    return ", ".join(_kind(kind, sorted(names)) for kind, names in sorted(kinds.items()))


def _kind(kind: str, names: list[str]) -> str:
    more = ", …" if len(names) > NAMED else ""
    return f"{len(names)} {kind} ({', '.join(names[:NAMED])}{more})"


def _walk(root: Path) -> list[Path]:
    found, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up the tree
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(folder) / name for name in names if not name.startswith(".")]
    return found


def probe(path: str | Path) -> Info:
    """Look at a file; AudioError for a broken one, MissingFileError if there is none."""
    with open_source(Path(path)) as source:
        return Info(
            source.path, source.sample_rate, source.channels, source.num_samples, source.peak
        )


def check(path: str | Path, too_loud: TooLoud = "skip") -> Info:
    """Probe a file and read what is before its end, so that a cut-off file is found early.

    One that ends up to `MISSING` samples early isn't, as `read_all` has it.
    A file with samples beyond `LOUDEST` is an AudioError where `too_loud` says to skip it; else
    what is done with it is logged.
    """
    info = probe(path)
    read(path, max(0, info.num_samples - MISSING - info.sample_rate // 10), too_loud=too_loud)
    if info.peak is not None and info.peak > LOUDEST:
        log.warning("%s holds samples up to %.3g: %s", path, info.peak, DONE[too_loud])
    return info


class Reader:
    """An open file's samples at a rate and with a number of channels, any part at a time.

    A part equals that part of the whole, resampled or not, and costs its own length alone.

    Args:
        path: the file
        sample_rate: in Hz; the file's own if None
        channels: to which the file's are mixed, as `audio.downmix` says; its own if None
        too_loud: what to do with samples beyond `LOUDEST`, in a file that holds them: skip is an
            AudioError, clip limits it to [-1, 1], scale divides by the full scale of integers
            (2^7, 2^15, 2^23 or 2^31) that holds its peak, or by the peak itself

    Raises:
        AudioError: for a broken file; MissingFileError for none
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int | None = None,
        channels: int | None = None,
        too_loud: TooLoud = "skip",
    ):
        check_choice("too_loud", too_loud, TOO_LOUD)
        self.path, self.channels = Path(path), channels
        self.too_loud: TooLoud = too_loud
        self.source = open_source(self.path)
        self.sample_rate = sample_rate or self.source.sample_rate
        self.num_samples = ceil(
            self.source.num_samples * self.sample_rate / self.source.sample_rate
        )

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self.source.close()

    def read(self, start: int, stop: int) -> Tensor:
        """Read samples start to stop, counted at `sample_rate`, to [C, T]; fewer at the end.

        Raises AudioError for damage, and UserError for a start outside the file.
        """
        if not 0 <= start < self.num_samples:
            raise UserError(
                f"start {start} lies outside {self.path}, which has {self.num_samples} samples"
            )
        stop = min(stop, self.num_samples)
        if self.sample_rate == self.source.sample_rate:
            samples = self._frames(start, stop)
        else:
            samples = self._resampled(start, stop)
        if not samples.shape[-1]:
            raise AudioError(f"{self.path} ends before sample {start}: it is cut off")
        return samples

    @property
    def is_changed(self) -> bool:
        """Whether the file is known to hold samples beyond `LOUDEST`."""
        return (self.source.peak or 0.0) > LOUDEST

    def read_all(self, start: int, stop: int) -> Tensor:
        """Read samples start to stop to [C, stop - start]; AudioError where some are missing.

        Up to `MISSING` at the end are silence: an mp3's length is known to within a few frames.
        """
        try:
            samples = self.read(start, stop)
        except OSError as error:
            raise AudioError(f"{self.path} can't be read: {error.strerror}") from error
        missing = stop - start - samples.shape[-1]
        if missing > MISSING:
            end = (start + samples.shape[-1]) / self.sample_rate
            raise AudioError(f"{self.path} is cut off: it ends after {end:.2f} s")
        return pad(samples, (0, missing))

    def _resampled(self, start: int, stop: int) -> Tensor:
        """Resample samples start to stop with a margin, from where both rates share a sample."""
        old, new = ratio(self.source.sample_rate, self.sample_rate)
        margin = ceil(7 * max(1, old / new)) + MARGIN
        first = max(0, start // new - ceil(margin / old))  # in blocks of `old` in, `new` out
        last = min(self.source.num_samples, ceil(stop / new) * old + margin)
        resampled = resample_sinc(self._frames(first * old, last), old, new)
        return resampled[:, start - first * new : stop - first * new]

    def _frames(self, start: int, stop: int) -> Tensor:
        """Read frames start to stop, at the file's own rate, mixed and within bounds."""
        samples = self._bounded(self.source.frames(start, stop))
        return mix(samples, self.channels, self.source.speakers)

    def _bounded(self, samples: Tensor) -> Tensor:
        known = self.source.peak or 0.0
        low, high = samples.aminmax() if samples.numel() else torch.zeros(2)
        here = torch.maximum(-low, high).item()  # NaN where there is one, without a copy of all
        if not isfinite(here) or not isfinite(known):
            raise AudioError(f"{self.path} can't be used: it holds samples that are not finite")
        peak = max(here, known)
        if peak <= LOUDEST:
            return samples
        if self.too_loud == "skip":
            raise AudioError(
                f"{self.path} can't be used: it holds samples up to {peak:.3g}, full scale is 1 "
                "(too_loud=clip or too_loud=scale uses it)"
            )
        if self.too_loud == "scale":
            samples = samples / next((full for full in INTEGERS if peak <= full), peak)
        return samples.clamp(-1, 1)


def read(
    path: str | Path,
    start: int = 0,
    length: int | None = None,
    sample_rate: int | None = None,
    channels: int | None = None,
    too_loud: TooLoud = "skip",
) -> Tensor:
    """Read samples start to start + length, counted at `sample_rate`, to [C, T] float32.

    Returns less than `length` at the file's end. The options are those of `Reader`.

    Raises AudioError for a broken file, MissingFileError for none, UserError for a segment outside.
    """
    if length is not None and length < 1:
        raise UserError(f"can't read {length} samples of {path}: the length must be at least 1")
    with Reader(path, sample_rate, channels, too_loud) as reader:
        return reader.read(start, reader.num_samples if length is None else start + length)
