"""What a command line needs no torch for: help, and mistakes in options."""

from music_diffusion.commands.arguments import check_early, plain_values
from music_diffusion.commands.class_help import asked, class_help, with_class
from music_diffusion.commands.early import arranged
from music_diffusion.commands.early_training import prepared_training
from music_diffusion.commands.fit_help import ABOUT, help_of_training
from music_diffusion.commands.help import help_of, signature_of_command

HELP = ("-h", "--help")


def prepared(command: str, args: list[str]) -> list[str] | None:
    """Return a command's arguments as its parser takes them; None where help was all.

    Raises:
        UserError: for options that there are not, values of another kind, and missing files
    """
    if command in ABOUT:
        return _training(command, args)
    if command == "sample" and args[:1] == ["dance"]:  # as it was called for published files
        args = args[1:]
    first = args[:1] if command == "sample" and args[:1] == ["jbdiff"] else []
    name, args = " ".join([command, *first]), args[len(first) :]
    signature = signature_of_command(name)
    if signature is None:
        return [*first, *args]
    if any(arg in HELP for arg in args):
        print(help_of(name, signature))
        return None
    check_early(args)
    return [*first, *arranged(name, plain_values(args), signature)]


def _training(command: str, args: list[str]) -> list[str] | None:
    if any(arg in HELP for arg in args):
        print(help_of_training(command))
        return None
    if "--help-all" in args:
        return ["--help"]
    check_early(args)
    if (at := asked(args)) is None:
        return prepared_training(command, args)
    args = with_class(plain_values(args), at)
    if (text := class_help(args, at)) is None:
        return args
    print(text)
    return None
