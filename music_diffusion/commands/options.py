"""Options of a command: those of a function or a class, from the command line and --config."""

from collections.abc import Callable
from typing import TypeVar

from jsonargparse import ArgumentParser

from foundation.program import program
from music_diffusion.commands.arguments import with_configs_first
from music_diffusion.commands.constructors import errors_of_constructors
from music_diffusion.commands.error_lines import usage_errors

Made = TypeVar("Made")


def call(
    command: str,
    function: Callable[..., Made],
    args: list[str],
    add_options: Callable[[ArgumentParser], None] | None = None,
) -> Made:
    """Call a function, or make a dataclass, with the options of the command line.

    `add_options` adds them to the parser where the function's signature isn't enough.
    """
    parser = ArgumentParser(prog=f"{program()} {command}", exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="settings in YAML or JSON")
    if add_options:
        add_options(parser)
    elif isinstance(function, type):
        parser.add_class_arguments(function)
    else:
        parser.add_function_arguments(function, as_positional=True)
    with usage_errors(command):
        parsed = parser.parse_args(with_configs_first(args))
    with usage_errors(command), errors_of_constructors():
        options = parser.instantiate(parsed).as_dict()
    del options["config"]
    return function(**options)
