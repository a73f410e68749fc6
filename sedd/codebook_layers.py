"""What a score network takes from a codec's codebooks before it is trained.

Codes that sound alike start with embeddings alike, and what is learned of one holds for its
neighbours from the start.
"""

import torch
from torch import Tensor, nn


class LowRankHead(nn.Module):
    """Output weights that see a code through its vector: logits = (low h) . vector.

    The vectors are the codec's and aren't saved.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, hidden_size: int):
        super().__init__()
        self.register_buffer("vectors", vectors, persistent=False)  # [K, V, D]
        self.low = nn.Parameter(torch.zeros(len(vectors), vectors.shape[-1], hidden_size))

    def forward(self) -> Tensor:
        """Return the weights [K * V, hidden_size]: cheaper than the two products for each place."""
        return (self.vectors.float() @ self.low.float()).flatten(0, 1)


def standardise(vectors: Tensor, num_states: int) -> Tensor:
    """Scale each codebook's vectors [K, N, D] to deviation 1: [K, V, D], a mask's vector is 0."""
    scaled = vectors / vectors.std(dim=(1, 2), keepdim=True)
    return nn.functional.pad(scaled, (0, 0, 0, num_states - vectors.shape[1]))


def initial_embedding(vectors: Tensor, hidden_size: int) -> Tensor:
    """Project standardised vectors [K, V, D] at random: [K * V, hidden_size].

    All codebooks share the projection, so that the sum of a position's embeddings is the projection
    of a sum of vectors. A mask gets a vector of its own, half as long.
    """
    count, _, dim = vectors.shape
    projection = torch.randn(dim, hidden_size, device=vectors.device) / dim**0.5
    embedding = vectors @ projection
    masks = 0.5 * torch.randn(count, 1, hidden_size, device=vectors.device)
    silent = (vectors == 0).all(-1, keepdim=True)
    return (torch.where(silent, masks, embedding) / count**0.5).flatten(0, 1)
