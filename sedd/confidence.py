"""A sampler that fills the masks it is surest of first."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.checks import check_at_least
from foundation.sampler import OnStep
from sedd.draws import Draws
from sedd.graph import Graph, check_masks
from sedd.noise import Noise
from sedd.samplers import TokenSampler
from sedd.score_net import ScoreFn


@dataclass(frozen=True)
class ConfidenceOrder(TokenSampler):
    """In each step the masks whose likeliest token is surest are filled (MaskGIT, 2202.04200).

    MaskGIT ranks drawn tokens by their own probabilities, which prefers likely ones whatever the
    steps. Here laws are ranked before anything is drawn, so that with as many steps as tokens the
    samples are exact, as those of any order are.

    Args:
        steps: network calls at most; as many as there are tokens are enough
        temperature: below 1 keeps to likelier tokens
        top_p: draw from the likeliest tokens that together have this probability
        order_noise: scale of the Gumbel noise on log confidences at the start, from which it falls
            to 0; the greater, the more random the order
        cosine: fill few masks in the first steps and many in the last
    """

    order_noise: float = 1.0
    cosine: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, order_noise=self.order_noise)

    def check(self, graph: Graph) -> None:
        check_masks(graph, "ConfidenceOrder", "use Analytic or Euler")

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
        total = masked.flatten(1).sum(1)  # [B]
        calls = min(self.steps, int(total.max()))
        most = -torch.expm1(-noise.sigma(torch.ones(1, dtype=torch.float64, device=x.device)))
        for done in range(calls):
            left = masked.flatten(1).sum(1)
            fraction = most * left / total.clamp(min=1)
            sigma = -torch.log1p(-fraction.clamp(max=1 - 1e-4))
            probs = self.jumps(score_fn, x, masked, sigma)[:, : graph.codebook_size].softmax(-1)
            spread = self.order_noise * (1 - done / calls)
            uniform = draws.uniform(*x.shape[1:]).clamp(1e-12, 1 - 1e-12)
            sureness = -spread * torch.log(-torch.log(uniform))
            sureness[masked] += probs.amax(-1).log()
            now = masked & first(sureness, masked, left - self.left(total, left, done + 1, calls))
            x[now] = draws.categorical(probs[now[masked]], now)
            masked &= ~now
            on_step(done + 1, calls)
        return x

    def left(self, total: Tensor, left: Tensor, done: int, calls: int) -> Tensor:
        """Return how many masks [B] of `total` [B] are left after `done` calls, at least one fewer.

        `left` [B] are there before the last of them.
        """
        part = math.cos(math.pi / 2 * done / calls) if self.cosine else 1 - done / calls
        wanted = (total * part).floor().long() if done < calls else torch.zeros_like(total)
        return torch.minimum(wanted, (left - 1).clamp(min=0))


def first(values: Tensor, where: Tensor, counts: Tensor) -> Tensor:
    """Mark the `counts` [B] greatest values [B, K, L] of each example `where` it is true."""
    order = values.masked_fill(~where, -math.inf).flatten(1).argsort(1, descending=True)
    return (order.argsort(1) < counts[:, None]).view_as(where)
