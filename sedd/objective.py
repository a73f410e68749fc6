"""What SEDD minimises."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sedd.graph import Graph
from sedd.noise import Noise

ScoreFn = Callable[[Tensor, Tensor], Tensor]  # x [B, K, L], sigma [B] to log scores [B, K, L, V]


@dataclass(frozen=True)
class Objective(ABC):
    """A loss, and how the network that minimises it gives the scores that samplers need.

    SEDD builds it as `objective(graph, noise)`; further fields are options.
    """

    graph: Graph
    noise: Noise

    @abstractmethod
    def losses(
        self,
        net: ScoreFn,
        tokens: Tensor,
        times: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the loss of each example [B] in nats per token.

        Clean tokens [B, K, L] at times [B] from 0 (clean) to 1 (noise); noise is drawn from
        `generator`, or from torch's own stream where it is None.
        """

    def log_score(self, net: ScoreFn) -> ScoreFn:
        """Return the function from (x, sigma) to log scores that samplers take."""
        return net


@dataclass(frozen=True)
class ScoreEntropy(Objective):
    """Diffusion-weighted denoising score entropy (Lou et al. 2024, arXiv:2310.16834, eq. 10).

    It bounds the negative log-likelihood of the tokens.
    """

    def losses(
        self,
        net: ScoreFn,
        tokens: Tensor,
        times: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        sigma, rate = self.noise.sigma(times), self.noise.rate(times)
        x_t = self.graph.perturb(tokens, sigma, generator)
        entropy = self.graph.score_entropy(net(x_t, sigma), sigma, x_t, tokens)  # [B, K, L]
        return rate * entropy.flatten(1).mean(1)
