"""What SEDD minimises."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sedd.graph import Absorb, Graph
from sedd.noise import Noise
from sedd.score_net import Conditioned, ScoreFn


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
        return rate * self._entropy(net, sigma, x_t, tokens).flatten(1).mean(1)

    def _entropy(self, net: ScoreFn, sigma: Tensor, x_t: Tensor, tokens: Tensor) -> Tensor:
        """Compute the score entropy [B, K, L] of x_t at sigma [B].

        Of a normalised network it is a weighted cross-entropy (Ou et al. 2024, arXiv:2406.03736,
        theorem 2), for which the logits of the masks are enough.
        """
        normalised = isinstance(net, Conditioned) and net.net.normalised
        if normalised and type(self.graph) is Absorb:  # a subclass may mask at another pace
            nats = net.cross_entropy(x_t, sigma, tokens, self.graph.movable(x_t))
            return nats / torch.expm1(sigma)[:, None, None]
        return self.graph.score_entropy(net(x_t, sigma), sigma, x_t, tokens)
