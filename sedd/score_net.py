"""The contract of SEDD's network."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from foundation.batch import Cond
from foundation.conditioner import ConditionalNet
from foundation.errors import UserError

ScoreFn = Callable[[Tensor, Tensor], Tensor]  # x [B, K, L], sigma [B] to log scores [B, K, L, V]


class ScoreNet(ConditionalNet, ABC):
    """Predict log p(y) / p(x) for every state y of every token of x.

    SEDD builds it as `net(vocab_size, num_codebooks)`: the graph's number of states V, and K tokens
    at each position.

    Attributes:
        absorbing_only: the output only suits the absorbing graph
        time_independent: the scores of a mask, times expm1(sigma), don't depend on sigma
    """

    absorbing_only: bool = False
    time_independent: bool = False

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Cond | None = None) -> Tensor:
        """Return log scores [B, K, L, V] in float32 for tokens x [B, K, L] at total noise [B].

        The entry of the current token is 0. `cond` is the metadata of each example, by name, which
        `told_by` embeds.
        """

    def log_score_at(
        self, x: Tensor, sigma: Tensor, where: Tensor, cond: Cond | None = None
    ) -> Tensor:
        """Return log scores [P, V] of the P tokens of x where `where` [B, K, L] is true."""
        return self(x, sigma, cond)[where]

    def mask_scores(
        self, x: Tensor, sigma: Tensor, x0: Tensor, where: Tensor, cond: Cond | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what the losses of the absorbing graph read of the masks `where`, both [B, K, L].

        The logarithm of the sum of the scores of all codes, which are all states but the last, and
        the log score of the clean token x0. Where there is no mask they are finite and not read.
        """
        log_score = self(x, sigma, cond)[..., :-1]
        return log_score.logsumexp(-1), log_score.gather(-1, x0[..., None])[..., 0]

    def start_from_codes(self, vectors: Tensor) -> None:
        """Start what belongs to single codes from their vectors [K, N, D] in the codec."""
        raise UserError(f"{type(self).__name__} can't start from the codec's codebooks")


class PartScoreFn(ABC):
    """A ScoreFn that can also score some tokens alone."""

    @property
    def normalised(self) -> bool:
        """Whether the scores of a mask, times expm1(sigma), are a law over the codebook."""
        return False

    @property
    def time_independent(self) -> bool:
        """Whether the scores of a mask, times expm1(sigma), don't depend on sigma."""
        return False

    @abstractmethod
    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return log scores [B, K, L, V] for tokens x [B, K, L] at total noise [B]."""

    @abstractmethod
    def at(self, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
        """Return log scores [P, V] of the P tokens of x where `where` [B, K, L] is true."""


@dataclass  # a frozen one can't be called in a compiled graph
class Conditioned(PartScoreFn):
    """A network with the metadata of a batch."""

    net: ScoreNet
    cond: Cond | None = None

    @property
    def time_independent(self) -> bool:
        return self.net.time_independent

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.net(x, sigma, self.cond)

    def at(self, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
        return self.net.log_score_at(x, sigma, where, self.cond)

    def mask_scores(
        self, x: Tensor, sigma: Tensor, x0: Tensor, where: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.net.mask_scores(x, sigma, x0, where, self.cond)


def scores_at(score_fn: ScoreFn, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
    """Compute log scores [P, V] of the P tokens of x [B, K, L] where `where` is true."""
    if isinstance(score_fn, PartScoreFn):
        return score_fn.at(x, sigma, where)
    return score_fn(x, sigma)[where]
