"""What SEDD minimises."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from foundation.errors import UserError
from sedd.graph import Absorb, Graph, jumps_to_limit, masks_alone
from sedd.noise import Noise
from sedd.score_net import Conditioned, PartScoreFn, ScoreFn, scores_at


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
        """Compute the score entropy [B, K, L]; masks need two numbers of a row of scores alone."""
        graph = self.graph
        if isinstance(net, Conditioned) and type(graph) is Absorb:  # a subclass may differ
            masked = graph.movable(x_t)
            return graph.mask_entropy(*net.mask_scores(x_t, sigma, tokens, masked), sigma, masked)
        return graph.score_entropy(net(x_t, sigma), sigma, x_t, tokens)


@dataclass(frozen=True)
class Subs(Objective):
    """Read the network's output as the law of each clean token; the mask has no part in it.

    With the absorbing graph the loss is a cross-entropy at the masks, weighted by the schedule, and
    what isn't masked is carried over (SUBS of MDLM, Sahoo et al. 2024, arXiv:2406.07524, eq. 10):
    the score entropy of a network whose scores are normalised (Ou et al. 2024, arXiv:2406.03736).
    With a graph that also changes clean tokens it is the score entropy of the scores that follow
    from the law of a token given all the others. Either way it bounds the negative log-likelihood.
    """

    masks: bool = field(init=False, repr=False, compare=False)  # asked once, not in each step

    def __post_init__(self) -> None:
        object.__setattr__(self, "masks", masks_alone(self.graph))
        if not jumps_to_limit(self.graph):
            raise UserError(
                "Subs is for graphs whose tokens jump to their noise at rate 1, and "
                f"{type(self.graph).__name__} does otherwise: use ScoreEntropy"
            )

    def losses(
        self,
        net: ScoreFn,
        tokens: Tensor,
        times: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        sigma, rate = self.noise.sigma(times), self.noise.rate(times)
        x_t = self.graph.perturb(tokens, sigma, generator)
        if self.masks:
            nats = self._cross_entropy(net, sigma, x_t, tokens)
            return rate / torch.expm1(sigma) * nats.flatten(1).mean(1)
        log_score = self.log_score(net)(x_t, sigma)
        entropy = self.graph.score_entropy(log_score, sigma, x_t, tokens)
        return rate * entropy.flatten(1).mean(1)

    def log_score(self, net: ScoreFn) -> ScoreFn:
        return CleanScores(net, self.graph)

    def _cross_entropy(self, net: ScoreFn, sigma: Tensor, x_t: Tensor, tokens: Tensor) -> Tensor:
        """Compute -log p(token) [B, K, L] at the masks, 0 elsewhere."""
        masked = self.graph.movable(x_t)
        if isinstance(net, Conditioned):
            log_total, log_at = net.mask_scores(x_t, sigma, tokens, masked)
            return (log_total - log_at).where(masked, 0)
        log_probs = net(x_t, sigma)[..., : self.graph.codebook_size].log_softmax(-1)
        return -log_probs.gather(-1, tokens[..., None])[..., 0] * masked


@dataclass  # a frozen one can't be called in a compiled graph
class CleanScores(PartScoreFn):
    """The log scores of a network that Subs trained."""

    net: ScoreFn
    graph: Graph

    @property
    def normalised(self) -> bool:
        return masks_alone(self.graph)

    @property
    def time_independent(self) -> bool:
        return isinstance(self.net, PartScoreFn) and self.net.time_independent

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self._scores(self.net(x, sigma), x, sigma)

    def at(self, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
        batch = where.nonzero()[:, 0]
        return self._scores(scores_at(self.net, x, sigma, where), x[where], sigma[batch])

    def _scores(self, logits: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        log_probs = logits[..., : self.graph.codebook_size].log_softmax(-1)
        return self.graph.score_of_clean(log_probs, x, sigma)
