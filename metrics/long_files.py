"""Examples of files that are too long to hold: read, resampled and cut in parts."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from audio.files import Reader
from audio.resample import kaiser_best_length, kaiser_best_part
from metrics.embedding import Embedding, gain_to

PART = 60  # seconds prepared at once; a file up to three times as long is prepared whole
BLOCK = 2**20  # samples whose power is measured at once


def is_long(reader: Reader, embedding: Embedding) -> bool:
    """Return whether a file is prepared in parts."""
    return embedding.stride is not None and reader.num_samples > 3 * PART * reader.sample_rate


def power_of(reader: Reader) -> float:
    """Return the mean square of a mono file's samples."""
    total = 0.0
    for start in range(0, reader.num_samples, BLOCK):
        part = reader.read_all(start, min(start + BLOCK, reader.num_samples))
        total += part.double().square().sum().item()
    return total / reader.num_samples


@torch.no_grad()
def examples_in_parts(
    reader: Reader, embedding: Embedding, device: torch.device
) -> Iterator[Tensor]:
    """Yield the examples [n, ...] of a mono file, those that `embedding.prepare` returns for it."""
    stride, rate = embedding.stride, embedding.sample_rate
    assert stride is not None
    total = kaiser_best_length(reader.num_samples, reader.sample_rate, rate)

    def mono(start: int, stop: int) -> Tensor:
        span = reader.num_samples, reader.sample_rate, rate, start, stop
        return kaiser_best_part(reader.read_all, *span)

    gain = torch.ones(1)
    if embedding.level is not None:
        gain = gain_to(embedding.level, resampled_power(mono, total))
    count = max(1, PART * rate // stride)
    for start in range(0, -(-total // stride), count):
        before = min(1, start)
        stop = min(total, (start + count + 1) * stride)
        clip = (mono((start - before) * stride, stop) * gain).to(device)
        if clip.shape[-1] < embedding.shortest:
            break
        with torch.autocast(device.type, enabled=False):
            examples = embedding.examples(clip)[0]
        last = (start + count) * stride >= total
        yield examples[before : None if last else before + count]


def resampled_power(mono: Callable[[int, int], Tensor], total: int) -> Tensor:
    """Return the mean square [1] of `total` samples that `mono(start, stop)` returns [1, T]."""
    power = torch.zeros(1, dtype=torch.float64)
    for start in range(0, total, BLOCK):
        power += mono(start, min(start + BLOCK, total)).double().square().sum() / total
    return power.float()
