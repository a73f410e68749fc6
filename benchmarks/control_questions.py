"""Questions to clips: is what is heard in them what was asked for?"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.heard import Classifier, Heard
from foundation.control import Control
from foundation.musical_key import key_number
from metrics.describe import TAGS
from metrics.tempo import octaves_apart
from music_diffusion.studio.votes import wilson

NEAR = 0.04  # of a tempo
RELATIVE, FIFTH, OCTAVE = 3, 7, 12  # semitones


class Question(ABC):
    """One thing that is asked for, and how clips answer.

    Attributes:
        name: of its row
        values: what is asked for
    """

    name: str
    values: list[str]

    @abstractmethod
    def control(self, value: str, guidance: float) -> Control:
        """Ask a model for a value."""

    @abstractmethod
    def agree(self, heard: Heard, asked: Sequence[str]) -> Tensor:
        """Say of each clip whether it is what was asked for [B]."""

    def looser(self) -> "Question | None":
        """Return a looser reading of the same question, if there is one."""
        return None


@dataclass(eq=False)
class Label(Question):
    """A field of labels, judged by a classifier of real clips."""

    name: str
    values: list[str]
    classifier: Classifier

    def control(self, value: str, guidance: float) -> Control:
        return Control({self.name: value}, guidance=guidance)

    def agree(self, heard: Heard, asked: Sequence[str]) -> Tensor:
        found = self.classifier(heard.vectors)
        return torch.tensor([a == b for a, b in zip(found, asked, strict=True)])


@dataclass(eq=False)
class Tag(Question):
    """Much or nothing of tags: more of it than the median of all clips has, or less."""

    name: str
    values: list[str]  # "piano=1", "piano=0", …

    def control(self, value: str, guidance: float) -> Control:
        return Control(tags=value, guidance=guidance)

    def agree(self, heard: Heard, asked: Sequence[str]) -> Tensor:
        more = heard.tags > heard.tags.median(0).values
        pairs = [value.split("=") for value in asked]
        found = [bool(row[TAGS.index(tag)]) for row, (tag, _) in zip(more, pairs, strict=True)]
        much = [amount == "1" for _, amount in pairs]
        return torch.tensor([a == b for a, b in zip(found, much, strict=True)])

    def more_or_less(self, heard: Heard) -> tuple[list[int], list[str]]:
        """Ask of clips what each is itself, for each tag: their numbers and values."""
        tags = list(dict.fromkeys(value.split("=")[0] for value in self.values))
        more = heard.tags > heard.tags.median(0).values
        asked = [f"{tag}={int(row[TAGS.index(tag)])}" for tag in tags for row in more]
        return [*range(len(more))] * len(tags), asked


@dataclass(eq=False)
class Tempo(Question):
    """The tempo within 4 %; with `octaves`, halves and doubles of it as well."""

    name: str
    values: list[str]
    octaves: bool = False

    def control(self, value: str, guidance: float) -> Control:
        return Control(tempo=float(value), guidance=guidance)

    def agree(self, heard: Heard, asked: Sequence[str]) -> Tensor:
        wanted = torch.tensor([float(value) for value in asked])
        apart = torch.log2(heard.tempo / wanted).abs()
        apart = octaves_apart(heard.tempo, wanted) if self.octaves else apart
        return apart <= math.log2(1 + NEAR)  # not for NaN

    def looser(self) -> "Tempo":
        return Tempo("tempo, its half or double", self.values, True)


@dataclass(eq=False)
class Key(Question):
    """The key; with `related`, its relative, its parallel and those a fifth away as well."""

    name: str
    values: list[str]
    related: bool = False

    def control(self, value: str, guidance: float) -> Control:
        return Control(key=value, guidance=guidance)

    def agree(self, heard: Heard, asked: Sequence[str]) -> Tensor:
        pairs = zip(heard.key.tolist(), map(key_number, asked), strict=True)
        near = related if self.related else int.__eq__
        return torch.tensor([bool(near(found, wanted)) for found, wanted in pairs])

    def looser(self) -> "Key":
        return Key("key, or a related one", self.values, True)


def related(found: int, wanted: int) -> bool:
    """Say whether two of KEYS are the same or nearly related; -1 is none."""
    apart = (found - wanted) % OCTAVE
    if (found < OCTAVE) == (wanted < OCTAVE):
        return found >= 0 and apart in (0, FIFTH, OCTAVE - FIFTH)
    return found >= 0 and apart in (0, OCTAVE - RELATIVE if found >= OCTAVE else RELATIVE)


@dataclass(frozen=True)
class Agreement:
    """How many clips are what was asked for, and the share by chance."""

    agreeing: int
    count: int
    chance: float

    def __str__(self) -> str:
        if not self.count:
            return "-"
        low, high = wilson(self.agreeing, self.count)
        share = self.agreeing / self.count
        return f"{share:.2f} ({low:.2f} to {high:.2f}) of {self.count}"


def agreement(
    question: Question, heard: Heard, asked: Sequence[str], value: str | None = None
) -> Agreement:
    """Count the clips that are what was asked for, of all or of those asked for one value.

    By chance agree as many as do when each clip is compared with what each clip was asked for.
    """
    agree = question.agree(heard, asked)
    chosen = [number for number, one in enumerate(asked) if value in (None, one)]
    shares = {
        one: question.agree(heard, [one] * len(asked)).double().mean().item()
        for one in {asked[number] for number in chosen}
    }
    chance = sum(shares[asked[number]] for number in chosen) / max(1, len(chosen))
    return Agreement(int(agree[chosen].sum()), len(chosen), chance)
