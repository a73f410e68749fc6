"""The contract of a sampler: options, and how far it is."""

from abc import ABC
from collections.abc import Callable

from foundation.errors import UserError

OnStep = Callable[[int, int], object]  # steps done, of how many


def ignore_step(done: int, total: int) -> None:
    """Stand in for a progress bar."""


class Sampler(ABC):
    """Draws samples with a trained network; a frozen dataclass whose fields are its options.

    `sedd.samplers.TokenSampler` and `jbdiff.samplers.LatentSampler` say what is drawn from what.
    A class of your own is named on the command line and in YAML by its class path, the project's
    by their short names: `--sampler FirstHitting --sampler.steps 64`.
    """

    steps: int


def check_steps(steps: int) -> None:
    """Raise UserError unless there is a step."""
    if steps < 1:
        raise UserError(f"a sampler's steps must be at least 1, got {steps}")
