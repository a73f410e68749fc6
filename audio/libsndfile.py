"""Files that libsndfile decodes: WAV, FLAC, Ogg, MP3, AIFF and relatives, seeking to the sample."""

import os
from pathlib import Path
from typing import cast

import soundfile
import torch
from torch import Tensor

from audio.source import BLOCK, AudioError, Source
from foundation.files import bytes_of

MP3_WARM_UP = 8 * 1152  # frames decoded and dropped: an mp3 frame depends on earlier ones
OGG_LAST_PAGE = 2**18  # frames; a seek into the last Vorbis page, at most this long, is not exact
FLOATS = ("FLOAT", "DOUBLE")  # subtypes whose values have no bound


class SndFile(Source):
    """A file open in libsndfile; `num_samples` is what its header says, or None without one."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.file = soundfile.SoundFile(name_for_libsndfile(path))
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"{path} can't be read: {reason(error)}") from error
        self.sample_rate, self.channels = self.file.samplerate, self.file.channels
        self.num_samples = self.file.frames
        self.format, self.is_float = self.file.format, self.file.subtype in FLOATS

    def frames(self, start: int, stop: int) -> Tensor:
        warm_up = 0
        if self.format == "MP3":
            warm_up = min(start, MP3_WARM_UP)
        elif self.format == "OGG":
            warm_up = max(0, start - max(0, self.num_samples - OGG_LAST_PAGE))
        try:
            if start > warm_up or self.file.tell():
                self.file.seek(start - warm_up)
            parts = self._blocks(stop - start + warm_up)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"{self.path} can't be read: {reason(error)}") from error
        return torch.cat(parts, dim=1)[:, warm_up:]

    def _blocks(self, length: int) -> list[Tensor]:
        """Read `length` frames in blocks [C, T], fewer at the end of the file."""
        parts = [torch.empty(self.channels, 0)]
        while length > 0:
            data = self.file.read(min(length, BLOCK), dtype="float32", always_2d=True)
            parts.append(torch.from_numpy(data.T.copy()))
            length -= len(data)
            if len(data) < BLOCK:
                break
        return parts

    def close(self) -> None:
        self.file.close()


def name_for_libsndfile(path: Path) -> Path:
    """Return a path as soundfile takes it: as text it refuses names that aren't UTF-8."""
    if os.name == "nt":
        return path
    return cast(Path, bytes_of(path))  # which soundfile takes, though its annotations don't say so


def reason(error: Exception) -> str:
    """Return why libsndfile failed, in words for a user."""
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    if text.startswith("File does not exist"):  # also its message for a text file named .mp3
        return "its content is no audio of a known format"
    if text == "Format not recognised":
        return "it is no audio of a known format, such as WAV, FLAC, MP3, M4A and OGG"
    return text or "it is damaged"
