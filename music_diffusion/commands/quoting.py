"""Names with spaces that a shell cut into words, and what of them to quote."""

import os
from collections.abc import Sequence

from foundation.files import printable
from music_diffusion.commands.runs import BASE, NEWEST


def is_option(word: str) -> bool:
    return word.startswith("--") or word in ("-c", "-h")


def hint(quoted: str) -> str:
    """Return the end of a message about a word that may be a part of a name."""
    return f"quote what has spaces: {printable(quoted)}"


def to_quote(args: Sequence[str], at: int) -> str:
    """Return the words around a place as they may be meant: --prompt 'my old song.wav'."""
    name, values = around(args, at)
    quoted = [f"'{value}'" for value in values if " " in value] or [f"'{args[at]}'"]
    return " ".join([name, *quoted] if name and " " in values[0] else quoted)


def is_cut(args: Sequence[str], at: int) -> bool:
    """Say whether a word is no file itself, but a part of the name of one that is there."""
    word, (_, values) = args[at], around(args, at)
    names = (value.split(" ") for value in values if " " in value and is_there(value))
    return not is_there(word) and any(word in name for name in names)


def around(args: Sequence[str], at: int) -> tuple[str, list[str]]:
    """Return the option before a place, or "", and the words around it joined to values."""
    start, end = at, at + 1
    while start > 0 and not is_option(args[start - 1]):
        start -= 1
    while end < len(args) and not is_option(args[end]):
        end += 1
    name, equals, first = args[start - 1].partition("=") if start else ("", "", "")
    return name, values_of([first, *args[start:end]] if equals else list(args[start:end]))


def values_of(words: list[str]) -> list[str]:
    """Join words to values: the longest that are there, or are known by name.

    What is none belongs together, up to a word that is.
    """
    if not words:
        return []
    found = (n for n in range(len(words), 0, -1) if is_there(" ".join(words[:n])))
    count = next(found, None) or next(
        (n for n in range(1, len(words)) if is_there(words[n])), len(words)
    )
    return [" ".join(words[:count]), *values_of(words[count:])]


def is_there(value: str) -> bool:
    return value in (*NEWEST, *BASE) or os.path.exists(os.path.expanduser(value))
