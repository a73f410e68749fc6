"""Blind listening tests: random pairs or single clips, votes in a CSV file, and what they show."""

import csv
import math
import random
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foundation.checks import check_choice
from foundation.errors import UserError

KINDS = ("pairs", "ratings")
CHOICES = {"pairs": ("left", "right", "none"), "ratings": ("1", "2", "3", "4", "5")}
MOST = 200  # trials
NORMAL = 1.959964  # of a two-sided interval of 95 %
COLUMNS = ("time", "user", "test", "trial", "kind", "left", "right", "choice", "chosen")


@dataclass(frozen=True)
class Trial:
    """What is heard at once: references of clips, and the source (0 or 1) of each."""

    clips: tuple[str, ...]
    sources: tuple[int, ...]


@dataclass
class ListeningTest:
    """A listening test of one listener.

    Attributes:
        name: what the browser knows it by; it tells nothing of the clips
        kind: pairs or ratings
        sources: names of the two folders or models that are compared
        trials: in their random order
        choices: what was answered so far
    """

    name: str
    kind: str
    sources: tuple[str, str]
    trials: list[Trial]
    user: str = ""
    choices: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return len(self.choices) == len(self.trials)


class ListeningTests:
    """The listening tests of a studio; each vote is written to a file at once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lock = threading.Lock()
        self.tests: dict[str, ListeningTest] = {}

    def start(
        self,
        kind: str,
        sources: tuple[str, str],
        clips: tuple[Sequence[str], Sequence[str]],
        count: int,
        user: str = "",
        seed: int | None = None,
    ) -> ListeningTest:
        """Start a test of at most `count` trials with the clips of two sources.

        Raises:
            UserError: for a source without clips, and a count out of range
        """
        check_choice("kind", kind, KINDS)
        if not 1 <= count <= MOST:
            raise UserError(f"rounds must be between 1 and {MOST}, got {count}")
        for source, found in zip(sources, clips, strict=True):
            if not found:
                raise UserError(f"{source} holds no audio files")
        draw = random.Random(seed)
        trials = pairs(clips, count, draw) if kind == "pairs" else singles(clips, count, draw)
        test = ListeningTest(secrets.token_hex(8), kind, sources, trials, user)
        with self.lock:
            self.tests[test.name] = test
        return test

    def find(self, name: str) -> ListeningTest:
        """Return the test of this name; UserError if there is none."""
        if name not in self.tests:
            raise UserError("there is no such listening test: start one")
        return self.tests[name]

    def vote(self, name: str, trial: int, choice: str) -> ListeningTest:
        """Keep an answer to the trial that is next; the same answer sent twice counts once.

        Raises:
            UserError: for another answer than those of the test's kind
        """
        test = self.find(name)
        check_choice("choice", choice, CHOICES[test.kind])
        with self.lock:
            if trial == len(test.choices) and not test.is_over:
                self._write(test, trial, choice)
                test.choices.append(choice)
        return test

    def _write(self, test: ListeningTest, trial: int, choice: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{test.name}.csv"
        new = not path.exists()
        heard = test.trials[trial]
        left, right = (*heard.clips, "")[:2]
        row = (
            time.strftime("%Y-%m-%dT%H:%M:%S"), test.user, test.name, trial + 1, test.kind,
            left, right, choice, chosen(test, trial, choice),
        )  # fmt: skip
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(COLUMNS)
            writer.writerow([harmless(str(value)) for value in row])


def harmless(text: str) -> str:
    """Return a text that a spreadsheet takes for no formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def pairs(clips: tuple[Sequence[str], Sequence[str]], count: int, draw: random.Random) -> list:
    """Pair clips of the same name where there are some, else any; sides and order are random."""
    by_name = [{one.rpartition("/")[2]: one for one in found} for found in clips]
    both = sorted(by_name[0].keys() & by_name[1].keys())
    if both:
        found = [(by_name[0][name], by_name[1][name]) for name in both]
    else:
        longest = max(len(one) for one in clips)
        columns = [shuffled(one, draw) for one in clips]
        found = [(columns[0][i % len(columns[0])], columns[1][i % len(columns[1])])
                 for i in range(longest)]  # fmt: skip
    found = shuffled(found, draw)
    sides = balanced(count, draw)
    trials = []
    for i in range(count):
        pair, order = found[i % len(found)], (0, 1) if sides[i] else (1, 0)
        trials.append(Trial((pair[order[0]], pair[order[1]]), order))
    return trials


def singles(clips: tuple[Sequence[str], Sequence[str]], count: int, draw: random.Random) -> list:
    """Take as many clips of each source, in a random order."""
    columns = [shuffled(one, draw) for one in clips]
    trials = [
        Trial((columns[source][i % len(columns[source])],), (source,))
        for i in range(math.ceil(count / 2))
        for source in (0, 1)
    ]
    return shuffled(trials[:count], draw)


def balanced(count: int, draw: random.Random) -> list[bool]:
    """Return as many of each, in a random order."""
    return shuffled([bool(i % 2) for i in range(count)], draw)


def shuffled(values: Sequence, draw: random.Random) -> list:
    return draw.sample(list(values), len(values))


def chosen(test: ListeningTest, trial: int, choice: str) -> str:
    """Return the source that an answer prefers, or rates; "" for neither."""
    sources = test.trials[trial].sources
    if test.kind == "ratings":
        return test.sources[sources[0]]
    return "" if choice == "none" else test.sources[sources[("left", "right").index(choice)]]


def result(test: ListeningTest) -> dict:
    """Return what the answers so far show, with intervals of 95 %."""
    if test.kind == "ratings":
        return {"sources": [rated(test, source) for source in (0, 1)]}
    wins = [0, 0]
    for trial, choice in zip(test.trials, test.choices, strict=False):
        if choice != "none":
            wins[trial.sources[("left", "right").index(choice)]] += 1
    low, high = wilson(wins[0], sum(wins))
    return {
        "sources": [
            {"name": name, "wins": won} for name, won in zip(test.sources, wins, strict=True)
        ],
        "ties": len(test.choices) - sum(wins),
        "low": low,
        "high": high,
        "differs": not low <= 0.5 <= high,
    }


def rated(test: ListeningTest, source: int) -> dict:
    """Return the mean rating of a source and its interval, None of fewer than two ratings."""
    answers = zip(test.trials, test.choices, strict=False)
    values = [float(choice) for trial, choice in answers if trial.sources[0] == source]
    mean = sum(values) / len(values) if values else None
    made: dict = {"name": test.sources[source], "ratings": len(values), "mean": mean}
    if mean is None or len(values) < 2:
        return made | {"low": None, "high": None}
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    reach = NORMAL * math.sqrt(variance / len(values))
    return made | {"low": max(1.0, mean - reach), "high": min(5.0, mean + reach)}


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the score interval of 95 % of a binomial share (Wilson 1927, JASA 22:209).

    It stays within [0, 1] and holds for few trials; without any it is all of [0, 1].
    """
    if not trials:
        return 0.0, 1.0
    share, z = successes / trials, NORMAL
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    reach /= 1 + z**2 / trials
    return max(0.0, middle - reach), min(1.0, middle + reach)
