"""Resampling with two filters: torchaudio's for music, resampy's for the inputs of embeddings.

The embeddings' authors used resampy's `kaiser_best`: a windowed sinc of 50 zero crossings,
tabulated 8192 times a crossing and read with linear interpolation; the constants are those
published with resampy 0.4. To a lower rate, resampy steps through the table by a whole number of
entries, slightly less than the exact step; this is reproduced, for the same numbers.
"""

from functools import lru_cache
from math import gcd

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad
from torchaudio.transforms import Resample

from foundation.errors import UserError

KAISER_BEST = "kaiser_best (resampy 0.4)"
ZEROS, TABLE = 50, 8192
ROLLOFF, BETA = 0.9173473712608761, 12.984585247040012
LARGEST = 10_000_000  # numbers in a filter bank


def ratio(old: int, new: int) -> tuple[int, int]:
    """Reduce two rates in Hz to lowest terms; UserError where their filters would be too big."""
    divisor = gcd(old, new)
    step, phases = old // divisor, new // divisor
    if step * phases > LARGEST:
        raise UserError(f"can't resample from {old} to {new} Hz: the filters would need gigabytes")
    return step, phases


@lru_cache(maxsize=16)
def sinc_resampler(step: int, phases: int, device: torch.device) -> Resample:
    """Build torchaudio's windowed sinc of 6 zero crossings for rates in lowest terms."""
    return Resample(step, phases).to(device)


def resample_sinc(audio: Tensor, old: int, new: int) -> Tensor:
    """Resample audio [..., T] from `old` to `new` Hz to [..., ceil(T new / old)], on its device."""
    if old == new:
        return audio
    return sinc_resampler(*ratio(old, new), audio.device)(audio)


def resample_kaiser_best(audio: Tensor, old: int, new: int) -> Tensor:
    """Resample audio [..., T] from `old` to `new` Hz, to [..., floor(T new / old)], on its device.

    UserError for audio too short to give a sample.
    """
    if old == new:
        return audio
    step, phases = ratio(old, new)
    bank, left = filter_bank(step, phases)
    bank = bank.to(audio.device)
    length = int(audio.shape[-1] * float(new) / float(old))
    if not length:
        raise UserError(f"{audio.shape[-1]} samples are too few to resample from {old} to {new} Hz")
    blocks = -(-length // phases)
    missing = (blocks - 1) * step + bank.shape[-1] - left - audio.shape[-1]
    flat = pad(audio.reshape(-1, 1, audio.shape[-1]), (left, max(0, missing)))
    out = conv1d(flat, bank, stride=step)[..., :blocks]  # [B, phases, blocks]
    return out.transpose(1, 2).reshape(len(flat), -1)[:, :length].reshape(*audio.shape[:-1], length)


@lru_cache(maxsize=16)
def filter_bank(step: int, phases: int) -> tuple[Tensor, int]:
    """Return filters [phases, 1, K] for the outputs of a block, and the taps before its start.

    A block has `step` input samples and `phases` output samples.
    """
    scale = min(1.0, phases / step)
    table = right_half() * scale
    slope = np.diff(table, append=table[-1])
    stride = int(scale * TABLE)
    reach = len(table) // stride + 1
    bank = np.zeros((phases, step + 2 * reach + 1))
    for phase in range(phases):
        whole, rest = divmod(phase * step, phases)
        fraction = scale * rest / phases
        for start, first, direction in ((fraction, 0, -1), (scale - fraction, 1, 1)):
            position = start * TABLE
            offset = int(position)
            taps = np.arange((len(table) - offset) // stride)
            places = offset + taps * stride
            weights = table[places] + (position - offset) * slope[places]
            bank[phase, reach + whole + first + direction * taps] += weights
    return torch.from_numpy(bank.astype(np.float32))[:, None], reach


@lru_cache(maxsize=1)
def right_half() -> np.ndarray:
    """Return the filter from its centre to its end."""
    count = ZEROS * TABLE
    sinc = ROLLOFF * np.sinc(ROLLOFF * np.linspace(0, ZEROS, count + 1))
    return sinc * np.kaiser(2 * count + 1, BETA)[count:]
