"""The tempo of music: how fast its attacks repeat.

The tempo of a clip is where the autocorrelation of its attacks is greatest, summed over four beats
and weighed by how usual a tempo is (after Ellis 2007, "Beat tracking by dynamic programming").
Listeners differ by factors of two, so do estimates; `octaves_apart` leaves them out.
"""

import math

import torch
from torch import Tensor

from metrics.musicality import ATTACK_HOP, RATE, attacks, autocorrelation, mono_at_rate

SLOWEST, FASTEST = 40.0, 220.0  # beats a minute
USUAL, SPREAD = 110.0, 0.8  # beats a minute, and octaves of the bell around it
STEP = 0.005  # of a tempo, from one that is tried to the next
BEATS = 4  # that a tempo must hold for
SILENT = 1e-6  # power below which nothing is heard, of full scale


def tempi() -> Tensor:
    """List the tempi that are tried [N], in beats a minute."""
    count = int(math.log(FASTEST / SLOWEST) / math.log1p(STEP))
    return SLOWEST * (1 + STEP) ** torch.arange(count + 1)


def tempo(audio: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Estimate the tempo [B] in beats a minute of audio [B, C, T], and how clear it is [B].

    Clarity runs from 0 to 1, about 0.1 for noise; music without a beat has none. For clips of 6 s
    and more; NaN where nothing is heard.
    """
    mono = mono_at_rate(audio, sample_rate)
    correlation = autocorrelation(attacks(mono))
    tried = tempi().to(correlation)
    lags = 60 / tried * RATE / ATTACK_HOP  # frames of a beat
    sums = torch.stack([at(correlation, beat * lags) for beat in range(1, BEATS + 1)]).mean(0)
    bell = torch.exp(-0.5 * (torch.log2(tried / USUAL) / SPREAD).square())
    best = (sums.clamp(min=0) * bell).argmax(1)
    silent = mono.square().mean(1) < SILENT
    found = tried[best].masked_fill(silent, math.nan)
    clarity = sums.gather(1, best[:, None])[:, 0].clamp(0, 1)
    return found, clarity.masked_fill(silent, math.nan)


def at(values: Tensor, places: Tensor) -> Tensor:
    """Read values [B, L] at fractional places [N], 0 past the end: [B, N]."""
    low = places.long()
    padded = torch.cat([values, values.new_zeros(len(values), 2)], 1)
    first, second = (padded[:, (low + i).clamp(max=values.shape[1])] for i in (0, 1))
    return torch.lerp(first, second, (places - low).expand_as(first))


def octaves_apart(tempo: Tensor, other: Tensor) -> Tensor:
    """Measure how far tempi are from each other in octaves, halves and doubles counting as one."""
    apart = torch.log2(tempo / other)
    return (apart - apart.round()).abs()
