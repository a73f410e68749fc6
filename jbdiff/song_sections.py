"""What the parts of a song are to be like: `sections` of its settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from foundation.control import Control
from foundation.errors import UserError

FROM, TO = "from", "to"
NAMES = (FROM, TO, "label", "tags", "tempo", "key", "guidance")
EXAMPLE = "{from: 0, to: 10, tags: {piano: 1}}"


@dataclass(frozen=True)
class Section:
    """What is asked for from `start` to `stop`, in seconds of the song."""

    start: float
    stop: float
    control: Control


def read_sections(plain: Sequence[Mapping[str, object]] | None) -> list[Section]:
    """Read sections in their order; one without `to` reaches to the next one, or the song's end.

    Raises:
        UserError: for what isn't like EXAMPLE, and for sections that overlap
    """
    starts = [_number(part, FROM, i, math.nan) for i, part in enumerate(plain or (), 1)]
    made = []
    for i, (part, start, following) in enumerate(
        zip(plain or (), starts, [*starts, math.inf][1:], strict=True), 1
    ):
        stop = _number(part, TO, i, following)
        if not 0 <= start < stop <= following:
            raise UserError(f"section {i}: it must begin at 0 or later and end after that, before "
                            f"the next one begins, got {start:g} to {stop:g}")  # fmt: skip
        asked = {name: value for name, value in part.items() if name not in (FROM, TO)}
        try:
            made.append(Section(start, stop, Control(**cast("dict", asked))))
        except (UserError, TypeError) as error:
            raise UserError(f"section {i}: {error}") from error
    return made


def _number(part: object, name: str, number: int, default: float) -> float:
    if not isinstance(part, Mapping) or set(part) - set(NAMES):
        raise UserError(f"section {number} must be like {EXAMPLE}, with some of {', '.join(NAMES)}")
    value = part.get(name, default)
    if name == FROM and name not in part or not isinstance(value, int | float):
        raise UserError(f"section {number}: {name} must be a number of seconds, as in {EXAMPLE}")
    return float(value)


def control_at(sections: Sequence[Section], seconds: float) -> Control | None:
    """Return what is asked for at a time of the song; None where nothing is."""
    inside = [part.control for part in sections if part.start <= seconds < part.stop]
    return inside[0] if inside else None
