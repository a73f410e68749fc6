"""Noise schedules of SEDD: the total noise sigma(t) at a time t in [0, 1], and its rate."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.errors import UserError


class Noise(ABC):
    """Total noise sigma(t), which grows from about 0 at t = 0, and its derivative."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Return the total noise at times [B]."""

    @abstractmethod
    def rate(self, t: Tensor) -> Tensor:
        """Return d sigma / dt at times [B]."""


@dataclass(frozen=True)
class LogLinear(Noise):
    """Masked fraction 1 - exp(-sigma) grows linearly in t (Lou et al. 2024, arXiv:2310.16834)."""

    eps: float = 1e-3  # fraction left clean at t = 1, keeps sigma finite

    def __post_init__(self) -> None:
        if not 0 < self.eps < 1:
            raise UserError(f"eps must lie between 0 and 1, got {self.eps}; try 1e-3")

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.log1p(-(1 - self.eps) * t)

    def rate(self, t: Tensor) -> Tensor:
        return (1 - self.eps) / (1 - (1 - self.eps) * t)


@dataclass(frozen=True)
class Geometric(Noise):
    """sigma runs from sigma_min to sigma_max, its logarithm linear in t (Lou et al. 2024)."""

    sigma_min: float = 1e-4
    sigma_max: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise UserError(
                f"expected 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}"
            )

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min ** (1 - t) * self.sigma_max**t

    def rate(self, t: Tensor) -> Tensor:
        return self.sigma(t) * self._log_ratio
