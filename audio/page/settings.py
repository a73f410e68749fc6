"""What the JSON file beside a clip says of it: settings, the model, the part that was made."""

import json
import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """The part of a clip that a model made, in seconds; `how` is regenerated or continued."""

    start: float
    stop: float
    how: str

    def __str__(self) -> str:
        return f"{self.how} from {self.start:.2f} to {self.stop:.2f} s"


def settings_of(path: Path) -> object:
    """Return what the JSON file beside a clip holds; None if there is none."""
    try:
        return json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError, RecursionError):
        return None


def entry(content: object, *names: str) -> object:
    """Return what lies in dicts under names; None where it isn't so."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def part_of(content: object, seconds: float) -> Part | None:
    """Return the part of a clip of so many seconds that is not of the file it began with."""
    repaired = entry(content, "settings", "regenerate")
    if isinstance(repaired, list) and len(repaired) == 2:
        return _part(repaired[0], repaired[1], "regenerated")
    return _part(entry(content, "made", "continued_from"), seconds, "continued")


def _part(start: object, stop: object, how: str) -> Part | None:
    if type(start) not in (int, float) or type(stop) not in (int, float):
        return None
    assert isinstance(start, int | float) and isinstance(stop, int | float)
    return Part(start, stop, how) if 0 <= start < stop < math.inf else None
