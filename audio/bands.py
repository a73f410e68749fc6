"""Bands of a magnitude spectrum: even in frequency where bins are wide, even in pitch above."""

import torch
from torch import Tensor


def mixed_centres(
    bins: int, sample_rate: int, per_octave: int = 36, lowest: float = 27.5
) -> Tensor:
    """List band edges and centres in Hz [M + 2], float64, from `lowest` to half the sample rate.

    They are a bin apart while a step of pitch is narrower than that, then 1 / per_octave of an
    octave apart. Band i reaches from item i to item i + 2 around item i + 1.
    """
    step, ratio = sample_rate / 2 / (bins - 1), 2 ** (1 / per_octave)
    centres = [lowest]
    while centres[-1] < sample_rate / 2:
        centres.append(max(centres[-1] + step, centres[-1] * ratio))
    return torch.tensor(centres, dtype=torch.float64)


def mel_centres(count: int, lowest: float = 20.0, highest: float = 20000.0) -> Tensor:
    """List band edges and centres in Hz [count + 2], even on the HTK mel scale, float64."""
    ends = 2595 * torch.log10(1 + torch.tensor([lowest, highest], dtype=torch.float64) / 700)
    mel = torch.linspace(float(ends[0]), float(ends[1]), count + 2, dtype=torch.float64)
    return 700 * (10 ** (mel / 2595) - 1)


def triangles(centres: Tensor, bins: int, sample_rate: int) -> Tensor:
    """Make filters [M, bins], each a triangle that sums to 1; a band without a bin takes one."""
    frequencies = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)
    low, middle, high = centres[:-2, None], centres[1:-1, None], centres[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    filters = torch.minimum(rising, falling).clamp(min=0)
    empty = filters.sum(1) < 1e-6
    nearest = (frequencies - middle).abs().argmin(1)
    filters[empty, nearest[empty]] = 1
    return (filters / filters.sum(1, keepdim=True)).float()


def interpolation(centres: Tensor, bins: int, sample_rate: int) -> Tensor:
    """Make weights [bins, M] that draw straight lines between the bands' values at their centres.

    Below the lowest centre and above the highest the end's value holds.
    """
    frequencies = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)
    middles = centres[1:-1]
    upper = torch.searchsorted(middles, frequencies).clamp(1, len(middles) - 1)
    gap = middles[upper] - middles[upper - 1]
    share = ((frequencies - middles[upper - 1]) / gap).clamp(0, 1)
    weights = torch.zeros(bins, len(middles), dtype=torch.float64)
    rows = torch.arange(bins)
    weights[rows, upper - 1] = 1 - share
    weights[rows, upper] = share
    return weights.float()
