"""How long encoding will take, from how long it took so far."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ENOUGH = 30.0  # seconds of work before which nothing is estimated


class Estimate:
    """The time that is left of work on files, which is taken to grow with their bytes."""

    def __init__(self, paths: Sequence[Path], clock: Callable[[], float] = time.monotonic):
        sizes = [path.stat().st_size if path.exists() else 0 for path in paths]
        self.ends = np.cumsum(sizes)
        self.clock, self.begin = clock, clock()

    def hours_left(self, done: int) -> float:
        """Estimate the hours that the files after the first `done` take; 0 in the first seconds."""
        taken = self.clock() - self.begin
        worked, total = int(self.ends[done - 1]), int(self.ends[-1])
        if taken < ENOUGH or not worked:
            return 0.0
        return taken * (total - worked) / worked / 3600
