"""The contract of SEDD's network."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foundation.batch import Cond
from foundation.errors import UserError

ScoreFn = Callable[[Tensor, Tensor], Tensor]  # x [B, K, L], sigma [B] to log scores [B, K, L, V]


class ScoreNet(nn.Module, ABC):
    """Predict log p(y) / p(x) for every state y of every token of x.

    SEDD builds it as `net(vocab_size, num_codebooks)`: the graph's number of states V, and K tokens
    at each position.

    Attributes:
        absorbing_only: the output only suits the absorbing graph
        normalised: the scores of a mask, times expm1(sigma), are a law over the codebook
    """

    absorbing_only: bool = False
    normalised: bool = False

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Cond | None = None) -> Tensor:
        """Return log scores [B, K, L, V] in float32 for tokens x [B, K, L] at total noise [B].

        The entry of the current token is 0. `cond` is the metadata of each example, by name.
        """

    def log_score_at(
        self, x: Tensor, sigma: Tensor, where: Tensor, cond: Cond | None = None
    ) -> Tensor:
        """Return log scores [P, V] of the P tokens of x where `where` [B, K, L] is true."""
        return self(x, sigma, cond)[where]

    def cross_entropy(
        self, x: Tensor, sigma: Tensor, x0: Tensor, where: Tensor, cond: Cond | None = None
    ) -> Tensor:
        """Compute -log p(x0 | x) [B, K, L] at the masks `where`, and 0 elsewhere.

        Only of a normalised network.
        """
        log_score = self.log_score_at(x, sigma, where, cond)
        scale = torch.log(torch.expm1(sigma.float()))[:, None, None].expand(x.shape)[where]
        nats = -log_score.gather(-1, x0[where][:, None])[:, 0] - scale
        return torch.zeros_like(x, dtype=nats.dtype).masked_scatter(where, nats)

    def start_from_codes(self, vectors: Tensor) -> None:
        """Start what belongs to single codes from their vectors [K, N, D] in the codec."""
        raise UserError(f"{type(self).__name__} can't start from the codec's codebooks")


@dataclass(frozen=True)
class Conditioned:
    """A network with the metadata of a batch: a ScoreFn that can also score some tokens alone."""

    net: ScoreNet
    cond: Cond | None = None

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.net(x, sigma, self.cond)

    def at(self, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
        return self.net.log_score_at(x, sigma, where, self.cond)

    def cross_entropy(self, x: Tensor, sigma: Tensor, x0: Tensor, where: Tensor) -> Tensor:
        return self.net.cross_entropy(x, sigma, x0, where, self.cond)


def scores_at(score_fn: ScoreFn, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
    """Compute log scores [P, V] of the P tokens of x [B, K, L] where `where` is true."""
    if isinstance(score_fn, Conditioned):
        return score_fn.at(x, sigma, where)
    return score_fn(x, sigma)[where]
