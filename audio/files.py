"""Audio files: find, probe, read and write."""

import errno
import os
import shutil
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from audio.resample import ratio, sinc_resampler
from foundation.errors import MissingFileError, UserError
from foundation.files import bytes_of, replacing, user_path

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif")
MARGIN = 64  # input samples beyond the resampling filter's reach, itself 6 zero crossings
MP3_WARM_UP = 8 * 1152  # frames decoded and dropped: an mp3 frame depends on earlier ones
OGG_LAST_PAGE = 2**18  # frames; a seek into the last Vorbis page, at most this long, is not exact


class AudioError(UserError):
    """A file can't be read as audio; the message names it and the reason."""


@dataclass(frozen=True)
class Info:
    """The header of an audio file; `num_samples` is at its own `sample_rate`, in Hz."""

    path: Path
    sample_rate: int
    channels: int
    num_samples: int

    def num_samples_at(self, sample_rate: int) -> int:
        """Count the samples after resampling to another rate."""
        return ceil(self.num_samples * sample_rate / self.sample_rate)


def find(folder: str | Path) -> list[Path]:
    """List the audio files under a folder, sorted, without hidden ones; of a file, itself.

    UserError where there are none, MissingFileError where there is no such folder or file.
    """
    root = user_path(folder, "the folder of music")
    wanted = f"(looked for {' '.join(AUDIO_SUFFIXES)})"
    if root.is_file():
        if root.suffix.lower() not in AUDIO_SUFFIXES:
            raise UserError(f"{root} is not an audio file {wanted}")
        return [root]
    if not root.is_dir():
        raise MissingFileError(f"no such folder or audio file: {root}")
    found = (path for path in _walk(root) if path.suffix.lower() in AUDIO_SUFFIXES)
    files = sorted(path for path in found if path.is_file() or not path.exists())  # no pipes
    if not files:
        raise UserError(f"no audio files in {root} {wanted}")
    return files


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
    """Read a file's header; AudioError for a broken file, MissingFileError if there is none."""
    path = Path(path)
    with _open(path) as file:
        return Info(path, file.samplerate, file.channels, file.frames)


def check(path: str | Path) -> Info:
    """Probe a file and read its last tenth of a second, so that a cut-off file is found early."""
    info = probe(path)
    read(path, max(0, info.num_samples - info.sample_rate // 10))
    return info


def _open(path: Path) -> soundfile.SoundFile:
    if not path.is_file():
        kind = "it is a folder" if path.is_dir() else "there is none"
        kind = "it is a link to nothing" if path.is_symlink() and not path.exists() else kind
        raise MissingFileError(f"an audio file is needed at {path}: {kind}")
    try:
        file = soundfile.SoundFile(name_for_libsndfile(path))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(f"{path} can't be read: {_reason(error)}") from error
    if not 0 < file.frames < 2**40:  # libsndfile returns 2**63 - 1 for an unknown length
        file.close()
        raise AudioError(f"{path} can't be read: it holds no samples or no usable length")
    return file


def name_for_libsndfile(path: Path) -> Path | bytes:
    """Return a path as soundfile takes it: as text it refuses names that aren't UTF-8."""
    return path if os.name == "nt" else bytes_of(path)


def _reason(error: Exception) -> str:
    reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
    if reason.startswith("File does not exist"):  # also its message for a text file named .mp3
        return "its content is no audio of a known format"
    return reason


def read(
    path: str | Path,
    start: int = 0,
    length: int | None = None,
    sample_rate: int | None = None,
    channels: int | None = None,
) -> Tensor:
    """Read samples start to start + length, counted at `sample_rate`, to [C, T] float32.

    Seeks, so the cost is that of the segment; a resampled segment equals that part of the resampled
    file. Returns less than `length` at the file's end. To other `channels`, the file's channels are
    averaged and the average is repeated.

    Raises AudioError for a broken file, MissingFileError for none, UserError for a segment outside.
    """
    path = Path(path)
    if length is not None and length < 1:
        raise UserError(f"can't read {length} samples of {path}: the length must be at least 1")
    with _open(path) as file:
        target = sample_rate or file.samplerate
        total = ceil(file.frames * target / file.samplerate)
        if not 0 <= start < total:
            raise UserError(f"start {start} lies outside {path}, which has {total} samples")
        stop = total if length is None else min(start + length, total)
        if target == file.samplerate:
            samples = _mix(_frames(file, path, start, stop), channels)
        else:
            samples = _resampled(file, path, start, stop, target, channels)
    if not samples.shape[-1]:
        raise AudioError(f"{path} ends before sample {start}: it is cut off")
    if not samples.isfinite().all():
        raise AudioError(f"{path} can't be used: it holds samples that are not finite")
    return samples


def _frames(file: soundfile.SoundFile, path: Path, start: int, stop: int) -> Tensor:
    """Read frames start to stop, at the file's own rate, to [C, T]."""
    warm_up = 0
    if file.format == "MP3":
        warm_up = min(start, MP3_WARM_UP)
    elif file.format == "OGG":
        warm_up = max(0, start - max(0, file.frames - OGG_LAST_PAGE))
    try:
        if start > warm_up:
            file.seek(start - warm_up)
        data = file.read(stop - start + warm_up, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(f"{path} can't be read: {_reason(error)}") from error
    return torch.from_numpy(data[warm_up:].T.copy())


def _mix(samples: Tensor, channels: int | None) -> Tensor:
    if channels is None or channels == len(samples):
        return samples
    return samples.mean(dim=0, keepdim=True).repeat(channels, 1)


def _resampled(
    file: soundfile.SoundFile, path: Path, start: int, stop: int, rate: int, channels: int | None
) -> Tensor:
    """Resample samples start to stop with a margin, from where both rates share a sample."""
    try:
        old, new = ratio(file.samplerate, rate)
    except UserError as error:
        raise AudioError(f"{path}: {error}") from error
    margin = ceil(7 * max(1, old / new)) + MARGIN
    first = max(0, start // new - ceil(margin / old))  # in blocks of `old` in, `new` out
    last = min(file.frames, ceil(stop / new) * old + margin)
    samples = _mix(_frames(file, path, first * old, last), channels)
    if not samples.shape[-1]:
        return samples
    resampled = sinc_resampler(old, new, samples.device)(samples)
    return resampled[:, start - first * new : stop - first * new]


def write(path: str | Path, samples: Tensor, sample_rate: int, format: str = "PCM16") -> None:
    """Write samples [C, T] as .wav or .flac, complete or not at all.

    PCM16 clips to [-1, 1]; FLOAT (wav only) keeps every value. Raises UserError for another name or
    format and for samples that aren't finite, OSError where the file can't be written.
    """
    path = Path(path)
    container = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if container is None:
        raise UserError(f"can't write {path}: the name must end in .wav or .flac")
    if format not in ("PCM16", "FLOAT") or (format == "FLOAT" and container == "FLAC"):
        raise UserError(f"can't write {path} as {format}: PCM16, or FLOAT for .wav")
    if samples.dim() != 2 or not samples.isfinite().all():
        raise UserError(f"audio must be finite [channels, samples], got {list(samples.shape)}")
    samples = samples.detach().float().cpu()
    if format == "PCM16":
        samples = (samples.clamp(-1, 1) * 2**15).round().clamp(max=2**15 - 1).to(torch.int16)
    subtype = "PCM_16" if format == "PCM16" else "FLOAT"
    try:
        with replacing(path) as temporary:
            name = name_for_libsndfile(temporary)
            soundfile.write(name, samples.T.numpy(), sample_rate, subtype, format=container)
    except soundfile.LibsndfileError as error:  # its message is always "System error"
        full = shutil.disk_usage(path.parent).free < samples.nbytes
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error
