"""What values an option takes, in words, and whether a given one is of them."""

import ast
import math
from collections.abc import Iterator

from music_diffusion.commands.signature import Module, Option

WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "Path": "a text",
}
LETTERS = {"int": "N", "float": "X", "bool": "true|false", "str": "TEXT", "Path": "TEXT"}
BOOLS = ("true", "false", "yes", "no", "on", "off", "1", "0")
NOTHING = ("none", "null")


def parts(annotation: ast.expr | None, module: Module | None) -> Iterator[str | list[str]]:
    """Yield the alternatives of an annotation: a type's name, or the list of a Literal's values."""
    if isinstance(annotation, ast.BinOp):
        yield from parts(annotation.left, module)
        yield from parts(annotation.right, module)
    elif isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        yield from parts(ast.parse(annotation.value, mode="eval").body, module)
    elif isinstance(annotation, ast.Subscript):
        yield from _subscripted(annotation, module)
    elif isinstance(annotation, ast.Name) and module and (alias := module.alias(annotation.id)):
        yield from parts(alias, module)
    elif annotation is not None:
        yield ast.unparse(annotation)


def _subscripted(annotation: ast.Subscript, module: Module | None) -> Iterator[str | list[str]]:
    name, inner = ast.unparse(annotation.value), annotation.slice
    values = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        names = (str(one.value) for one in values if isinstance(one, ast.Constant))
        yield list(dict.fromkeys(names))
    elif name in ("Optional", "Union"):
        for one in values:
            yield from parts(one, module)
        yield from ["None"] if name == "Optional" else []
    else:
        yield ast.unparse(annotation)


def kinds(option: Option) -> list[str | list[str]]:
    return list(parts(option.annotation, option.module))


def is_plain(option: Option) -> bool:
    """Say whether all values an option takes are numbers, texts, true, false and null."""
    return all(isinstance(kind, list) or kind in (*WORDS, "None") for kind in kinds(option))


def is_flag(option: Option) -> bool:
    return kinds(option) == ["bool"]


def is_pair(option: Option) -> bool:
    return "tuple[float, float]" in kinds(option)


def is_list(option: Option) -> bool:
    return "list[str]" in kinds(option)


def is_dotted(option: Option) -> bool:
    """Say whether options of its own may follow after a dot: it takes a class, or names."""
    return not is_plain(option) and not is_pair(option) and not is_list(option)


def expected(option: Option) -> str:
    """Say in words what an option takes, without null."""
    texts = [
        alternatives(kind) if isinstance(kind, list) else WORDS.get(kind, kind)
        for kind in kinds(option)
        if kind != "None"
    ]
    return " or ".join(dict.fromkeys(texts))


def alternatives(names: list[str]) -> str:
    """Write names as a, b or c."""
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def metavar(option: Option) -> str:
    """Return a short name for an option's values, for a list of options."""
    found = kinds(option)
    if is_pair(option):
        return "FROM,TO"
    if is_list(option):
        return "NAME ..."
    letters = [
        "|".join(kind) if isinstance(kind, list) else LETTERS.get(kind, "CLASS")
        for kind in found
        if kind != "None" and not (isinstance(kind, str) and kind.startswith("dict"))
    ]
    return "|".join(dict.fromkeys(letters)) or "TEXT"


def fits(option: Option, value: str) -> bool:
    """Say whether a value could be one of an option's; the parser decides it exactly."""
    if not is_plain(option):
        return True
    return any(_fits(kind, value.strip().lower(), value) for kind in kinds(option))


def _fits(kind: str | list[str], low: str, value: str) -> bool:
    if isinstance(kind, list):
        return value in kind
    if kind == "None":
        return low in NOTHING
    if kind == "bool":
        return low in BOOLS
    if kind in ("str", "Path"):
        return True
    try:
        number = int(low) if kind == "int" else float(low)
    except ValueError:
        return False
    return kind == "int" or math.isfinite(number)
