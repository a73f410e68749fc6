"""Mistakes in options that are found before seconds of imports pass, and told in words.

Options are read from the source of what they belong to (`signature.py`). What isn't known here is
left to the parser.
"""

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from foundation.checks import refuse_address
from foundation.errors import MissingFileError, UserError
from foundation.files import printable, user_path
from music_diffusion.commands.help import is_many, required
from music_diffusion.commands.kinds import (
    BOOLS,
    NOTHING,
    expected,
    fits,
    is_flag,
    is_list,
    is_pair,
)
from music_diffusion.commands.quoting import hint, is_cut, is_option, to_quote
from music_diffusion.commands.runs import NO_CHECKPOINT, find_checkpoint
from music_diffusion.commands.signature import Option, Signature

ALWAYS = ("config", "trust", "help", "print_config")  # of every command
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
NUMBERS = re.compile(r"[^\s,\[\]()]+")
MISSING = {  # what is said where a file isn't there, by the option that names it
    "checkpoint": NO_CHECKPOINT,
    "audio": "no such folder or audio file: {}",
    "prompt": "an audio file is needed at {}: there is none",
    "init_audio": "an audio file is needed at {}: there is none",
    "context_audio": "an audio file is needed at {}: there is none",
    "folders": "no such folder: {}",
}


class Words:
    """Arguments one after the other, of which the next one can be looked at."""

    def __init__(self, args: Sequence[str]):
        self.args, self.at = args, 0

    def __bool__(self) -> bool:
        return self.at < len(self.args)

    def next(self) -> str:
        self.at += 1
        return self.args[self.at - 1]

    def has_value(self, flag: bool = False) -> bool:
        """Say whether the next word is the value of the option before it."""
        if not self:
            return False
        word = self.args[self.at]
        return word.lower() in BOOLS if flag else not is_option(word)


def arranged(command: str, args: list[str], signature: Signature) -> list[str]:
    """Return arguments as the parser takes them: what is required first, then NAME=VALUE.

    `sample --checkpoint X` becomes `sample X`, `studio a b` and `studio --folders a b` a list,
    `--regenerate 4.0 6.5` one value, and an option that is true or false can stand alone.

    Raises:
        UserError: for unknown options, and values that can't be meant
    """
    needed = required(signature)
    named, placed, rest, words = {}, [], [], Words(args)
    while words:
        word = words.next()
        if not is_option(word):
            placed.append(word_of(args, words.at - 1))
            continue
        name, given, value = word.lstrip("-").partition("=")
        name = "config" if name == "c" else name
        option = known_option(command, name, signature)
        flag = option is not None and is_flag(option)
        if not given and (flag or words.has_value()):
            value, given = words.next() if words.has_value(flag) else "true", "="
        if option is not None and given and is_pair(option):
            value = pair(f"--{name}", value, words)
        if option is not None and given and is_list(option):
            value = listed(option, value, words)
        if given and option in needed:
            named[name] = value
        else:
            rest.append((name, option, value if given else None))
    many = None if needed else next(filter(is_list, signature.options.values()), None)
    if placed and many is not None:
        values = Words([value for value, _ in placed])
        rest.append((many.name, many, listed(many, values.next(), values)))
        placed = []
    first = in_order(command, needed, named, placed, any(name == "config" for name, *_ in rest))
    for name, option, value in rest:
        if option is not None and value is not None:
            check_value(f"--{name}", option, value)
    return [
        *first,
        *(f"--{name}" if value is None else f"--{name}={value}" for name, _, value in rest),
    ]


def word_of(args: Sequence[str], at: int) -> tuple[str, str]:
    """Return a value that stands without a name, and the name it may be a part of, quoted.

    Raises MissingFileError where it is one: there is no such file, but one of the whole name.
    """
    word, quoted = args[at], to_quote(args, at)
    if is_cut(args, at):
        raise MissingFileError(f"{printable(word)} is only a part of a name; {hint(quoted)}")
    return word, quoted


def in_order(
    command: str,
    needed: list[Option],
    named: dict[str, str],
    placed: list[tuple[str, str]],
    has_config: bool,
) -> list[str]:
    """Return the values that stand without a name; `placed` ones come with what may be meant."""
    values = [value for value, _ in placed]
    if needed and is_many(needed[0]):
        for value, quoted in [*((value, "") for value in named.values()), *placed]:
            check_placed(needed[0], value, quoted)
        return [*named.values(), *values]
    free = [option for option in needed if option.name not in named]
    if len(values) > len(free):
        raise UserError(too_many(command, needed, *placed[len(free)]))
    named |= {option.name: value for option, value in zip(free, values, strict=False)}
    for option in needed:
        if option.name in named:
            check_value(option.name.upper(), option, named[option.name])
        elif not has_config:
            raise UserError(f"{command} needs {option.name.upper()}: {option.about}")
    return [named[option.name] for option in needed if option.name in named]


def too_many(command: str, needed: list[Option], value: str, quoted: str) -> str:
    """Say that a value is of nothing, and what may have been meant."""
    takes = " and ".join(option.name.upper() for option in needed) or "nothing"
    return (
        f"{printable(value)} belongs to no option: {command} takes {takes} without a name; "
        f"{hint(quoted)}"
    )


def known_option(command: str, name: str, signature: Signature) -> Option | None:
    """Return an option by its name; None for those that the parser knows better.

    Raises UserError for a name that there is none like.
    """
    first, dot, _ = name.partition(".")
    if first in signature.options:
        return None if dot else signature.options[first]
    if first in ALWAYS:
        return None
    owner, underscore, inner = first.partition("_")
    if underscore and owner in signature.options:  # as --codec_path was once written
        raise UserError(f"--{name} is no option of {command}: did you mean --{owner}.{inner}?")
    raise UserError(f"--{name} is no option of {command}{did_you_mean(first, signature.options)}")


def did_you_mean(name: str, known: Iterable[str], prefix: str = "--") -> str:
    """Return the known name that is most like another one, as the end of a message."""
    found = get_close_matches(name, list(known), 1)
    return f": did you mean {prefix}{found[0]}?" if found else ""


def check_value(name: str, option: Option, value: str) -> None:
    """Raise UserError for an address, a missing file, and what is of another kind."""
    if ADDRESS.match(value):
        refuse_address(f"{name} {value}", value)
    if not fits(option, value):
        raise UserError(f"{name} needs {expected(option)}, got {printable(value)!r}")
    if option.name in MISSING and value and value.lower() not in NOTHING:
        for one in elements(value) if is_list(option) else [value]:
            path = find_checkpoint(one) if option.name == "checkpoint" else one
            if not user_path(path, option.name).exists():
                raise MissingFileError(MISSING[option.name].format(printable(Path(path))))


def elements(value: str) -> list[str]:
    """Return the texts of a list as `listed` writes it, or one that isn't in brackets."""
    if not value.startswith("["):
        return [value]
    try:
        return [str(one) for one in json.loads(value)]
    except ValueError:  # [a, b] as YAML has it, without quotes
        parts = (one.strip(" '\"") for one in value.strip("[]").split(","))
        return [one for one in parts if one]


def check_placed(option: Option, value: str, quoted: str) -> None:
    """Check a value among several; where it's missing, say what it may be a part of."""
    try:
        check_value(option.name.upper(), option, value)
    except MissingFileError as error:
        if " " not in quoted:
            raise
        raise MissingFileError(f"{error}; {hint(quoted)}") from error


def listed(option: Option, first: str, words: Words) -> str:
    """Write a b, and [a, b] that the shell cut at its spaces, as one list."""
    given, whole = [first], first.startswith("[") or first.lower() in NOTHING
    while words.has_value() and not (whole and given[-1].endswith("]")):
        given.append(words.next())
    if whole:
        return " ".join(given)
    quoted = to_quote(words.args, words.at - 1) if len(given) > 1 else ""
    for one in given:
        check_placed(option, one, quoted)
    return json.dumps(given)


def pair(name: str, value: str, words: Words) -> str:
    """Write 4.0,6.5 and [4.0, 6.5], also cut at the space by the shell, as [4.0,6.5]."""
    if value.lower() in NOTHING:
        return value
    if len(NUMBERS.findall(value)) == 1 and words.has_value():
        value = f"{value} {words.next()}"
    numbers = NUMBERS.findall(value)
    try:
        [float(number) for number in numbers]
    except ValueError:
        numbers = []
    if len(numbers) != 2:
        raise UserError(f"{name} needs a start and an end in seconds, such as 4.0,6.5, got {value}")
    return f"[{','.join(numbers)}]"
