"""How clips that a model made sound beside real music, in one row of a table."""

from pathlib import Path

import torch
from torch import Tensor

from audio import files as audio_files
from audio.resample import resample_kaiser_best
from metrics.frechet import Gaussian, frechet
from metrics.musicality import RATE, beat_clarity, tonal_peak
from metrics.musicnn import Musicnn
from music_diffusion.report.clips import cut

COLUMNS = "peak | beat | FAD | dB"


class ClipJudge:
    """Judges clips by tonal peak, beat, Frechet distance of musicnn's vectors, and level."""

    def __init__(self, reference: str | Path, seconds: float = 8.0, count: int = 32):
        real = cut(audio_files.find(reference), seconds, count).audio[:, None]
        self.embedding = Musicnn()
        self.reference = Gaussian.of(self.embedding(real, RATE, batch_size=8))

    @torch.no_grad()
    def row(self, audio: Tensor, rate: int) -> str:
        """Return the cells of COLUMNS for clips [B, C, T] at a rate in Hz."""
        clips = resample_kaiser_best(audio.mean(1), rate, RATE)
        vectors = Gaussian.of(self.embedding(clips[:, None], RATE, batch_size=8))
        peak, beat = (f(clips[:, None], RATE).nanmean() for f in (tonal_peak, beat_clarity))
        level, distance = clips.square().mean().sqrt().log10(), frechet(vectors, self.reference)
        return f"{peak:.3f} | {beat:.3f} | {distance:.1f} | {20 * level:.1f}"
