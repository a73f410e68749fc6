"""Random numbers for a batch of clips: one stream for all, or one for each."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sedd.graph import Graph, draw_categorical, first_clock

Generators = torch.Generator | Sequence[torch.Generator] | None


class Draws:
    """Draw for B clips; with a generator for each clip, a clip doesn't depend on the others."""

    def __init__(self, generators: Generators, batch: int, device: torch.device | None):
        many = isinstance(generators, Sequence)
        if many and len(generators) != batch:
            raise ValueError(f"expected a generator for each of {batch} clips: {len(generators)}")
        self.streams = list(generators) if isinstance(generators, Sequence) else [generators]
        self.counts = [1] * batch if many else [batch]
        self.device = device

    def uniform(self, *shape: int) -> Tensor:
        """Draw [B, *shape] in [0, 1), float64."""
        return self._stack(
            lambda count, stream: torch.rand(
                count, *shape, dtype=torch.float64, device=self.device, generator=stream
            )
        )

    def limit(self, graph: Graph, *shape: int) -> Tensor:
        """Draw tokens [B, *shape] from the graph's law at infinite noise."""
        return self._stack(
            lambda count, stream: graph.sample_limit((count, *shape), stream, self.device)
        )

    def categorical(self, probs: Tensor, where: Tensor) -> Tensor:
        """Draw tokens [P] from unnormalised probs [P, V] of the P places of where [B, ...]."""
        if len(self.streams) == 1:
            return draw_categorical(probs, self.streams[0])
        clocks = torch.empty(probs.shape, dtype=torch.float64, device=probs.device)
        places = where.flatten(1).sum(1).tolist()
        for part, stream in zip(clocks.split(places), self.streams, strict=True):
            part.exponential_(generator=stream)
        return first_clock(probs, clocks)

    def _stack(self, draw: Callable[[int, torch.Generator | None], Tensor]) -> Tensor:
        parts = zip(self.counts, self.streams, strict=True)
        return torch.cat([draw(count, stream) for count, stream in parts])
