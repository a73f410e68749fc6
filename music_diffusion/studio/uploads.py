"""Music files that a browser sends: bounded, read by our own reader alone, and kept as WAV."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from audio.files import AUDIO_SUFFIXES, AudioError, Reader, write_pieces
from foundation.checks import check_positive
from foundation.errors import UserError
from music_diffusion.studio.library import UPLOADS, Library

PIECE = 2**20  # samples read at once
MEGABYTE = 2**20


@dataclass(frozen=True)
class Uploads:
    """Takes files in.

    Args:
        library: whose own folder keeps them
        megabytes: that a file may have
        seconds: that its sound may last
    """

    library: Library
    megabytes: float = 100.0
    seconds: float = 600.0

    def __post_init__(self) -> None:
        check_positive(max_upload=self.megabytes, max_seconds=self.seconds)

    @contextmanager
    def receiving(self, name: str) -> Iterator[Path]:
        """Yield where a file of this name may be written until it is taken; then it is deleted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".{secrets.token_hex(8)}{suffix_of(name)}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def take(self, path: Path, name: str) -> str:
        """Read a file, keep it as WAV, and return its reference.

        Args:
            path: where the server has put it; it stays there
            name: as the browser says it, of which letters alone are kept

        Raises:
            UserError: for a file that is too large, too long or no music; it shows no path
        """
        if path.stat().st_size > self.megabytes * MEGABYTE:
            raise UserError(f"{plain(name)} is larger than {self.megabytes:g} MB")
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            raise UserError(f"{plain(name)} is no music file: WAV, FLAC, MP3, M4A, OGG …")
        try:
            return self._keep(path, name)
        except AudioError as error:
            raise UserError(str(error).replace(str(path), plain(name))) from error

    def _keep(self, path: Path, name: str) -> str:
        with Reader(path) as reader:
            if reader.source.channels > 2:
                reader.channels = 2
            length = reader.num_samples / reader.sample_rate
            if length > self.seconds:
                raise UserError(
                    f"{plain(name)} lasts {length:.0f} s, the studio takes {self.seconds:.0f} s: "
                    "cut out the part that it is about"
                )
            if not reader.num_samples:
                raise UserError(f"{plain(name)} holds no sound")
            out = self.folder / f"{secrets.token_hex(4)}_{plain(Path(name).stem)}.wav"
            channels = reader.channels or reader.source.channels
            write_pieces(out, pieces(reader), channels, reader.sample_rate)
        return self.library.reference(out)

    @property
    def folder(self) -> Path:
        return next(iter(self.library.roots.values())) / UPLOADS


def pieces(reader: Reader) -> Iterator[Tensor]:
    """Read a whole file piece by piece [C, T]."""
    for start in range(0, reader.num_samples, PIECE):
        yield reader.read_all(start, min(start + PIECE, reader.num_samples))


def suffix_of(name: str) -> str:
    """Return the kind of a music file by its name, or "" for another kind of file."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in AUDIO_SUFFIXES else ""


def plain(name: str) -> str:
    """Return a name that is one on any machine and in any message."""
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return kept.strip("._")[-60:] or "upload"
