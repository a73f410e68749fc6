"""Decoding of any length by a network that is not local, with the memory that a piece needs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from foundation.pieces import split

Network = Callable[[Tensor], Tensor]


def decode_in_pieces(
    network: Network, encoded: Tensor, channels: int, hop: int, piece: int, margin: int
) -> Tensor:
    """Decode [B, D, L] to audio [B, channels, L * hop], in pieces of `piece` positions.

    Each piece is decoded with `margin` positions more on both sides, and crossfaded over the half
    of them in the middle, which changes nothing where a sample depends on no more than the rest.
    """
    batch, _, count = encoded.shape
    whole = torch.zeros(batch, channels, count * hop, device=encoded.device)
    for taken in (part.taken for part in split(count, piece, margin)):
        part = _fitted(network(encoded[..., taken]), (taken.stop - taken.start) * hop)
        target = whole[..., taken.start * hop : taken.stop * hop]
        if taken.start:
            _crossfade(target, part, margin * hop)
        else:
            target.copy_(part)
    return whole


def _fitted(audio: Tensor, length: int) -> Tensor:
    """Cut or pad the end: transposed convolutions of odd strides are some samples short."""
    return pad(audio, (0, length - audio.shape[-1]))


def _crossfade(target: Tensor, part: Tensor, length: int) -> None:
    """Replace target by part but for the first half length, over the next length gradually."""
    target, part = target[..., length // 2 :], part[..., length // 2 :]
    rising = torch.linspace(0, 1, length, device=part.device)[: part.shape[-1]]
    faded = target[..., : len(rising)].lerp(part[..., : len(rising)], rising)
    target.copy_(part)
    target[..., : len(rising)] = faded
