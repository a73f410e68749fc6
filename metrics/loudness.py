"""Loudness as listeners hear it (ITU-R BS.1770-4), of mono clips."""

import math

import torch
from torch import Tensor

from audio.loudness import BLOCK, GATE, OFFSET, SILENT, k_weights

OVERLAP = 4  # blocks that hold a moment


def loudness(mono: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Measure clips [B, T]: integrated loudness in LUFS [B], and its range in dB [B].

    The range is between the 10th and the 95th percentile of blocks of 0.4 s that count: shorter
    than those of EBU R 128, which clips of seconds don't hold. NaN for silence.
    """
    blocks = block_loudness(mono, sample_rate)  # [B, N]
    mean = mean_loudness(blocks, blocks > SILENT)
    counts = (blocks > SILENT) & (blocks > mean[:, None] - GATE)
    kept = blocks.where(counts, math.nan)
    high, low = (torch.nanquantile(kept, share, dim=1) for share in (0.95, 0.1))
    return mean_loudness(blocks, counts), high - low


def block_loudness(mono: Tensor, sample_rate: int) -> Tensor:
    """Return the loudness of overlapping blocks of clips [B, T]: [B, N] in LUFS."""
    size = round(BLOCK * sample_rate)
    window = torch.hann_window(size)
    padded = torch.nn.functional.pad(mono, (0, max(0, size - mono.shape[-1])))
    blocks = padded.unfold(-1, size, size // OVERLAP) * window
    spectrum = 2 * torch.fft.rfft(blocks, dim=-1).abs().square()  # both halves; none passes at 0 Hz
    power = spectrum @ k_weights(size, sample_rate) / (size * window.square().sum())
    return OFFSET + 10 * power.clamp(min=1e-12).log10()


def mean_loudness(blocks: Tensor, counts: Tensor) -> Tensor:
    """Average the power of the blocks [B, N] that count: [B] in LUFS, NaN where none does."""
    power = (10 ** (blocks / 10) * counts).sum(1) / counts.sum(1)
    return 10 * power.log10()
