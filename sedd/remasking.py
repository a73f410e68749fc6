"""A sampler that takes tokens back: ReMDM (Wang et al. 2025, arXiv:2503.00307)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.errors import UserError
from foundation.sampler import OnStep
from sedd.draws import Draws
from sedd.graph import Graph, check_masks
from sedd.noise import Noise
from sedd.samplers import TokenSampler
from sedd.score_net import ScoreFn


@dataclass(frozen=True)
class ReMDM(TokenSampler):
    """In each step some tokens become masks again, so that early mistakes can be corrected.

    As many masks more are filled, so that the masked fraction at each time stays the noise's. With
    few steps this costs tokens that were right; it gains from steps beyond the number of tokens.

    Args:
        steps: network calls; more are slower and closer to the network's law
        temperature: below 1 keeps to likelier tokens
        top_p: draw from the likeliest tokens that together have this probability
        cap: the greatest probability of a token to be masked again in a step
        rescale: that probability as a share of the greatest that the masked fraction allows
        loop: share of the steps that hold the masked fraction while tokens are masked again and
            refilled; no token is in the others. At 0 tokens are masked again in all steps
        loop_time: the time at which it is held
        cosine: space times by a cosine, closely where most is masked
    """

    cap: float = 0.02
    rescale: float = 1.0
    loop: float = 0.0
    loop_time: float = 0.1
    cosine: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cap", "rescale"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.loop < 1 or not 0 < self.loop_time < 1:
            raise UserError(
                "loop must be in [0, 1) and loop_time between 0 and 1, "
                f"got {self.loop} and {self.loop_time}"
            )

    def check(self, graph: Graph) -> None:
        check_masks(graph, "ReMDM", "use Analytic or Euler")

    def times(self) -> list[float]:
        """List the falling times that steps run between, from 1 to 0; in a loop two are equal."""
        held = min(int(self.loop * self.steps), self.steps - 2)
        count = self.steps + 1 if held < 1 else self.steps - held
        grid = torch.linspace(1, 0, count, dtype=torch.float64)
        grid = torch.sin(math.pi / 2 * grid) if self.cosine else grid
        if held < 1:
            return grid.tolist()
        before, after = grid[grid > self.loop_time], grid[grid < self.loop_time]
        return [*before.tolist(), *[self.loop_time] * (held + 1), *after.tolist()]

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
        times = self.times()
        for i, (t, s) in enumerate(zip(times, times[1:], strict=False)):
            sigma = noise.sigma(torch.tensor(t, dtype=torch.float64, device=x.device))
            clean = float(torch.exp(-sigma))
            cleaner = float(torch.exp(-noise.sigma(torch.tensor(s, dtype=torch.float64))))
            again = self.again(clean, cleaner) if s and (t == s or not self.loop) else 0.0
            leaving = (cleaner - (1 - again) * clean) / (1 - clean) if s else 1.0
            uniform, masked = draws.uniform(*x.shape[1:]), free & graph.movable(x)
            filled = masked & (uniform < leaving)
            if filled.any():
                probs = self.jumps(score_fn, x, filled, sigma)[:, : graph.codebook_size].exp()
                x[filled] = draws.categorical(probs, filled)
            x = torch.where(
                free & ~masked & (uniform < again), graph.sample_limit((1,), device=x.device), x
            )
            on_step(i + 1, len(times) - 1)
        return x

    def again(self, clean: float, cleaner: float) -> float:
        """Return how likely a token is masked again, from a clean fraction to a greater one."""
        greatest = min(1.0, (1 - cleaner) / clean)
        return min(self.cap, self.rescale * greatest)
