"""Unigram and bigram entropies: what a model of single tokens or of pairs would reach."""

import torch
from torch import Tensor, nn

# weight of the unigram law in the bigram's, as a number of observations; the best one counts
BACK_OFF = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class NGrams(nn.Module):
    """Count tokens and pairs; the yardsticks are about the counted tokens themselves.

    Each token is coded by the counts of all the others (leave one out), the bigram backing off to
    the unigram: plain entropies of sparse pairs would be far too low to mean anything.
    """

    def __init__(self, num_tokens: int):
        super().__init__()
        self.num_tokens = num_tokens
        self.reset()

    def reset(self) -> None:
        self.passages: list[Tensor] = []

    def update(self, tokens: Tensor) -> None:
        """Count tokens [B, L]."""
        self.passages.append(tokens.cpu())

    def bits(self) -> dict[str, float]:
        """Mean code length in bits of a token, alone and given the one before it."""
        if not self.passages:
            return {}
        tokens = torch.cat([passage.flatten() for passage in self.passages])
        first = torch.cat([passage[:, :-1].flatten() for passage in self.passages])
        second = torch.cat([passage[:, 1:].flatten() for passage in self.passages])
        unigrams = torch.bincount(tokens, minlength=self.num_tokens).double()
        alone = (unigrams[second] - 1 + 1 / self.num_tokens) / unigrams.sum()
        _, inverse, pairs = torch.unique(
            first * self.num_tokens + second, return_inverse=True, return_counts=True
        )
        seen = torch.bincount(first, minlength=self.num_tokens).double()[first] - 1
        bigram = [
            code_length((pairs[inverse] - 1 + weight * alone) / (seen + weight))
            for weight in BACK_OFF
        ]
        return {"unigram": code_length(alone), "bigram": min(bigram)}


def code_length(probability: Tensor) -> float:
    """Mean of minus the logarithm, in bits."""
    return float(-probability.log2().mean())
