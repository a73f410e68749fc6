"""Scores of masked tokens for step samplers, asked of the network only where it has to be."""

import torch
from torch import Tensor

from sedd.score_net import PartScoreFn, ScoreFn, scores_at


class MaskScores:
    """The scores of masks under the absorbing graph, while a sampler runs.

    A mask turns into codes at a rate proportional to the sum of their scores. Of a normalised
    network the sum is known, 1 / expm1(sigma): which masks leave is drawn without a call, and only
    those that do need scores. Other networks are called for all masks; one that doesn't read the
    time is not called again before a token has changed (Sahoo et al. 2024, arXiv:2406.07524).
    """

    def __init__(self, score_fn: ScoreFn, codebook_size: int):
        self.score_fn, self.codebook_size = score_fn, codebook_size
        known = isinstance(score_fn, PartScoreFn)
        self.normalised = known and score_fn.normalised
        self.timeless = known and score_fn.time_independent
        self._known: tuple[Tensor, Tensor, Tensor] | None = None  # log scores, where, their scale

    def total(self, x: Tensor, where: Tensor, sigma: Tensor) -> Tensor:
        """Sum the codes' scores of the masks `where` of x [B, K, L], 0 elsewhere; or a scalar."""
        if self.normalised:
            return 1 / torch.expm1(sigma)
        total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
        if not where.any():
            return total
        log_score = self._of_all(x, where, sigma)[:, : self.codebook_size]
        return total.masked_scatter(where, log_score.logsumexp(-1).double().exp())

    def at(self, x: Tensor, where: Tensor, sigma: Tensor) -> Tensor:
        """Compute log scores [P, V] of the P masks `where`, among those that `total` summed."""
        if self._known is None:
            return scores_at(self.score_fn, x, sigma.expand(len(x)).float(), where)
        asked = self._known[1]
        return self._of_all(x, asked, sigma)[where[asked]]

    def forget(self, changed: bool) -> None:
        """Ask the network anew at the next step, unless it wouldn't answer otherwise."""
        if changed or not self.timeless:
            self._known = None

    def _of_all(self, x: Tensor, where: Tensor, sigma: Tensor) -> Tensor:
        scale = torch.log(torch.expm1(sigma))
        if self._known is None:
            log_score = scores_at(self.score_fn, x, sigma.expand(len(x)).float(), where)
            self._known = log_score, where, scale
        log_score, _, before = self._known
        return log_score + (before - scale).to(log_score)
