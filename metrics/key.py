"""The key of music: which of 24 the sounding pitch classes fit best.

The mean of the pitch classes is compared with a profile of each key (Krumhansl and Kessler 1982,
"Tracing the dynamic changes in perceived tonal organization"), as Krumhansl 1990 does.
"""

import math

import torch
from torch import Tensor

from foundation.musical_key import KEYS
from metrics.musicality import chroma_power, mono_at_rate

MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
CONTRAST = 0.2  # of pitch classes to their mean; with less they say little of a key
SHARPNESS = 12.0  # of the softmax that makes strengths of correlations


def profiles() -> Tensor:
    """Return the keys' profiles [24, 12], each of mean 0 and length 1."""
    both = torch.tensor((MAJOR, MINOR))
    turned = torch.stack([both.roll(shift, 1) for shift in range(12)], 1).flatten(0, 1)
    centred = turned - turned.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True)


def key_strengths(audio: Tensor, sample_rate: int) -> Tensor:
    """Say how well each of KEYS fits audio [B, C, T]: shares [B, 24] that add to 1.

    NaN where nothing is heard; even where no pitch stands out.
    """
    power = chroma_power(mono_at_rate(audio, sample_rate))
    loud = power.sum(1, keepdim=True)
    each = power.sqrt() / loud.sqrt().clamp(min=1e-10)  # a loud chord is no more than a chord
    heard = (each * (loud > 1e-3 * loud.amax(-1, keepdim=True))).sum(-1)
    centred = heard - heard.mean(1, keepdim=True)
    least = CONTRAST * heard.norm(dim=1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True).maximum(least).clamp(min=1e-10)
    fit = centred @ profiles().to(centred).T / length
    silent = loud.amax((1, 2)) == 0
    return (SHARPNESS * fit).softmax(1).masked_fill(silent[:, None], math.nan)


def key(audio: Tensor, sample_rate: int) -> list[str]:
    """Name the key of each clip of audio [B, C, T]; "" where nothing is heard."""
    strengths = key_strengths(audio, sample_rate)
    return ["" if row.isnan().any() else KEYS[int(row.argmax())] for row in strengths]
