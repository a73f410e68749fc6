"""Which decoder reads a file: libsndfile where its header can be believed, else FFmpeg."""

import os
from functools import lru_cache
from pathlib import Path

from audio import lengths
from audio.ffmpeg import FFmpeg, peak_of, speakers_of
from audio.libsndfile import SndFile
from audio.source import BLOCK, AudioError, Source
from audio.survey import Survey, survey_of
from foundation.errors import MissingFileError

SNDFILE = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc"),
    *(".au", ".snd", ".caf", ".w64", ".rf64", ".bwf"),
)
FFMPEG = (
    *(".m4a", ".m4b", ".aac", ".wma", ".mp2", ".mpa", ".ac3", ".eac3", ".dts", ".ape", ".wv"),
    *(".tta", ".mpc", ".dsf", ".amr", ".mka", ".weba", ".spx", ".ra", ".tak", ".shn"),
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".mpg", ".mpeg"),
    *(".ts", ".m2ts", ".mts", ".vob", ".3gp", ".ogv"),
)
RATES = range(1000, 1_000_001)  # Hz


def open_source(path: Path) -> Source:
    """Open an audio file; AudioError says why it can't be, MissingFileError that there is none."""
    if not path.is_file():
        kind = "it is a folder" if path.is_dir() else "there is none"
        kind = "it is a link to nothing" if path.is_symlink() and not path.exists() else kind
        raise MissingFileError(f"an audio file is needed at {path}: {kind}")
    if not path.stat().st_size:  # on which FFmpeg's binding prints a traceback
        raise AudioError(f"{path} can't be read: it is empty")
    if path.suffix.lower() in FFMPEG:
        source: Source = FFmpeg(path)
    else:
        source = open_known(path)
    if source.sample_rate not in RATES:
        raise AudioError(f"{path} can't be read: {source.sample_rate} Hz is no rate of sound")
    return source


def open_known(path: Path) -> Source:
    """Open a file of libsndfile's formats, in FFmpeg if its length or its channels need that."""
    if path.suffix.lower() == ".mp3" and not lengths.has_mp3_frames(path):
        return mislabelled(path)
    try:
        file = SndFile(path)
    except AudioError as error:
        try:
            return FFmpeg(path)
        except AudioError:
            raise error from None
    if (length := true_length(path, file)) is None:
        file.close()
        return measured(path, file)
    file.num_samples = length
    if file.channels > 2 and file.format == "OGG":  # libsndfile keeps Vorbis's own order
        file.close()
        return FFmpeg(path)
    if file.channels > 2:
        file.speakers = speakers_of(path)
    if file.is_float:
        file.peak = survey_of(path, measure_floats).peak
    return file


def mislabelled(path: Path) -> FFmpeg:
    """Open a file that is no MP3: libsndfile's decoder would print what it looks for in vain."""
    try:
        return FFmpeg(path)
    except AudioError as error:
        raise AudioError(
            f"{path} can't be read: its content is no audio of a known format"
        ) from error


def true_length(path: Path, file: SndFile) -> int | None:
    """Return the length if it needn't be measured; looked up once in a process."""
    stat = path.stat()
    place = os.path.realpath(path), stat.st_size, stat.st_mtime_ns
    return _true_length(*place, file.format, file.num_samples)


@lru_cache(maxsize=16384)
def _true_length(path: str, size: int, modified: int, format: str, num_samples: int) -> int | None:
    return lengths.true_length(Path(path), format, num_samples)


def measured(path: Path, file: SndFile) -> FFmpeg:
    """Open a file whose header isn't believed; AudioError for a FLAC that lacks its end."""
    source = FFmpeg(path)
    promised = file.num_samples
    if file.format == "FLAC" and source.num_samples < promised < 2**40:
        rate = source.sample_rate
        raise AudioError(
            f"{path} is cut off: its header promises {promised / rate:.2f} s, it holds "
            f"{source.num_samples / rate:.2f} s"
        )
    return source


def measure_floats(path: Path) -> Survey:
    """Read a file of floats to know its peak."""
    survey = Survey()
    with SndFile(path) as file:
        survey.sample_rate, survey.channels = file.sample_rate, file.channels
        for start in range(0, file.num_samples, BLOCK):
            block = file.frames(start, start + BLOCK)
            survey.num_samples += block.shape[1]
            survey.peak = max(survey.peak, peak_of(block))
    return survey
