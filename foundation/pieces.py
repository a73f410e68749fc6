"""Long audio taken in pieces, so that memory doesn't follow its length."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor

AT_ONCE = 2**22  # samples that an accelerator encodes at once
Read = Callable[[int, int], Tensor]  # samples start to stop, [C, T]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Piece:
    """Samples `start` to `stop` of something longer, read from `first` to `last` with context."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def taken(self) -> slice:
        """What is read."""
        return slice(self.first, self.last)

    def kept(self, hop: int = 1) -> slice:
        """Which positions, of `hop` samples each, of what is read are the piece's own."""
        before = (self.start - self.first) // hop
        return slice(before, before - (self.start - self.stop) // hop)


def split(count: int, length: int, context: int) -> Iterator[Piece]:
    """Split `count` samples or positions into pieces with `context` more on each side.

    Where that is as far as a result reaches, the pieces' results put together are the whole's.
    """
    for start in range(0, count, length):
        stop = min(start + length, count)
        yield Piece(start, stop, max(0, start - context), min(count, stop + context))


def pieces(num_samples: int, length: int, context: int) -> list[Piece]:
    """Split samples into pieces, or take them all at once where that is no more than a piece."""
    if num_samples <= length + 2 * context:
        return [Piece(0, num_samples, 0, num_samples)]
    return list(split(num_samples, length, context))


def pieces_at_once(part: Piece, device: torch.device) -> int:
    """Return how many pieces are stacked: 1 on a CPU, which one keeps busy."""
    return 1 if device.type == "cpu" else max(1, AT_ONCE // max(1, part.last - part.first))


def stacked(parts: Iterable[Piece], device: torch.device) -> Iterator[list[Piece]]:
    """Group successive pieces that are alike but for their place: not a track's first and last."""

    def form(part: Piece) -> tuple[int, int, int]:
        return part.start - part.first, part.stop - part.first, part.last - part.first

    for _, alike in groupby(parts, form):
        rest = list(alike)
        count = pieces_at_once(rest[0], device)
        yield from (rest[first : first + count] for first in range(0, len(rest), count))


def read_stacked(
    read: Read, parts: Iterable[Piece], device: torch.device
) -> Iterator[tuple[list[Piece], Tensor]]:
    """Read pieces ahead, and yield those that are taken at once with their samples [B, C, T]."""

    def read_all(group: list[Piece]) -> Tensor:
        return torch.stack([read(part.first, part.last) for part in group])

    for group, audio in ahead(read_all, stacked(parts, device)):
        yield group, audio.to(device)


def ahead(work: Callable[[Item], Tensor], items: Iterable[Item]) -> Iterator[tuple[Item, Tensor]]:
    """Yield each item with what `work` returns for it, worked on while the last one is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            new = item, pool.submit(work, item)
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = new
        if waiting:
            yield waiting[0], waiting[1].result()
