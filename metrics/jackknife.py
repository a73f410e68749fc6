"""Intervals of scores: how far they move when each group of files is left out in turn."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

GROUPS = 8
STUDENT = 2.365  # 97.5 % point of Student's t with GROUPS - 1 degrees of freedom


def groups_of(counts: list[int]) -> Tensor | None:
    """Return the group [N] of each vector where files gave `counts`; None for fewer than 8 files.

    Vectors of one file aren't independent, so that a file is in one group.
    """
    if len(counts) < GROUPS:
        return None
    group = torch.arange(len(counts)).remainder(GROUPS)
    return group.repeat_interleave(torch.tensor(counts))


def margin(score_without: Callable[[int], float]) -> float:
    """Return half the 95 % interval of a score from its values without each group."""
    without = [score_without(left_out) for left_out in range(GROUPS)]
    spread = torch.tensor(without, dtype=torch.float64).var(correction=0).item()
    return STUDENT * math.sqrt((GROUPS - 1) * spread)
