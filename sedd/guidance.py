"""Classifier-free guidance of tokens by conditions, on log scores.

The rates of the guided process are those with the conditions to the power of the scale, times those
without to one minus it (Nisonoff et al. 2024, arXiv:2406.01572, eq. 9).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.batch import Cond, beside_none
from sedd.objective import Objective
from sedd.score_net import Conditioned, PartScoreFn, ScoreFn, ScoreNet, scores_at


@dataclass(frozen=True)
class Guided(PartScoreFn):
    """Log scores moved away from those without conditions, with one network call of batch 2 B.

    `score_fn` scores B examples with conditions and after them the same B without. How often a
    token jumps stays as it is with the conditions: `scale` changes where it jumps to.
    """

    score_fn: ScoreFn
    scale: float

    @property
    def normalised(self) -> bool:
        return isinstance(self.score_fn, PartScoreFn) and self.score_fn.normalised

    @property
    def time_independent(self) -> bool:
        return isinstance(self.score_fn, PartScoreFn) and self.score_fn.time_independent

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        told, untold = self.score_fn(torch.cat([x, x]), torch.cat([sigma, sigma])).chunk(2)
        return self._moved(told, untold, x)

    def at(self, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
        twice = (torch.cat([part, part]) for part in (x, sigma, where))
        told, untold = scores_at(self.score_fn, *twice).chunk(2)
        return self._moved(told, untold, x[where])

    def _moved(self, told: Tensor, untold: Tensor, x: Tensor) -> Tensor:
        moved = untold.lerp(told, self.scale)
        excess = self._total(moved, x) - self._total(told, x)
        return (moved - excess).scatter(-1, x[..., None], 0)

    def _total(self, log_score: Tensor, x: Tensor) -> Tensor:
        """Return the log of how often a token x jumps at all [..., 1]."""
        return log_score.scatter(-1, x[..., None], -math.inf).logsumexp(-1, keepdim=True)


def guided(
    net: ScoreNet, objective: Objective, cond: Cond | None = None, scale: float = 1.0
) -> ScoreFn:
    """Return the log scores that samplers follow: plain ones at scale 1, without `cond` at 0."""
    if cond is None or scale in (0, 1):
        return objective.log_score(Conditioned(net, cond if scale else None))
    return Guided(objective.log_score(Conditioned(net, beside_none(cond))), scale)
