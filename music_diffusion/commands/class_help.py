"""What --model.net.help prints: the options of a class, or the classes that can be named there."""

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import islice

from foundation.errors import UserError
from music_diffusion.commands.early_training import class_at, option_at, settings_of
from music_diffusion.commands.help import entry, help_of_class
from music_diffusion.commands.kinds import kinds
from music_diffusion.commands.quoting import is_option
from music_diffusion.commands.signature import Option, signature_of
from music_diffusion.commands.subclasses import abstract_methods, path_in, subclasses


def asked(args: list[str]) -> int | None:
    """Return where an option such as --model.help stands."""
    found = (at for at, arg in enumerate(args) if arg.partition("=")[0].endswith(".help"))
    return next(found, None)


def with_class(args: list[str], at: int) -> list[str]:
    """Give --model.help the class after it, or else that of the configs, as NAME=CLASS."""
    option, _, path = args[at].partition("=")
    end = at + 1
    if not path and end < len(args) and not is_option(args[end]):
        path, end = args[end], end + 1
    rest = [*args[:at], *args[end:]]
    path = path or class_or_base(option, rest) or ""
    if not path:
        raise UserError(f"{option} needs a --config that names the class, or the class after it")
    return [*args[:at], f"{option}={path}", *args[end:]]


def class_or_base(option: str, args: list[str]) -> str | None:
    """Return the class that settings name, or where they name none the class it derives from."""
    names, settings = option[2:].split(".")[:-1], settings_of(args)
    owned = option_at(names, settings)
    return class_at(names, settings) or (base_class(owned) if owned else None)


def base_class(option: Option) -> str | None:
    """Return the path of the class that values of an option are, or are made of."""
    names = (re.fullmatch(r"(?:Callable\[.*, )?(\w+)\]?", str(kind)) for kind in kinds(option))
    paths = (path_in(option.module, name[1]) for name in names if name and option.module)
    return next(filter(None, paths), None)


def class_help(args: list[str], at: int) -> str | None:
    """Return what the option at a place asks about; None for a class that the parser imports."""
    option, _, path = args[at].partition("=")
    signature, name = signature_of(path), option.removesuffix(".help")
    if abstract_methods(path) and (found := subclasses(path)):
        return listed(name, path, found)
    if signature is None or not signature.is_complete:
        return None
    owned = option_at(name[2:].split("."), settings_of([*args[:at], *args[at + 1 :]]))
    own = islice(signature.options.items(), given(owned) if owned else 0, None)
    shown = help_of_class(path, name, replace(signature, options=dict(own)))
    return f"{shown}\n\n(a class has options of its own: {name}.NAME.help)"


def listed(name: str, base: str, paths: list[str]) -> str:
    """Lay out the classes that an option takes, which are derived from one."""
    found = {path: signature_of(path) for path in paths}
    rows = (entry(path, one.text.partition("\n")[0] if one else "") for path, one in found.items())
    end = f"({name}.help CLASS lists the options of one; docs/extending.md says how to write one)"
    return "\n".join([f"{name} takes a class derived from {base}:", "", *rows, "", end])


@contextmanager
def whole_names(args: list[str]) -> Iterator[None]:
    """Let the parser's help of a class name its options as one types them, not --noise.eps."""
    at, printed = asked(args), StringIO()
    if at is None:
        yield
        return
    name = args[at].partition("=")[0].removesuffix(".help")
    try:
        with redirect_stdout(printed):
            yield
    finally:
        short = rf"--(\w+\.)*{name.rpartition('.')[2]}\."
        print(re.sub(short, f"{name}.", printed.getvalue()), end="")


def given(option: Option) -> int:
    """Return how many arguments a class gets from the one that makes it: Callable[[int], Graph]."""
    for node in ast.walk(option.annotation) if option.annotation else ():
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Callable":
            arguments = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else None
            return len(arguments.elts) if isinstance(arguments, ast.List) else 0
    return 0
