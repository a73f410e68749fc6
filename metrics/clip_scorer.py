"""Score the clips that a model makes while it trains."""

import logging
import math

import torch
from torch import Tensor

from foundation.errors import UserError
from metrics.embedding import Embedding
from metrics.frechet import Gaussian, frechet
from metrics.kernel import kernel_distance

log = logging.getLogger(__name__)


class ClipScorer:
    """Scores clips against a reference, which is embedded once and kept.

    The floor is real music after the model's codec: what no model with that codec can go below.
    Where there is no other reference, the first floor is it.
    """

    def __init__(self, embedding: Embedding):
        self.embedding = embedding
        self.reference: Tensor | None = None  # vectors [N, D]
        self.floor_is_reference = False
        self._told = False

    def embed(self, clips: Tensor, sample_rate: int, tell: bool = True) -> Tensor:
        """Embed clips [B, C, T] to vectors [N, D] on the CPU.

        Clips shorter than one vector needs are repeated; `tell` logs that, once.
        """
        model = self.embedding.to(clips.device)
        least = math.ceil(model.shortest * sample_rate / model.sample_rate) + 1
        if 0 < clips.shape[-1] < least:
            if tell and not self._told:
                seconds = clips.shape[-1] / sample_rate, least / sample_rate
                log.info("FAD: clips of %.2f s are repeated to the %.2f s of one vector", *seconds)
            self._told = True
            clips = clips.repeat(1, 1, -(-least // clips.shape[-1]))[..., :least]
        return model(clips, sample_rate).cpu()

    def join(self, parts: list[Tensor]) -> Tensor:
        """Join vectors [N, D]; no parts are no vectors."""
        return torch.cat(parts) if parts else torch.empty(0, self.embedding.dim)

    def score(self, generated: Tensor, floor: Tensor) -> dict[str, float]:
        """Score vectors [N, D] of generated clips, and of the floor where it isn't the reference.

        Raises:
            UserError: for fewer than two vectors of clips or of reference
        """
        if len(generated) < 2:
            raise UserError("too few or too short clips for the embedding: raise seconds")
        if self.reference is None:
            if len(floor) < 2:
                raise UserError("there is no music to compare with: give FAD a reference")
            self.reference, self.floor_is_reference = floor, True
        scores = self._distances(self.reference, generated)
        if len(floor) >= 2 and not self.floor_is_reference:
            scores |= self._distances(self.reference, floor, "_floor")
        return scores

    def _distances(self, reference: Tensor, vectors: Tensor, suffix: str = "") -> dict[str, float]:
        name = self.embedding.name + suffix
        return {
            f"fad/{name}": frechet(Gaussian.of(reference), Gaussian.of(vectors)),
            f"kad/{name}": kernel_distance(reference, vectors),
        }
