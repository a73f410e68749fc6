"""Mel filters, as VGGish, PANN and musicnn each define them."""

import numpy as np
import torch
from torch import Tensor


def htk(frequency: float | np.ndarray) -> np.ndarray:
    """Convert Hz to mel as HTK does."""
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)


def slaney(frequency: float | np.ndarray) -> np.ndarray:
    """Convert Hz to mel as Slaney's Auditory Toolbox does: linear to 1 kHz, logarithmic above."""
    frequency = np.asarray(frequency, dtype=np.float64)
    above = 15.0 + 27.0 * np.log(np.maximum(frequency, 1.0) / 1000.0) / np.log(6.4)
    return np.where(frequency < 1000.0, frequency * 3.0 / 200.0, above)


def slaney_inverse(mel: np.ndarray) -> np.ndarray:
    above = 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0)
    return np.where(mel < 15.0, mel * 200.0 / 3.0, above)


def triangles(places: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Make triangles [F, M] over places [F], each from a corner [M + 2] to the second after it."""
    gaps = np.diff(corners)
    rising = (places[:, None] - corners[:-2]) / gaps[:-1]
    falling = (corners[2:] - places[:, None]) / gaps[1:]
    return np.maximum(0.0, np.minimum(rising, falling))


def slaney_filters(sample_rate: int, n_fft: int, bands: int, low: float, high: float) -> Tensor:
    """Make triangles [n_fft / 2 + 1, bands] in Hz, corners evenly spaced in mel, of area 1."""
    corners = slaney_inverse(np.linspace(slaney(low), slaney(high), bands + 2))
    frequencies = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    filters = triangles(frequencies, corners) * 2.0 / (corners[2:] - corners[:-2])
    return torch.from_numpy(filters.astype(np.float32))


def htk_filters(sample_rate: int, n_fft: int, bands: int, low: float, high: float) -> Tensor:
    """Make triangles [n_fft / 2 + 1, bands] in mel, of height 1, without the zero frequency."""
    corners = np.linspace(htk(low), htk(high), bands + 2)
    filters = triangles(htk(np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)), corners)
    filters[0] = 0.0
    return torch.from_numpy(filters.astype(np.float32))
