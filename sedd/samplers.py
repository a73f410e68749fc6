"""Samplers of the reverse process: Euler, analytic (Lou et al. 2024, section 4.2), first hitting.

`score_fn(x, sigma)` returns log scores [B, K, L, V] for tokens x [B, K, L] and total noise [B].
Only the tokens that can still change are computed, and those that do are drawn, in float64.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.checks import check_at_least
from foundation.errors import UserError
from foundation.returned import check_returned
from foundation.sampler import OnStep, Sampler, check_steps, ignore_step
from sedd.draws import Draws, Generators
from sedd.graph import Absorb, Graph, check_masks
from sedd.mask_scores import MaskScores
from sedd.noise import Noise
from sedd.score_net import ScoreFn, scores_at
from sedd.step_probs import analytic_probs, denoise_probs, euler_probs, warp


def time_grid(
    steps: int, eps: float = 1e-5, device: torch.device | None = None
) -> tuple[Tensor, float]:
    """Return steps + 1 even times from 1 down to eps, and the distance between them."""
    return torch.linspace(1, eps, steps + 1, dtype=torch.float64, device=device), (1 - eps) / steps


@dataclass(frozen=True)
class TokenSampler(Sampler):
    """Draw tokens from noise with a network's scores.

    Args:
        steps: network calls; more are slower and closer to the network's law
        temperature: below 1 keeps to likelier tokens
        top_p: draw from the likeliest tokens that together have this probability
    """

    steps: int = 128
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise UserError(
                "temperature must be above 0 and top_p in (0, 1], "
                f"got {self.temperature} and {self.top_p}"
            )

    @abstractmethod
    def reverse(
        self,
        score_fn: ScoreFn,
        graph: Graph,
        noise: Noise,
        x: Tensor,
        free: Tensor,
        draws: Draws,
        on_step: OnStep,
    ) -> Tensor:
        """Bring x [B, K, L] from noise to data where free [B, K, L] is true; x may be changed."""

    def check(self, graph: Graph) -> None:
        """Raise UserError for a graph that this sampler can't sample."""

    @torch.no_grad()
    def sample(
        self,
        score_fn: ScoreFn,
        graph: Graph,
        noise: Noise,
        tokens: Tensor,
        keep: Tensor,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Sample what is not kept of tokens [B, K, L], given what keep [B, K, L] says to keep.

        `generator` is one for all clips, or a list of one for each, on the tokens' device.
        """
        self.check(graph)
        check_kept(tokens, keep, graph)
        draws = Draws(generator, len(tokens), tokens.device)
        x = torch.where(keep, tokens, draws.limit(graph, *tokens.shape[1:]))
        made = self.reverse(score_fn, graph, noise, x, ~keep, draws, on_step)
        check_returned(self, "reverse", made, tokens.shape)
        return made

    def jumps(self, score_fn: ScoreFn, x: Tensor, where: Tensor, sigma: Tensor) -> Tensor:
        """Compute log scores [P, V] of the P tokens of x [B, K, L] where `where` is true."""
        log_score = scores_at(score_fn, x, sigma.expand(len(x)).float(), where).double()
        return warp(log_score, x[where], self.temperature, self.top_p)


def check_clean(sampler: TokenSampler, made: Tensor, codebook_size: int) -> None:
    """Raise UserError where a sampler returned masks, or no tokens [B, K, L] at all."""
    if made.dtype != torch.int64 or (made < 0).any() or (made >= codebook_size).any():
        raise UserError(
            f"{type(sampler).__name__}.reverse must return int64 tokens from 0 to "
            f"{codebook_size - 1}, and leave those that aren't free; got {made.dtype} from "
            f"{made.min():g} to {made.max():g} (docs/extending.md)"
        )


@dataclass(frozen=True)
class Stepwise(TokenSampler):
    """Steps in time, even or spaced by a cosine, then a last one to the clean tokens.

    Args:
        steps: of time, and as many network calls at most, and one more to denoise
        temperature: below 1 keeps to likelier tokens
        top_p: draw from the likeliest tokens that together have this probability
        eps: the time at which the steps end
        denoise: draw the clean tokens at the end
        cosine: space times by a cosine (Shi et al. 2024, arXiv:2406.04329): closely near the noise,
            where each token decides much, and widely near the end
    """

    eps: float = 1e-5
    denoise: bool = True
    cosine: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.eps < 1:
            raise UserError(f"eps must lie between 0 and 1, got {self.eps}; the default is 1e-5")

    @abstractmethod
    def probs(
        self, graph: Graph, noise: Noise, x: Tensor, log_score: Tensor, t: Tensor, step: float
    ) -> Tensor:
        """Weights [P, V] of a step from x [P] with log scores [P, V] at time t to t - step."""

    def pace(self, noise: Noise, t: Tensor, step: float) -> Tensor | None:
        """Return a, where a step turns a mask into a code with weight a times the code's score.

        It stays a mask with what is left of 1. None if steps aren't of this form: then `probs`
        alone says what they are.
        """
        return None

    def reverse(
        self,
        score_fn: ScoreFn,
        graph: Graph,
        noise: Noise,
        x: Tensor,
        free: Tensor,
        draws: Draws,
        on_step: OnStep,
    ) -> Tensor:
        times, _ = time_grid(self.steps, self.eps, x.device)
        times = torch.sin(math.pi / 2 * times) if self.cosine else times
        masks = MaskScores(score_fn, graph.codebook_size)
        for i, t in enumerate(times[:-1]):
            where, sigma, step = free & graph.movable(x), noise.sigma(t), float(t - times[i + 1])
            pace = self.pace(noise, t, step) if type(graph) is Absorb else None
            if pace is not None:
                self._unmask(masks, x, where, sigma, pace, draws)
            elif where.any():
                log_score = self.jumps(score_fn, x, where, sigma)
                probs = self.probs(graph, noise, x[where], log_score, t, step)
                x[where] = draws.categorical(probs.clamp(min=0), where)
            on_step(i + 1, self.steps)
        where = free & graph.movable(x)
        if self.denoise and where.any():
            sigma = noise.sigma(times[-1])
            log_score = self.jumps(score_fn, x, where, sigma)
            probs = denoise_probs(graph, x[where], log_score, sigma.expand(len(log_score)))
            x[where] = draws.categorical(probs.clamp(min=0), where)
        return x

    def _unmask(
        self, masks: MaskScores, x: Tensor, where: Tensor, sigma: Tensor, pace: Tensor, draws: Draws
    ) -> None:
        """Draw which masks leave, then what they become: the law of one draw over all states."""
        # also where no mask is left: a clip's random stream must not depend on the other clips
        uniform = draws.uniform(*x.shape[1:])
        leaving = where & (uniform < pace * masks.total(x, where, sigma))
        changed = bool(leaving.any())
        if changed:
            log_score = masks.at(x, leaving, sigma).double()
            log_score = warp(log_score, x[leaving], self.temperature, self.top_p)
            x[leaving] = draws.categorical(log_score[:, : masks.codebook_size].exp(), leaving)
        masks.forget(changed)


@dataclass(frozen=True)
class Analytic(Stepwise):
    """Tweedie steps, exact for the score at their start (Lou et al. 2024, eq. 19)."""

    def probs(
        self, graph: Graph, noise: Noise, x: Tensor, log_score: Tensor, t: Tensor, step: float
    ) -> Tensor:
        dsigma = noise.sigma(t) - noise.sigma(t - step)
        return analytic_probs(graph, x, log_score, dsigma.expand(len(x)))

    def pace(self, noise: Noise, t: Tensor, step: float) -> Tensor:
        return torch.expm1(noise.sigma(t) - noise.sigma(t - step))


@dataclass(frozen=True)
class Euler(Stepwise):
    """Euler steps of the reversed process (Lou et al. 2024, section 4.2)."""

    def probs(
        self, graph: Graph, noise: Noise, x: Tensor, log_score: Tensor, t: Tensor, step: float
    ) -> Tensor:
        return euler_probs(graph, x, log_score, step * noise.rate(t))

    def pace(self, noise: Noise, t: Tensor, step: float) -> Tensor:
        return step * noise.rate(t)


@dataclass(frozen=True)
class FirstHitting(TokenSampler):
    """Unmask token by token at the times the process would (Zheng et al. 2024, arXiv:2409.02908).

    Exact with as many steps as tokens; with fewer, several tokens share a network call.

    Args:
        steps: network calls at most; as many as there are tokens are enough
        temperature: below 1 keeps to likelier tokens
        top_p: draw from the likeliest tokens that together have this probability
        coarse_first: how far each codebook waits for the one before it: at 0 all are filled alike,
            at 1 and more one after the other, in between they overlap
    """

    coarse_first: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, coarse_first=self.coarse_first)

    def check(self, graph: Graph) -> None:
        check_masks(graph, "FirstHitting", "use Analytic or Euler")

    def reverse(
        self,
        score_fn: ScoreFn,
        graph: Graph,
        noise: Noise,
        x: Tensor,
        free: Tensor,
        draws: Draws,
        on_step: OnStep,
    ) -> Tensor:
        masked = free & graph.movable(x)
        per_clip = masked.flatten(1).sum(1)
        calls = min(self.steps, int(per_clip.max()))
        quota = -(-per_clip // max(calls, 1))  # tokens a call, for each clip
        one = torch.ones(len(x), dtype=torch.float64, device=x.device)
        fraction = -torch.expm1(-noise.sigma(one))
        rank = self.ranks(masked, draws)
        for done in range(calls):
            if not masked.any():
                break
            left = masked.flatten(1).sum(1)
            fraction = next_fraction(fraction, left, draws)
            now = masked & (rank < (done + 1) * quota[:, None, None])
            sigma = -torch.log1p(-fraction.clamp(max=1 - 1e-9))
            probs = self.jumps(score_fn, x, now, sigma)[:, : graph.codebook_size].exp()
            x[now] = draws.categorical(probs, now)
            masked &= ~now
            for extra in range(1, int(quota.max())):  # the other tokens pass their own times too
                later = next_fraction(fraction, left - extra, draws)
                more = (quota > extra) & (left > extra)
                fraction = torch.where(more, later, fraction)
            on_step(done + 1, calls)
        return x

    def ranks(self, masked: Tensor, draws: Draws) -> Tensor:
        """Draw the order [B, K, L] in which what is masked [B, K, L] gets tokens, from 0."""
        waits = self.coarse_first * torch.arange(masked.shape[1], device=masked.device)
        order = draws.uniform(*masked.shape[1:]) + waits[:, None]
        order = order.masked_fill(~masked, math.inf).flatten(1)
        return order.argsort(1).argsort(1).view_as(masked)


def next_fraction(fraction: Tensor, masks: Tensor, draws: Draws) -> Tensor:
    """Draw the masked fraction [B] at which the next of so many masks [B] goes: times u^(1/n)."""
    return fraction * draws.uniform() ** (1 / masks.clamp(min=1))


def check_kept(tokens: Tensor, keep: Tensor, graph: Graph) -> None:
    """Raise UserError unless tokens and keep are grids of one shape and kept tokens are codes."""
    if tokens.dim() != 3 or not tokens.numel():
        raise UserError(f"tokens must be [batch, codebooks, length], got {list(tokens.shape)}")
    if keep.dtype != torch.bool or keep.shape != tokens.shape:
        raise UserError(
            f"keep must be booleans of the tokens' shape {list(tokens.shape)}, "
            f"got {keep.dtype} of shape {list(keep.shape)}"
        )
    kept = tokens[keep]
    if ((kept < 0) | (kept >= graph.codebook_size)).any():
        raise UserError(
            f"kept tokens must be from 0 to {graph.codebook_size - 1}, got {int(kept.min())} to "
            f"{int(kept.max())}; was the prompt encoded by another codec?"
        )
