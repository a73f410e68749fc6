"""What a user asks a model for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from foundation.errors import UserError
from foundation.musical_key import KEYS, key_number

GUIDANCE = 2.0


@dataclass(frozen=True)
class Control:
    """What the music is to be like; what isn't said is left to the model.

        model.generate(10, cond=Control(tags="piano=1, drums=0", tempo=120, key="A minor"))

    Args:
        label: a label such as "jazz", or of several fields "genre=jazz, mood=calm", or by field
        tags: how much of each tag, from 0 (none) to 1 (as the music that has most of it), as
            "piano=1, drums=0" or by tag
        tempo: in beats a minute
        key: such as "A minor" or "F# major"
        guidance: how much to rely on all this: 1 is what training saw, more exaggerates it, 0
            leaves it out

    Raises:
        UserError: for what can't be read, and values out of range
    """

    label: str | Mapping[str, str] | None = None
    tags: str | Mapping[str, float] | None = None
    tempo: float | None = None
    key: str | None = None
    guidance: float = GUIDANCE
    labels: Mapping[str, str] = field(init=False, repr=False)  # by field, "" for any
    amounts: Mapping[str, float] = field(init=False, repr=False)  # by tag

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", read_labels(self.label))
        object.__setattr__(self, "amounts", read_tags(self.tags))
        if self.tempo is not None and not 10 <= self.tempo <= 1000:
            raise UserError(f"tempo must be 10 to 1000 beats a minute, got {self.tempo}")
        if self.key is not None:
            object.__setattr__(self, "key", KEYS[key_number(self.key)])
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise UserError(f"guidance must be at least 0, got {self.guidance}")

    @property
    def asks(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.labels or self.amounts) or not (self.tempo is None and self.key is None)


def read_labels(label: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return labels by field, that of "" where only a value is given."""
    if not isinstance(label, str):
        return {str(name): str(value) for name, value in (label or {}).items()}
    if "=" not in label:
        return {"": label.strip()}
    return dict(pairs(label, "label"))


def read_tags(tags: str | Mapping[str, float] | None) -> dict[str, float]:
    """Return amounts by tag; a tag alone counts as 1."""
    written = pairs(tags, "tags") if isinstance(tags, str) else list((tags or {}).items())
    amounts = {}
    for name, text in written:
        try:
            amounts[str(name)] = float(text)
        except (TypeError, ValueError):
            amounts[str(name)] = math.nan
        if not 0 <= amounts[str(name)] <= 2:
            raise UserError(f"tags {name} must be from 0 to 1 (2 at most), got {text!r}")
    return amounts


def pairs(text: str, what: str) -> list[tuple[str, str]]:
    """Read "name=value, name=value"; a value that is left out is 1 in tags."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, given, value = (piece.strip() for piece in part.partition("="))
        if not name or (given and not value) or (not given and what != "tags"):
            raise UserError(f"{what} must be like 'name=value, name=value', got {text!r}")
        found.append((name, value or "1"))
    return found
