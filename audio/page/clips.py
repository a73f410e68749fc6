"""A clip of audio as a page shows it: its length, its waveform and its spectrogram."""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool1d, pad

from audio import files as audio
from audio.spectrogram import Plot, decibels, octaves, read_plot, write_plain
from foundation.errors import MissingFileError
from foundation.files import bytes_of

PLAYED = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac")  # by browsers
COLUMNS = 480  # of a spectrogram that is drawn here
BARS = 240  # of a waveform
HALF = 32  # units of a waveform's picture above its middle
PIECE = 60  # seconds read at once
DRAWN = "index_files"  # the folder beside a page for what it draws itself

KNOWN = re.compile(
    r'data-key="(?P<key>[0-9a-f]{16})" data-seconds="(?P<seconds>[0-9.]+)"[^>]*>'
    r'<path d="(?P<waveform>[Mv0-9 ]*)"'
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """A spectrogram: its file, and where in it the clip lies."""

    path: Path
    plot: Plot


@dataclass(frozen=True)
class Clip:
    """An audio file; `waveform` is an SVG path of bars 1 wide, in a box 2 * HALF high."""

    path: Path
    key: str
    seconds: float
    waveform: str
    picture: Picture | None

    @property
    def bars(self) -> int:
        return self.waveform.count("M")


class ClipReader:
    """Reads clips for the page in a folder; what that page shows already isn't read again."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.known: dict[str, tuple[float, str]] = {}
        page = folder / "index.html"
        for match in KNOWN.finditer(page.read_text() if page.is_file() else ""):
            self.known[match["key"]] = float(match["seconds"]), match["waveform"]

    def read(self, path: Path) -> Clip | None:
        """Read a clip; None, with a warning, for a file that is broken or has just been deleted."""
        try:
            return self._read(path)
        except (audio.AudioError, MissingFileError, FileNotFoundError) as error:
            log.warning("not on the page: %s", error)
            return None

    def _read(self, path: Path) -> Clip:
        key = key_of(path)
        seconds, waveform = self.known.get(key) or (length(audio.probe(path)), "")
        picture = find_picture(path, self.folder / DRAWN / f"{key}.png", seconds)
        if not waveform or not picture:
            waveform, spectrum = survey(audio.probe(path), draw=picture is None)
            if spectrum is not None:
                picture = self._draw(key, spectrum)
        return Clip(path, key, seconds, waveform, picture)

    def _draw(self, key: str, spectrum: Tensor) -> Picture:
        drawn = self.folder / DRAWN / f"{key}.png"
        drawn.parent.mkdir(parents=True, exist_ok=True)
        write_plain(drawn, spectrum)
        return Picture(drawn, Plot())


def key_of(path: Path) -> str:
    """Return a name for a file with this content, as far as its size and time tell."""
    found = path.stat()
    stamp = f"{found.st_size} {found.st_mtime_ns} ".encode() + bytes_of(path.absolute())
    return hashlib.sha256(stamp).hexdigest()[:16]


def length(info: audio.Info) -> float:
    """Return a file's length in seconds."""
    return info.num_samples / info.sample_rate


def find_picture(path: Path, drawn: Path, seconds: float) -> Picture | None:
    """Find the spectrogram of all of a clip: the PNG beside it, or what a page drew before."""
    if drawn.is_file():
        return Picture(drawn, read_plot(drawn) or Plot())  # a copy has axes
    beside = path.with_suffix(".png")
    plot = read_plot(beside) if beside.is_file() else None
    return Picture(beside, plot) if plot and plot.seconds > seconds - 0.1 else None


def survey(info: audio.Info, draw: bool) -> tuple[str, Tensor | None]:
    """Return a file's waveform and, if `draw`, its spectrum in dB [F, COLUMNS] at most."""
    width = max(1, -(-info.num_samples // COLUMNS))  # samples of a column
    peaks, spectra = [], []
    for piece in pieces(info, width):
        columns = -(-piece.shape[1] // width)
        whole = pad(piece, (0, columns * width - piece.shape[1])).abs()
        peaks.append(whole.amax(0).view(columns, width).amax(1))
        if draw:
            spectrum = octaves(decibels(piece), info.sample_rate)
            spectra.append(adaptive_max_pool1d(spectrum[None], columns)[0])
    heights = torch.cat(peaks) if peaks else torch.zeros(1)
    return waveform(heights), torch.cat(spectra, 1) if spectra else None


def pieces(info: audio.Info, width: int) -> Iterator[Tensor]:
    """Read a file piece by piece [C, T], each of whole columns but the last."""
    length = width * max(1, PIECE * info.sample_rate // width)
    read = partial(audio.read, info.path, too_loud="scale")
    for start in range(0, info.num_samples, length):
        yield read(start, min(length, info.num_samples - start))


def waveform(peaks: Tensor) -> str:
    """Draw absolute peaks [N] as at most BARS bars, full scale from edge to edge."""
    bars = adaptive_max_pool1d(peaks[None], min(BARS, len(peaks)))[0]
    heights = (bars.clamp(0, 1) * HALF).round().clamp(min=1).int().tolist()
    return "".join(f"M{i} {HALF - height}v{2 * height}" for i, height in enumerate(heights))
