"""Audio files written, at once or piece by piece, complete or not at all."""

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from audio.libsndfile import name_for_libsndfile
from foundation.errors import UserError
from foundation.files import replacing


def write(path: str | Path, samples: Tensor, sample_rate: int, format: str = "PCM16") -> None:
    """Write samples [C, T] as .wav or .flac, complete or not at all.

    PCM16 clips to [-1, 1]; FLOAT (wav only) keeps every value. Raises UserError for another name or
    format and for samples that aren't finite, OSError where the file can't be written.
    """
    check_finite(samples)
    write_pieces(path, [samples], len(samples), sample_rate, format)


def write_pieces(
    path: str | Path,
    pieces: Iterable[Tensor],
    channels: int,
    sample_rate: int,
    format: str = "PCM16",
) -> None:
    """Write pieces [C, T], one after the other, as `write` does."""
    path = Path(path)
    container = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if container is None:
        raise UserError(f"can't write {path}: the name must end in .wav or .flac")
    if format not in ("PCM16", "FLOAT") or (format == "FLOAT" and container == "FLAC"):
        raise UserError(f"can't write {path} as {format}: PCM16, or FLOAT for .wav")
    kind = sample_rate, channels, "PCM_16" if format == "PCM16" else "FLOAT", None, container
    try:
        with replacing(path) as temporary:
            with soundfile.SoundFile(name_for_libsndfile(temporary), "w", *kind) as file:
                for samples in pieces:
                    file.write(as_written(samples, format))
    except soundfile.LibsndfileError as error:  # its message is always "System error"
        full = shutil.disk_usage(path.parent).free < 2**24
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


def check_finite(samples: Tensor) -> None:
    """Raise UserError unless samples are finite [C, T]."""
    if samples.dim() != 2 or not samples.isfinite().all():
        raise UserError(f"audio must be finite [channels, samples], got {list(samples.shape)}")


def as_written(samples: Tensor, format: str) -> np.ndarray:
    """Return samples [C, T] as a file's frames [T, C]: floats, or rounded to 16 bits."""
    check_finite(samples)
    samples = samples.detach().float().cpu()
    if format == "PCM16":
        samples = (samples.clamp(-1, 1) * 2**15).round().clamp(max=2**15 - 1).to(torch.int16)
    return samples.T.numpy()
