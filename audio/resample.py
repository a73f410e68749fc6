"""Resampling with two filters: torchaudio's for music, resampy's for the inputs of embeddings.

The embeddings' authors used resampy's `kaiser_best`: a windowed sinc of 50 zero crossings,
tabulated 8192 times a crossing and read with linear interpolation; the constants are those
published with resampy 0.4. To a lower rate, resampy steps through the table by a whole number of
entries, slightly less than the exact step; this is reproduced, for the same numbers.
"""

from collections.abc import Callable
from functools import lru_cache
from math import ceil, gcd

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
CHUNK = 4096  # outputs computed at once by filters of their own


def ratio(old: int, new: int) -> tuple[int, int]:
    """Reduce two rates in Hz to lowest terms: a block of input samples, and of output samples."""
    divisor = gcd(old, new)
    return old // divisor, new // divisor


@lru_cache(maxsize=16)
def sinc_resampler(step: int, phases: int, device: torch.device) -> Resample:
    """Build torchaudio's windowed sinc of 6 zero crossings for rates in lowest terms."""
    return Resample(step, phases).to(device)


def resample_sinc(audio: Tensor, old: int, new: int) -> Tensor:
    """Resample audio [..., T] from `old` to `new` Hz to [..., ceil(T new / old)], on its device.

    Where the filters of a block would need gigabytes, each sample has the same filter's part alone.
    """
    if old == new:
        return audio
    step, phases = ratio(old, new)
    if step * phases <= LARGEST:
        return sinc_resampler(step, phases, audio.device)(audio)
    length = -(-audio.shape[-1] * phases // step)
    return resample_by_phase(audio, step, phases, 0, length, sinc_filters)


def resample_kaiser_best(audio: Tensor, old: int, new: int) -> Tensor:
    """Resample audio [..., T] from `old` to `new` Hz, to [..., floor(T new / old)], on its device.

    UserError for audio too short to give a sample.
    """
    if old == new:
        return audio
    length = kaiser_best_length(audio.shape[-1], old, new)
    if not length:
        raise UserError(f"{audio.shape[-1]} samples are too few to resample from {old} to {new} Hz")
    step, phases = ratio(old, new)
    if step * phases > LARGEST:
        return resample_by_phase(audio, step, phases, 0, length, kaiser_filters)
    bank, left = filter_bank(step, phases)
    bank = bank.to(audio.device)
    blocks = -(-length // phases)
    missing = (blocks - 1) * step + bank.shape[-1] - left - audio.shape[-1]
    flat = pad(audio.reshape(-1, 1, audio.shape[-1]), (left, max(0, missing)))
    out = conv1d(flat, bank, stride=step)[..., :blocks]  # [B, phases, blocks]
    return out.transpose(1, 2).reshape(len(flat), -1)[:, :length].reshape(*audio.shape[:-1], length)


def kaiser_best_part(
    read: Callable[[int, int], Tensor], num_samples: int, old: int, new: int, start: int, stop: int
) -> Tensor:
    """Return samples start to stop of what `resample_kaiser_best` returns for all of a recording.

    `read(start, stop)` returns samples [..., T] of it at rate `old`; it has `num_samples`.
    """
    if old == new:
        return read(start, stop)
    step, phases = ratio(old, new)
    reach = ceil((ZEROS + 2) * max(1, old / new))
    first = max(0, start // phases - ceil(reach / step))  # in blocks of `step` in, `phases` out
    last = min(num_samples, -(-stop // phases) * step + reach)
    part = resample_kaiser_best(read(first * step, last), old, new)
    return part[..., start - first * phases : stop - first * phases]


def kaiser_best_length(num_samples: int, old: int, new: int) -> int:
    """Count the samples that `resample_kaiser_best` returns for so many."""
    return int(num_samples * float(new) / float(old))


Filters = Callable[[Tensor, int, int], tuple[Tensor, int]]


def resample_by_phase(
    audio: Tensor, step: int, phases: int, first: int, stop: int, filters: Filters
) -> Tensor:
    """Compute outputs `first` to `stop` of audio [..., T], each by the filter of its own phase.

    Output n lies at input n * step / phases. `filters(phase [N], step, phases)` returns filters
    [N, K] and how many of their taps lie before the whole part of that.
    """
    flat = audio.reshape(-1, audio.shape[-1])
    parts, known = [flat[:, :0]], all_filters(filters, step, phases)
    for start in range(first, stop, CHUNK):
        places = torch.arange(start, min(start + CHUNK, stop)) * step
        phase = places % phases
        weights, left = filters(phase, step, phases) if known is None else known
        weights = weights if known is None else weights[phase]
        taps = weights.shape[1]
        begin = int(places[0]) // phases - left
        end = int(places[-1]) // phases - left + taps
        taken = flat[:, max(0, begin) : max(0, end)]
        taken = pad(taken, (max(0, -begin), end - max(0, begin) - taken.shape[-1]))
        offsets = (places // phases - left - begin).to(flat.device)
        windows = taken.unfold(-1, taps, 1)[:, offsets]  # [B, N, K]
        parts.append((windows * weights.to(flat)).sum(-1))
    return torch.cat(parts, dim=-1).reshape(*audio.shape[:-1], stop - first)


@lru_cache(maxsize=4)
def all_filters(filters: Filters, step: int, phases: int) -> tuple[Tensor, int] | None:
    """Return the filters of all phases, unless they are more than `LARGEST` numbers."""
    taps = filters(torch.zeros(1, dtype=torch.long), step, phases)[0].shape[1]
    return filters(torch.arange(phases), step, phases) if phases * taps <= LARGEST else None


def sinc_filters(phase: Tensor, step: int, phases: int) -> tuple[Tensor, int]:
    """Return torchaudio's filters [N, K] for outputs `phase` / `phases` after an input sample."""
    base = min(1.0, phases / step) * 0.99  # cycles of the sinc per input sample
    left = ceil(6 / base)
    taps = torch.arange(-left, left + 2, dtype=torch.float64)
    t = ((taps - (phase / phases).double()[:, None]) * base).clamp(-6, 6)
    return (torch.sinc(t) * (t * torch.pi / 12).cos().square() * base).float(), left


def kaiser_filters(phase: Tensor, step: int, phases: int) -> tuple[Tensor, int]:
    """Return the filters [N, K] of `filter_bank`'s outputs, without the zeros around them."""
    scale = min(1.0, phases / step)
    table = right_half() * scale
    slope = np.diff(table, append=table[-1])
    stride = int(scale * TABLE)
    reach = len(table) // stride + 1
    fraction = scale * phase.numpy() / phases
    weights = np.zeros((len(fraction), 2 * reach + 2))
    taps = np.arange(reach + 1)
    for start, first, direction in ((fraction, 0, -1), (scale - fraction, 1, 1)):
        position = start * TABLE
        offset = position.astype(np.int64)
        used = taps < ((len(table) - offset) // stride)[:, None]
        places = np.where(used, offset[:, None] + taps * stride, 0)
        values = table[places] + (position - offset)[:, None] * slope[places]
        columns = reach + first + direction * taps
        weights[:, columns.clip(0, 2 * reach + 1)] += np.where(used, values, 0)
    return torch.from_numpy(weights.astype(np.float32)), reach


@lru_cache(maxsize=16)
def filter_bank(step: int, phases: int) -> tuple[Tensor, int]:
    """Return filters [phases, 1, K] for the outputs of a block, and the taps before its start.

    A block has `step` input samples and `phases` output samples.
    """
    each, left = kaiser_filters(torch.arange(phases) * step % phases, step, phases)
    taps = each.shape[1]
    bank = torch.zeros(phases, 1, step + taps)
    for phase in range(phases):
        whole = phase * step // phases
        bank[phase, 0, whole : whole + taps] = each[phase]
    return bank, left


@lru_cache(maxsize=1)
def right_half() -> np.ndarray:
    """Return the filter from its centre to its end."""
    count = ZEROS * TABLE
    sinc = ROLLOFF * np.sinc(ROLLOFF * np.linspace(0, ZEROS, count + 1))
    return sinc * np.kaiser(2 * count + 1, BETA)[count:]
