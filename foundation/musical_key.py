"""The 24 keys by name."""

import re

from foundation.errors import UserError

NAMES = ("A", "A#", "B", "C", "C#", "D", "D#", "E", "F", "F#", "G", "G#")  # as pitch classes count
MODES = ("major", "minor")
KEYS = tuple(f"{name} {mode}" for mode in MODES for name in NAMES)
WRITTEN = re.compile(r"([A-Ga-g])\s*([#b♯♭]?)\s*(major|minor|maj|min|m|)", re.IGNORECASE)
SHIFT = {"#": 1, "♯": 1, "b": -1, "♭": -1}


def key_number(text: str) -> int:
    """Return the place in KEYS of a key such as "A minor", "Bb", "f# min" or "Am".

    Raises:
        UserError: for what is no key
    """
    written = WRITTEN.fullmatch(text.strip())
    if written is None:
        raise UserError(f"there is no key {text!r}: write it as 'C major', 'F# minor' or 'Bbm'")
    note, sign, mode = written.groups()
    number = (NAMES.index(note.upper()) + SHIFT.get(sign.lower(), 0)) % 12
    minor = mode == "m" or mode.lower() in ("minor", "min")
    return number + 12 * minor
