"""Unigram and bigram entropies: what a model of single tokens or of pairs would reach."""

import torch
from torch import Tensor, nn


class NGrams(nn.Module):
    """Count tokens and pairs; the entropies are those of the counted tokens themselves.

    So they flatter the yardstick (a bigram table fitted to its own test set), more so the fewer
    tokens were counted.
    """

    def __init__(self, num_tokens: int):
        super().__init__()
        self.num_tokens = num_tokens
        self.reset()

    def reset(self) -> None:
        self.unigrams = torch.zeros(self.num_tokens, dtype=torch.long)
        self.pairs: list[Tensor] = []

    def update(self, tokens: Tensor) -> None:
        """Count tokens [B, L]."""
        tokens = tokens.cpu()
        self.unigrams += torch.bincount(tokens.flatten(), minlength=self.num_tokens)
        self.pairs.append((tokens[:, :-1] * self.num_tokens + tokens[:, 1:]).flatten())

    def bits(self) -> dict[str, float]:
        """Entropy in bits of a token, alone and given the one before it."""
        unigram = entropy(self.unigrams)
        if not self.pairs:
            return {"unigram": unigram}
        pairs = torch.cat(self.pairs)
        first = torch.bincount(pairs // self.num_tokens, minlength=self.num_tokens)
        bigram = entropy(pairs.unique(return_counts=True)[1]) - entropy(first)
        return {"unigram": unigram, "bigram": bigram}


def entropy(counts: Tensor) -> float:
    """Entropy in bits of counts [K]."""
    shares = counts.double() / counts.sum().clamp(min=1)
    return float(torch.special.entr(shares).sum() / torch.log(torch.tensor(2.0)))
