"""Loudness of audio as ITU-R BS.1770-4 measures it, in LUFS."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

BLOCK = 0.4  # seconds
OFFSET = -0.691  # dB, so that a sine of 997 Hz at full scale in one channel is at -3.01 LUFS
SILENT = -70.0  # LUFS: quieter blocks don't count
GATE = 10.0  # LU below the mean, from where blocks don't count
# the two biquads at 48 kHz, numerators and denominators: a shelf for the head, a high pass
SHELF = (
    (1.53512485958697, -2.69169619938640, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
HIGH_PASS = (1.0, -2.0, 1.0), (1, -1.99004745483398, 0.99007225036621)


@lru_cache(maxsize=32)
def k_weights(num_samples: int, sample_rate: int) -> Tensor:
    """Return the power response [F] of K-weighting at the frequencies of an rfft.

    It is that of the filters at 48 kHz, whose own upper end holds for what lies above.
    """
    frequencies = torch.fft.rfftfreq(num_samples, 1 / sample_rate, dtype=torch.float64)
    delay = torch.exp(-2j * math.pi * frequencies.clamp(max=24000) / 48000)
    response = torch.ones_like(delay)
    for above, below in (SHELF, HIGH_PASS):
        response = response * polynomial(above, delay) / polynomial(below, delay)
    return response.abs().square().float()


def polynomial(factors: tuple[float, ...], z: Tensor) -> Tensor:
    return factors[0] + factors[1] * z + factors[2] * z**2


def block_loudness(blocks: Tensor, sample_rate: int) -> Tensor:
    """Return the loudness [N] of blocks [C, N, T], in LUFS; -inf for digital silence.

    Each block is filtered as if it went round in a circle, which for 0.4 s of music changes little.
    """
    length = blocks.shape[-1]
    power = torch.fft.rfft(blocks).abs().square() * k_weights(length, sample_rate)
    power[..., 1 : (length + 1) // 2] *= 2  # the negative frequencies
    mean_squares = power.sum(-1) / length**2
    return OFFSET + 10 * mean_squares.sum(0).log10()


def integrated(loudness: np.ndarray) -> float:
    """Return the loudness of a track from that of its blocks [N], which here don't overlap.

    Blocks below -70 LUFS, and those 10 LU below the mean of the others, don't count; -inf if all
    are silent.
    """
    heard = loudness[loudness > SILENT]
    if not len(heard):
        return -math.inf
    return _mean(heard[heard > _mean(heard) - GATE])


def _mean(loudness: np.ndarray) -> float:
    """Average as power."""
    return float(10 * np.log10(np.mean(10 ** (loudness / 10))))
