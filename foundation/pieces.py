"""Long audio taken in pieces, so that memory doesn't follow its length."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

Read = Callable[[int, int], Tensor]  # samples start to stop, [C, T]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Piece:
    """Samples `start` to `stop` of something longer, read from `first` to `last` with context."""

    start: int
    stop: int
    first: int
    last: int


def pieces(num_samples: int, length: int, context: int) -> list[Piece]:
    """Split samples into pieces with `context` more on each side; all at once if that is less."""
    if num_samples <= length + 2 * context:
        return [Piece(0, num_samples, 0, num_samples)]
    found = []
    for start in range(0, num_samples, length):
        stop = min(start + length, num_samples)
        found.append(Piece(start, stop, max(0, start - context), min(num_samples, stop + context)))
    return found


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
