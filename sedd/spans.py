"""Masks of whole passages, for training: what a repair meets."""

from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.errors import UserError
from sedd.graph import Absorb, Graph


@dataclass(frozen=True)
class SpanAbsorb(Absorb):
    """The absorbing graph, where some examples' masks all lie in one span of positions.

    The span covers a share of the window, drawn between the masked fraction and all of it, and goes
    round its end; in it tokens of all codebooks are masked independently, from all of them to as
    few as elsewhere. So each token is masked as often as by `Absorb`, and all that samplers know of
    the process holds (after Dror et al. 2025, arXiv:2507.08333, who mask spans alone).

    Args:
        share: of the examples
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise UserError(f"the share of span masks must be in (0, 1], got {self.share}")

    def perturb(
        self, tokens: Tensor, sigma: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Mask tokens [B, K, L] at noise [B]."""
        batch, _, length = tokens.shape
        device = tokens.device
        chosen, wide, start = torch.rand(3, batch, 1, 1, device=device, generator=generator)
        masked = -torch.expm1(-sigma.to(chosen))[:, None, None]
        span = torch.where(chosen < self.share, masked.lerp(torch.ones_like(wide), wide), 1.0)
        place = (torch.arange(length, device=device) / length + start) % 1
        uniform = torch.rand(tokens.shape, device=device, generator=generator)
        return torch.where((place < span) & (uniform < masked / span), self.mask_id, tokens)


def with_spans(graph: Graph, share: float) -> SpanAbsorb:
    """Return the absorbing graph with spans; UserError for any other."""
    if type(graph) is not Absorb:
        raise UserError(
            f"spans are for sedd.graph.Absorb, the graph is {type(graph).__name__}: set spans to 0"
        )
    return SpanAbsorb(graph.codebook_size, share)
