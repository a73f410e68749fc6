"""Forward processes on tokens, and score entropy (Lou et al. 2024, arXiv:2310.16834).

x is [B, K, L] or any shape [...] of tokens, all alike; sigma (total noise) has the leading
dimensions of x, such as [B]. A score [..., V] holds the ratios p(y) / p(x) of each token;
log_score is its logarithm.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from foundation.checks import check_at_least
from foundation.errors import UserError
from sedd.row_sums import RowSums


def align(sigma: Tensor, x: Tensor) -> Tensor:
    """Add trailing dimensions to sigma until it broadcasts against x."""
    return sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim))


def draw_categorical(probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw from unnormalised probs [..., V] in float64: tokens [...].

    The race of exponential clocks is exact; float32 noise would truncate the tails (Zheng et al.
    2024, arXiv:2409.02908, section 5).
    """
    clocks = torch.empty(probs.shape, dtype=torch.float64, device=probs.device)
    return first_clock(probs, clocks.exponential_(generator=generator))


def first_clock(probs: Tensor, clocks: Tensor) -> Tensor:
    """Pick the token whose unit-rate clock [..., V], slowed by its probability, rings first."""
    return (probs.double() / clocks.double()).argmax(-1)


class Graph(ABC):
    """A Markov process that turns data into noise, one token at a time and all tokens alike."""

    codebook_size: int

    @property
    def mask_id(self) -> int | None:
        """The state that stands for a masked token; None unless the process masks."""
        return None

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of states V: the codebook, and the mask if there is one."""

    @abstractmethod
    def rate(self, x: Tensor) -> Tensor:
        """Return the rates [..., V] of leaving x for each state; the entry at x makes the sum 0."""

    @abstractmethod
    def transp_rate(self, x: Tensor) -> Tensor:
        """Return the rates [..., V] of reaching x from each state."""

    @abstractmethod
    def transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the probabilities [..., V] of each state after noise sigma, from x."""

    @abstractmethod
    def transp_transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the probabilities [..., V] of being at x after noise sigma, from each state."""

    @abstractmethod
    def staggered_score(self, score: Tensor, dsigma: Tensor) -> Tensor:
        """Return exp(-dsigma Q) score [..., V], the ratios of the law dsigma earlier (sec. 4.2)."""

    def score_of_clean(self, log_probs: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """Turn laws of clean tokens given all the others, [..., C], into log scores [..., V].

        For tokens x [...] at noise sigma. It holds for processes that jump to their limit law at
        rate 1 (`jumps_to_limit`): a token's law is its clean law mixed with that.
        """
        sigma = align(sigma, x)[..., None].to(log_probs)
        clean = pad(log_probs - sigma, (0, self.dim - self.codebook_size), value=-math.inf)
        moved = torch.log(-torch.expm1(-sigma)) + self.limit_law(x.device).log()
        law = torch.logaddexp(clean, moved.to(clean))
        return law - law.gather(-1, x[..., None])

    def limit_law(self, device: torch.device | None = None) -> Tensor:
        """Return the probabilities [V] of each state at infinite noise."""
        zero = torch.zeros((), dtype=torch.long, device=device)
        return self.transition(zero, torch.tensor(math.inf, device=device))

    @abstractmethod
    def score_entropy(self, log_score: Tensor, sigma: Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """Compute the denoising score entropy [B, ...], 0 for the true ratios (eq. 9).

        log_score [B, ..., V], sigma [B], noisy tokens x [B, ...], clean tokens x0 [B, ...].
        """

    @abstractmethod
    def sample_limit(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw tokens of a shape from the law at infinite noise."""

    @abstractmethod
    def movable(self, x: Tensor) -> Tensor:
        """Mark the tokens that the reverse process can still change."""

    def perturb(
        self, tokens: Tensor, sigma: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw noisy tokens [B, ...] from clean ones and sigma [B]."""
        uniform = torch.rand(
            tokens.shape, dtype=torch.float64, device=tokens.device, generator=generator
        )
        limit = self.sample_limit(tuple(tokens.shape), generator, tokens.device)
        return self.move(tokens, sigma, uniform, limit)

    def move(self, tokens: Tensor, sigma: Tensor, uniform: Tensor, limit: Tensor) -> Tensor:
        """Replace tokens by the limit's where uniform < 1 - exp(-sigma)."""
        return torch.where(uniform < -torch.expm1(-align(sigma, tokens)), limit, tokens)

    def reverse_rate(self, x: Tensor, score: Tensor) -> Tensor:
        """Return the rates [..., V] of the reversed process (eq. 3), which sum to 0."""
        rate = (self.transp_rate(x) * score).scatter(-1, x[..., None], 0)
        return rate.scatter(-1, x[..., None], -rate.sum(-1, keepdim=True))

    def _one_hot(self, x: Tensor) -> Tensor:
        return one_hot(x, self.dim).to(torch.get_default_dtype())


@dataclass(frozen=True)
class Absorb(Graph):
    """Every token turns into a mask, the state after the codebook, and stays there."""

    codebook_size: int

    def __post_init__(self) -> None:
        check_at_least(2, codebook_size=self.codebook_size)

    @property
    def dim(self) -> int:
        return self.codebook_size + 1

    @property
    def mask_id(self) -> int:
        return self.codebook_size

    def rate(self, x: Tensor) -> Tensor:
        return self._one_hot(torch.full_like(x, self.mask_id)) - self._one_hot(x)

    def transp_rate(self, x: Tensor) -> Tensor:
        return (x == self.mask_id)[..., None].float() - self._one_hot(x)

    def transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        moved = -torch.expm1(-align(sigma, x))[..., None]
        mask = self._one_hot(torch.full_like(x, self.mask_id))
        return self._one_hot(x).lerp(mask, moved.expand(mask.shape).to(mask))

    def transp_transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = align(sigma, x)[..., None]
        reached = -torch.expm1(-sigma) * (x == self.mask_id)[..., None]
        return torch.exp(-sigma) * self._one_hot(x) + reached

    def staggered_score(self, score: Tensor, dsigma: Tensor) -> Tensor:
        dsigma = align(dsigma, score)
        mask = torch.exp(dsigma) * score[..., -1:]
        mask = mask - torch.expm1(dsigma) * score.sum(-1, keepdim=True)
        return torch.cat([torch.exp(dsigma) * score[..., :-1], mask], -1)

    def score_entropy(self, log_score: Tensor, sigma: Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """Compute it at the masks only: elsewhere nothing can have come, and it is 0."""
        codes = _full_precision(log_score)[..., :-1]
        at_x0 = codes.gather(-1, x0[..., None])[..., 0]
        return self.mask_entropy(codes.logsumexp(-1), at_x0, sigma, x == self.mask_id)

    def mask_entropy(
        self, log_total: Tensor, log_at_x0: Tensor, sigma: Tensor, masked: Tensor
    ) -> Tensor:
        """Compute the score entropy [B, ...] of the tokens `masked`, 0 elsewhere.

        From the logarithm of the sum of their scores, and their log score of x0, both [B, ...].
        """
        ratio = 1 / torch.expm1(_full_precision(align(sigma, masked)))
        positive = log_total.where(masked, 0).exp()  # what isn't read mustn't overflow
        negative = ratio * log_at_x0.where(masked, 0)
        return (positive - negative + _minimum(ratio)).where(masked, 0)

    def score_of_clean(self, log_probs: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """Scale the laws of the masks; others don't move, and theirs mean nothing."""
        scale = torch.log(torch.expm1(align(sigma, x)))[..., None].to(log_probs)
        return pad(log_probs - scale, (0, 1)).scatter(-1, x[..., None], 0)

    def sample_limit(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return torch.full(shape, self.mask_id, dtype=torch.int64, device=device)

    def movable(self, x: Tensor) -> Tensor:
        return x == self.mask_id


@dataclass(frozen=True)
class Uniform(Graph):
    """Every token jumps to one drawn uniformly from the codebook, itself included."""

    codebook_size: int

    def __post_init__(self) -> None:
        check_at_least(2, codebook_size=self.codebook_size)

    @property
    def dim(self) -> int:
        return self.codebook_size

    def rate(self, x: Tensor) -> Tensor:
        return 1 / self.dim - self._one_hot(x)

    def transp_rate(self, x: Tensor) -> Tensor:
        return self.rate(x)  # symmetric

    def transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        moved = -torch.expm1(-align(sigma, x))[..., None]
        return (1 - moved) * self._one_hot(x) + moved / self.dim

    def transp_transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.transition(x, sigma)  # symmetric

    def staggered_score(self, score: Tensor, dsigma: Tensor) -> Tensor:
        dsigma = align(dsigma, score)
        return torch.exp(dsigma) * score - torch.expm1(dsigma) * score.mean(-1, keepdim=True)

    def score_entropy(self, log_score: Tensor, sigma: Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """Sum over y != x; given x0 the true ratio is `high` at x0, `low` around it, else 1."""
        log_score, n = _full_precision(log_score), self.dim
        expm1 = torch.expm1(_full_precision(align(sigma, x)))
        low, high = expm1 / (expm1 + n), 1 + n / expm1
        log_total, total, at_x, at_x0 = RowSums.apply(log_score, x, x0)
        positive = log_total.exp() - at_x.exp()
        others = total - at_x
        clean = low * others, (n - 1) * _minimum(low)
        moved = others + (high - 1) * at_x0, _minimum(high) - (n - 2)
        negative, constant = (torch.where(x == x0, a, b) for a, b in zip(clean, moved, strict=True))
        return (positive - negative + constant) / n

    def sample_limit(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return torch.randint(self.dim, shape, generator=generator, device=device)

    def movable(self, x: Tensor) -> Tensor:
        return torch.ones_like(x, dtype=torch.bool)


def _minimum(ratio: Tensor) -> Tensor:
    """r (log r - 1): minus the least value of s - r log s, which is reached at s = r."""
    return ratio * (ratio.log() - 1)


def _full_precision(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def masks_alone(graph: Graph) -> bool:
    """Say whether the graph turns tokens into masks and never into other tokens."""
    token = torch.zeros(1, dtype=torch.long)
    return graph.mask_id is not None and not bool(graph.movable(token))


def check_masks(graph: Graph, name: str, instead: str) -> None:
    """Raise UserError unless the graph masks 1 - exp(-sigma) of the tokens and leaves the others.

    `name` needs that; the message ends with what to use `instead`.
    """
    if not masks_alone(graph):
        raise UserError(f"{name} is for the absorbing graph only: {instead}")
    if not jumps_to_limit(graph):
        raise UserError(
            f"{name} is for graphs that mask 1 - exp(-sigma) of the tokens, "
            f"{type(graph).__name__} masks another part: {instead}"
        )


def jumps_to_limit(graph: Graph) -> bool:
    """Say whether each token jumps to the limit law at rate 1, as of our own graphs."""
    token = torch.zeros((), dtype=torch.long)
    moved = -math.expm1(-1)
    law = (1 - moved) * one_hot(token, graph.dim) + moved * graph.limit_law()
    return torch.allclose(graph.transition(token, torch.ones(())).to(law), law, atol=1e-4)
