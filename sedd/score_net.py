"""The contract of SEDD's network."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from foundation.batch import Cond


class ScoreNet(nn.Module, ABC):
    """Predict log p(y) / p(x) for every state y of every token of x.

    SEDD builds it as `net(vocab_size, num_codebooks)`: the graph's number of states V, and K tokens
    at each position. A subclass whose output only suits the absorbing graph says so by
    `absorbing_only`.
    """

    absorbing_only: bool = False

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Cond | None = None) -> Tensor:
        """Return log scores [B, K, L, V] in float32 for tokens x [B, K, L] at total noise [B].

        The entry of the current token is 0. `cond` is the metadata of each example, by name.
        """
