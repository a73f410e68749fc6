"""How far a song is: a bar in a terminal, and what calls of `on_step` are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from foundation.sampler import OnStep

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left"


@dataclass
class Progress:
    """The work of a song, counted apart from the bar: a file gets no bar, and its n stays 0."""

    total: float
    bar: tqdm
    on_step: OnStep
    done: float = 0.0

    @classmethod
    @contextmanager
    def of(cls, total: float, on_step: OnStep) -> Iterator["Progress"]:
        """Yield the progress of a song of so much work, with a bar where there is a terminal."""
        with tqdm(total=total, bar_format=BAR, disable=None) as bar:
            yield cls(total, bar, on_step)

    def describe(self, text: str) -> None:
        self.bar.set_description(text)

    def resume(self, work: float) -> None:
        """Count work that an earlier run has done, from which no time left is estimated."""
        self.done += work
        self.bar.n = self.bar.initial = self.done

    def advance(self, work: float) -> None:
        self.done += work
        self.bar.update(work)
        self.on_step(round(self.done), round(self.total))
