"""What --help prints of a command: its options, read from the source of its function."""

import ast
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from textwrap import fill

from foundation.program import program
from music_diffusion.commands.kinds import is_dotted, metavar
from music_diffusion.commands.signature import Option, Signature, module_of, signature_of

HOMES = {  # the functions and classes that are called with the options of a command
    "convert": "music_diffusion.commands.convert.convert",
    "data": "music_diffusion.commands.data.data",
    "encode": "music_diffusion.commands.encode.encode",
    "export": "music_diffusion.checkpoints.export.export",
    "fad": "music_diffusion.commands.fad.fad",
    "page": "music_diffusion.commands.page.page",
    "quickstart": "music_diffusion.commands.quickstart.quickstart",
    "report": "music_diffusion.commands.report.report",
    "sample": "music_diffusion.commands.sample.sample",
    "sample jbdiff": "jbdiff.song_settings.Song",
    "studio": "music_diffusion.commands.studio.studio",
}
PRINTING = {"fad": "music_diffusion.commands.fad.Printing"}  # options that Python has no use for
COLUMN = 24  # where what an option does begins
WIDEST = 100
FEW = 3  # values that stand beside a name; more stand in the text


def signature_of_command(command: str) -> Signature | None:
    """Return the signature behind a command; None for those of Lightning and others."""
    signature = signature_of(HOMES[command]) if command in HOMES else None
    more = signature_of(PRINTING[command]) if command in PRINTING else None
    if signature is None or more is None:
        return signature
    return replace(signature, options=signature.options | more.options)


def required(signature: Signature) -> list[Option]:
    """Return the options that stand first, without a name."""
    return [option for option in signature.options.values() if option.default is None]


def help_of(command: str, signature: Signature) -> str:
    """Lay out a command's options for reading."""
    needed = required(signature)
    names = " ".join(option.name.upper() for option in needed)
    more = " ..." if any(is_many(option) for option in needed) else ""
    lines = [" ".join(f"usage: {program()} {command} {names}{more} [options]".split()), ""]
    lines += [signature.text, "", *(row(one.name.upper(), one) for one in needed)]
    lines += options_of(signature)
    lines.append(
        entry("--config FILE", "settings in YAML or JSON, such as the file beside a sample")
    )
    dotted = [one for one in signature.options.values() if is_class(one, signature)]
    if dotted:
        helps = " and ".join(f"--{one.name}.help CLASS" for one in dotted)
        lines += [
            "",
            f"A class has options of its own, --{dotted[0].name}.NAME VALUE; {helps} lists them.",
        ]
    return "\n".join(lines)


def help_of_class(path: str, option: str, signature: Signature) -> str:
    """Lay out the options of a class that a config or the command line names."""
    needed = (row(f"{option}.{one.name} {metavar(one)}", one) for one in required(signature))
    lines = [*needed, *options_of(signature, option)] or ["  it has no options"]
    return "\n".join([f"{option} {path}", "", signature.text, "", *lines])


def options_of(signature: Signature, prefix: str = "-") -> Iterator[str]:
    """Yield the options with a default; settings within settings once, if several are alike."""
    start, seen = "--" if prefix == "-" else f"{prefix}.", {}
    for name, option in signature.options.items():
        inner = within(option, signature)
        if option.default is None:
            continue
        if inner is None:
            yield row(f"{start}{name} {metavar(option)}", option)
        elif inner.path in seen:
            yield entry(f"{start}{name}. ...", f"{option.about}; as --{seen[inner.path]}")
        else:
            seen[inner.path] = name
            yield from ("", f"{option.about or name}:", *options_of(inner, f"{start}{name}"), "")


def within(option: Option, signature: Signature) -> Signature | None:
    """Return the settings that an option is a group of, of the same module."""
    if not isinstance(option.annotation, ast.Name) or option.module is None:
        return None
    node = option.module.definition(option.annotation.id)
    place = signature.path.rpartition(".")[0]
    return signature_of(f"{place}.{option.annotation.id}") if node else None


def row(left: str, option: Option) -> str:
    about = re.sub(r"(?<=\w)`|`(?=\w)", "", option.about)
    default = option.default and ast.unparse(option.default)
    if default and default != "None" and option.default is not None:
        about = f"{about} (default: {spelled(valued(option))})"
    if left.count("|") >= FEW:
        first, _, values = left.partition(" ")
        about, left = f"{about}; one of {values.replace('|', ', ')}", first
    return entry(left, about)


def valued(option: Option) -> ast.expr:
    """Return an option's default, or what the constant that it names stands for."""
    default, module = option.default, option.module
    assert default is not None
    if not isinstance(default, ast.Name) or module is None:
        return default
    if (value := module.alias(default.id)) is None and (path := module.imported(default.id)):
        place, _, name = path.rpartition(".")
        value = (source := module_of(place)) and source.alias(name)
    return value or default


def spelled(default: ast.expr) -> str:
    """Write a default as one types it."""
    if isinstance(default, ast.Constant):
        value = default.value
        return str(value).lower() if isinstance(value, bool) else str(value)
    return ast.unparse(default)


def entry(left: str, about: str) -> str:
    """Lay out an option and what it does, which begins on the next line if the name is long."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    indent = " " * COLUMN
    text = fill(about, width, initial_indent=indent, subsequent_indent=indent)
    if len(left) + 4 > COLUMN:
        return f"  {left}\n{text}"
    return f"  {left:<{COLUMN - 2}}{text[COLUMN:]}"


def is_many(option: Option) -> bool:
    return option.annotation is not None and "Sequence[" in ast.unparse(option.annotation)


def is_class(option: Option, signature: Signature) -> bool:
    return (
        is_dotted(option)
        and metavar(option) == "CLASS"
        and not is_many(option)
        and within(option, signature) is None
    )
