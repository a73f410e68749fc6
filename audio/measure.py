"""What listening to the whole of a file shows: loudness, clipping, silence, and what it equals."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio.files import Reader, TooLoud, check
from audio.loudness import BLOCK, block_loudness, integrated

AT_ONCE = 25  # blocks that are read together: ten seconds
FULL_SCALE = 0.9999  # 16 bits end at 0.99997
CLIPPED = 3  # samples at full scale in a row, which no microphone delivers
QUIET = -60.0  # LUFS: a block below it is silence
POINTS = 64  # of the outline that tracks are compared by


@dataclass(frozen=True)
class Measured:
    """What a file holds.

    Attributes:
        path: the file
        seconds: how long it is
        sample_rate: in Hz
        channels: their number
        loudness: of the whole, in LUFS; -inf for silence, None where it wasn't measured
        clips: how often samples stand at full scale in a row
        silence: seconds below -60 LUFS
        content: a hash of the decoded samples
        outline: loudness [64] over time, without the track's level; empty for short tracks
    """

    path: Path
    seconds: float
    sample_rate: int
    channels: int
    loudness: float | None = None
    clips: int = 0
    silence: float = 0.0
    content: str = ""
    outline: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32), compare=False)


def look(path: Path, too_loud: TooLoud = "skip") -> Measured:
    """Read a file's header and end; UserError or OSError for one that can't be used."""
    info = check(path, too_loud)
    return Measured(path, info.num_samples / info.sample_rate, info.sample_rate, info.channels)


def measure(path: Path, too_loud: TooLoud = "skip") -> Measured:
    """Decode a file, ten seconds at a time; UserError or OSError for one that can't be used."""
    seen = look(path, too_loud)
    digest, clips, parts = hashlib.blake2b(digest_size=12), 0, []
    with Reader(path, channels=min(seen.channels, 2), too_loud=too_loud) as reader:
        size = round(BLOCK * reader.sample_rate)
        for start in range(0, reader.num_samples, AT_ONCE * size):
            samples = reader.read(start, start + AT_ONCE * size)
            digest.update(samples.contiguous().numpy().data)
            clips += count_clips(samples)
            parts.append(block_loudness(in_blocks(samples, size), reader.sample_rate))
    loudness = torch.cat(parts).numpy()
    silence = min(seen.seconds, BLOCK * int((loudness < QUIET).sum()))
    return Measured(
        path,
        seen.seconds,
        seen.sample_rate,
        seen.channels,
        integrated(loudness),
        clips,
        silence,
        digest.hexdigest(),
        outline(loudness, seen.seconds),
    )


def in_blocks(samples: Tensor, size: int) -> Tensor:
    """Cut samples [C, T] into blocks [C, N, size]; what is left at the end fills up by silence."""
    missing = -samples.shape[-1] % size
    return torch.nn.functional.pad(samples, (0, missing)).unflatten(-1, (-1, size))


def count_clips(samples: Tensor) -> int:
    """Count the runs of at least three samples at full scale in samples [C, T]."""
    full = (samples.abs() >= FULL_SCALE).float()
    if not full.any() or full.shape[-1] < CLIPPED:
        return 0
    runs = full.unfold(-1, CLIPPED, 1).amin(-1)  # [C, T - 2]: whether a run begins here or before
    return int(runs[:, :1].sum() + (runs.diff(dim=-1) > 0).sum())


def outline(loudness: np.ndarray, seconds: float) -> np.ndarray:
    """Return loudness over time at 64 points, in LU around the median; empty for short tracks."""
    if len(loudness) < POINTS:
        return np.zeros(0, np.float32)
    total = np.concatenate([[0.0], np.maximum(loudness, QUIET).cumsum()])  # up to each block
    edges = np.linspace(0, seconds / BLOCK, POINTS + 1)
    means = np.diff(np.interp(edges, np.arange(len(total)), total)) / edges[1]
    return (means - np.median(means)).astype(np.float32)
