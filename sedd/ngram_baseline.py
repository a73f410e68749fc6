"""Unigram and bigram baselines: what a model of single tokens or of pairs would reach."""

import torch
from torch import Tensor

# weight of the unigram law in the bigram's, as a number of observations; the best one counts
BACK_OFF = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class NGramBaseline:
    """Collect tokens; the baselines are code lengths of the collected tokens themselves.

    Each token is coded by the counts of all the others (leave one out), the bigram backing off to
    the unigram: plain entropies of sparse pairs would be far too low to mean anything. Codebooks
    are counted apart.
    """

    def __init__(self, codebook_size: int):
        self.codebook_size = codebook_size
        self.reset()

    def reset(self) -> None:
        self.segments: list[Tensor] = []

    def update(self, tokens: Tensor) -> None:
        """Count tokens [B, K, L]."""
        self.segments.append(tokens.cpu())

    def bits(self) -> dict[str, float]:
        """Mean code length in bits of a token, alone and given the one before it."""
        if not self.segments:
            return {}
        offsets = self.codebook_size * torch.arange(self.segments[0].shape[1])[:, None]
        segments = [segment + offsets for segment in self.segments]
        tokens = torch.cat([segment.flatten() for segment in segments])
        first = torch.cat([segment[..., :-1].flatten() for segment in segments])
        second = torch.cat([segment[..., 1:].flatten() for segment in segments])
        num_tokens = self.codebook_size * segments[0].shape[1]
        in_codebook = len(tokens) / segments[0].shape[1]  # tokens of each codebook
        unigrams = torch.bincount(tokens, minlength=num_tokens).double()
        alone = (unigrams[second] - 1 + 1 / self.codebook_size) / in_codebook
        _, inverse, pairs = torch.unique(
            first * num_tokens + second, return_inverse=True, return_counts=True
        )
        seen = torch.bincount(first, minlength=num_tokens).double()[first] - 1
        bigram = [
            code_length((pairs[inverse] - 1 + weight * alone) / (seen + weight))
            for weight in BACK_OFF
        ]
        return {"unigram": code_length(alone), "bigram": min(bigram)}


def code_length(probability: Tensor) -> float:
    """Mean of minus the logarithm, in bits."""
    return float(-probability.log2().mean())
