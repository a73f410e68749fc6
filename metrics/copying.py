"""Is a generated clip a copy? How well the nearest passage of the training music fits its notes.

A score near 1 alone proves nothing, since music resembles music: what counts is whether generated
clips lie nearer to the training music than other real music does.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from metrics.musicality import HOP, RATE, chroma_power


@dataclass(frozen=True)
class Passage:
    """Where a clip fits best: the track, seconds into it, semitones higher, and how well."""

    track: str
    seconds: float
    semitones: int
    score: float


def notes_of(mono: Tensor) -> Tensor:
    """Reduce audio [T] at RATE to its notes: root power of pitch classes, mean removed, [12, N].

    A note is a copy's whatever its instrument and level, so that frames are scaled to one length;
    those that are nearly silent stay small.
    """
    chroma = chroma_power(mono[None])[0].sqrt()
    chroma = chroma - chroma.mean(0)
    length = chroma.norm(dim=0)
    return chroma / (length + 0.05 * length.max() + 1e-12)


def nearest_passage(
    clip: Tensor, tracks: Iterable[tuple[str, Tensor]], transposed: bool = True
) -> Passage:
    """Find where the notes [12, N] of a clip fit best into those of tracks, at least half of them.

    The score is the cosine of their notes, over all shifts and, if asked, all twelve
    transpositions: 1 for the clip itself, about 0.3 to 0.7 for other music. `notes_of` gives notes.
    """
    turns = range(12) if transposed else range(1)
    turned = torch.stack([clip.roll(turn, 0) for turn in turns])  # [turns, 12, N]
    best = Passage("", 0.0, 0, -1.0)
    for name, track in tracks:
        scores = _scores(turned, track)
        place = int(scores.argmax())
        turn, shift = divmod(place, scores.shape[1])
        score = float(scores.flatten()[place])
        if score > best.score:
            start = (shift - clip.shape[1] + 1) * HOP / RATE
            best = Passage(name, start, (turn + 6) % 12 - 6, score)
    return best


def _scores(clips: Tensor, track: Tensor) -> Tensor:
    """Correlate notes [A, 12, N] with one [12, M] at all shifts: cosines [A, N + M - 1]."""
    count, size = clips.shape[-1], clips.shape[-1] + track.shape[-1] - 1
    theirs = torch.fft.rfft(track, size)
    products = torch.fft.irfft(
        (torch.fft.rfft(clips.flip(-1), size) * theirs).sum(1), size
    )  # at shift s the clip's end lies on frame s of the track
    overlap = _window_sums(track.square().sum(0), count, size)
    own = _window_sums(clips[0].square().sum(0).flip(-1), track.shape[-1], size)
    scores = products / (overlap * own).clamp(min=1e-12).sqrt()
    shared = _window_sums(torch.ones(track.shape[-1]), count, size)
    return scores.masked_fill(shared < count / 2, -1.0)


def _window_sums(values: Tensor, width: int, size: int) -> Tensor:
    """Sum the last `width` of values [M] before each of `size` places, of which M are values."""
    sums = torch.nn.functional.pad(values.double().cumsum(0), (1, 0))
    ends = torch.arange(1, size + 1)
    first, last = (ends - width).clamp(0, len(values)), ends.clamp(max=len(values))
    return (sums[last] - sums[first]).float()
