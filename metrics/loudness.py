"""Loudness as listeners hear it (ITU-R BS.1770-4), of mono clips."""

import math

import torch
from torch import Tensor

FRAME, OVERLAP = 0.4, 4  # seconds of a block, and blocks that hold a moment
QUIETEST = -70.0  # LUFS; blocks below it count as silent
GATE = 10.0  # dB below the mean of the others, where a block doesn't count either
OFFSET = -0.691  # so that a full-scale sine of 997 Hz has -3.01 LUFS
# The two filters of BS.1770 at 48 kHz, the ear's shelf and high-pass: numerators, denominators.
SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))


def loudness(mono: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Measure clips [B, T]: integrated loudness in LUFS [B], and its range in dB [B].

    The range is between the 10th and the 95th percentile of blocks of 0.4 s that count: shorter
    than those of EBU R 128, which clips of seconds don't hold. NaN for silence.
    """
    blocks = block_loudness(mono, sample_rate)  # [B, N]
    mean = mean_loudness(blocks, blocks > QUIETEST)
    counts = (blocks > QUIETEST) & (blocks > mean[:, None] - GATE)
    kept = blocks.where(counts, math.nan)
    high, low = (torch.nanquantile(kept, share, dim=1) for share in (0.95, 0.1))
    return mean_loudness(blocks, counts), high - low


def block_loudness(mono: Tensor, sample_rate: int) -> Tensor:
    """Return the loudness of overlapping blocks of clips [B, T]: [B, N] in LUFS."""
    size = round(FRAME * sample_rate)
    window = torch.hann_window(size)
    padded = torch.nn.functional.pad(mono, (0, max(0, size - mono.shape[-1])))
    blocks = padded.unfold(-1, size, size // OVERLAP) * window
    spectrum = 2 * torch.fft.rfft(blocks, dim=-1).abs().square()  # both halves; none passes at 0 Hz
    gains = k_weighting(torch.fft.rfftfreq(size, 1 / sample_rate))
    power = spectrum @ gains / (size * window.square().sum())
    return OFFSET + 10 * power.clamp(min=1e-12).log10()


def k_weighting(frequencies: Tensor) -> Tensor:
    """Return by how much the ear's filters change power at frequencies [F] in Hz: [F]."""
    z = torch.exp(-2j * math.pi * frequencies.double() / 48000)
    gain = torch.ones_like(frequencies, dtype=torch.float64)
    for sides in (SHELF, HIGH_PASS):
        top, bottom = (a + b * z + c * z**2 for a, b, c in sides)
        gain = gain * (top / bottom).abs().square()
    return gain.float()


def mean_loudness(blocks: Tensor, counts: Tensor) -> Tensor:
    """Average the power of the blocks [B, N] that count: [B] in LUFS, NaN where none does."""
    power = (10 ** (blocks / 10) * counts).sum(1) / counts.sum(1)
    return 10 * power.log10()
