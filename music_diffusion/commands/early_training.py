"""Mistakes in the options and configs of training, found before seconds of imports pass.

The classes that configs and options name are looked up by their source. A mistake in a config is
told with its file and line.
"""

import ast
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from foundation.checks import refuse_address
from foundation.errors import UserError
from foundation.files import printable
from music_diffusion.checkpoints.legacy import HINTS
from music_diffusion.commands.arguments import find_config, first_options, plain_values
from music_diffusion.commands.early import Words, check_value, did_you_mean
from music_diffusion.commands.help import help_of_class
from music_diffusion.commands.kinds import fits
from music_diffusion.commands.quoting import hint, is_option, to_quote
from music_diffusion.commands.signature import Option, Signature, signature_of
from music_diffusion.commands.yaml_file import Loader, read_yaml

FIXED = {  # the classes of the options that every training has
    "trainer": "music_diffusion.commands.trainer.RunTrainer",
    "nonfinite": "callbacks.nonfinite.NonFinite",
}
ROOTS = (
    *("model", "data", *FIXED, "config", "seed_everything", "name", "ckpt_path", "weights_only"),
    *("optimizer", "lr_scheduler", "print_config", "trust", "help", "verbose"),
    "return_predictions",
)
INNER = ("init_args", "dict_kwargs")
Settings = dict[str, object]


def prepared_training(command: str, args: list[str]) -> list[str]:
    """Return the arguments; UserError for options and values that can't be meant."""
    args = plain_values(args)
    if (at := asked(args)) is not None:
        return with_class(args, at)
    so_far: Settings = {}
    for path in configs_of(args):  # what stands later may take other classes
        merge_config(so_far, path)
        check_config(path, so_far)
    settings = with_classes(so_far, args)
    for name, value in list(given(command, args)):
        check_option(command, name, value, settings)
    return args


def given(command: str, args: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the options and their values; UserError for a value without an option."""
    words = Words(args)
    while words:
        word = words.next()
        if not is_option(word):
            options = "options begin with --, such as --data.audio DIR"
            text = hint(to_quote(args, words.at - 1)) if words.at > 1 else options
            raise UserError(f"{printable(word)} belongs to no option of {command}; {text}")
        name, equals, value = word.lstrip("-").partition("=")
        if not equals and words.has_value():
            value, equals = words.next(), "="
        yield name, value if equals else None


def configs_of(args: list[str]) -> list[Path]:
    known, _ = first_options(args)
    if known.level and not known.config and not known.model:
        return [find_config("jbdiff")]
    return [find_config(name) for name in known.config]


def settings_of(args: list[str]) -> Settings:
    """Merge the configs, and the classes that options name, as far as names of classes need it."""
    merged: Settings = {}
    for path in configs_of(args):
        merge_config(merged, path)
    return with_classes(merged, args)


def with_classes(merged: Settings, args: list[str]) -> Settings:
    """Put the classes that options name into the settings of the configs."""
    for arg, following in zip(args, [*args[1:], ""], strict=False):
        name, equals, value = arg[2:].partition("=")
        if arg.startswith("--") and name.split(".")[0] in ("model", "data", "trainer"):
            named = place_of(merged, name.split("."))
            if isinstance(named, dict) and (value := value if equals else following):
                named["class_path"] = value
    return merged


def merge_config(into: Settings, path: Path) -> None:
    content = read_yaml(path)
    inner = content.get("settings")
    merge(into, inner if isinstance(inner, dict) else content)


def merge(into: Settings, more: Mapping) -> None:
    for name, value in more.items():
        old = into.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            merge(old, value)
        else:
            into[name] = copy.deepcopy(value)


def place_of(settings: object, names: list[str]) -> object:
    """Return what settings hold of a class that a dotted option names; None if it isn't known."""
    for name in names:
        if not isinstance(settings, dict):
            return None
        inner = settings.get("init_args", settings)
        settings = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(settings, str):
            settings = {"class_path": settings}
    return settings


def check_option(command: str, name: str, value: str | None, settings: Settings) -> None:
    """Follow a dotted option through the classes; UserError where one has no such option."""
    first, *names = name.replace("+", "").split(".")
    if first == "c" or not names and first in ROOTS:
        if first == "ckpt_path" and value:
            refuse_address(f"--{name} {value}", value)
        return
    if first not in ROOTS:
        raise UserError(f"--{name} is no option of {command}{did_you_mean(first, ROOTS)}")
    names = [one for one in names if one not in INNER]
    done = [first]
    for last, one in zip([False] * (len(names) - 1) + [True], names, strict=True):
        signature = signature_at(done, settings)
        if signature is None or one in ("help", "class_path") or one in HINTS:
            return
        prefix = f"--{'.'.join(done)}."
        if one not in signature.options:
            if signature.is_complete:
                raise UserError(unknown(f"{prefix}{one}", one, signature, prefix))
            return
        if last and value is not None:
            check_value(f"--{name}", signature.options[one], value)
        done.append(one)


def unknown(shown: str, name: str, signature: Signature, prefix: str) -> str:
    """Say that a class has no such option, and which one it may be."""
    near = did_you_mean(name, signature.options, prefix)
    of = "" if signature.path in FIXED.values() else f" of {signature.path}"
    return f"{shown} is no option{of}{near}"


def signature_at(names: list[str], settings: Settings) -> Signature | None:
    """Return the signature of the class that an option takes here; None where it isn't known."""
    path = class_at(names, settings)
    return signature_of(path) if path else None


def class_at(names: list[str], settings: Settings) -> str | None:
    """Return the path of the class that an option takes: as it is named, or by default."""
    if len(names) == 1 and names[0] in FIXED:
        return FIXED[names[0]]
    found = place_of(settings, names)
    path = found.get("class_path") if isinstance(found, dict) else None
    if isinstance(path, str) or len(names) == 1:
        return path if isinstance(path, str) else None
    owner = signature_at(names[:-1], settings)
    option = owner and owner.options.get(names[-1])
    return default_class(option) if option else None


def default_class(option: Option) -> str | None:
    """Return the path of the class that an option's default is, or is made of."""
    default = option.default.func if isinstance(option.default, ast.Call) else option.default
    if option.module is None or not isinstance(default, ast.Name):
        return None
    here = option.module.definition(default.id) and f"{option.module.name}.{default.id}"
    return here or option.module.imported(default.id)


def check_config(path: Path, settings: Settings) -> None:
    """Look at the names and values of a config; UserError with the line of the first mistake."""
    loader = Loader(path.read_text(encoding="utf-8"))
    node = loader.get_single_node()
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        name = key.value
        if name in ("settings", "levels", "made", "index"):  # of the file beside a sample, a song
            return
        if name not in ROOTS:
            raise UserError(
                f"{line_of(path, key)}: {name} is no option{did_you_mean(name, ROOTS, '')}"
            )
        fixed = signature_of(FIXED[name]) if name in FIXED else None
        check_node(path, value, settings.get(name), fixed)


def check_node(path: Path, node: yaml.Node, settings: object, fixed: Signature | None) -> None:
    """Check a class's options in a config, or those of the `fixed` one, and what is within them."""
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            check_node(path, one, None, None)
    if not isinstance(node, yaml.MappingNode):
        return
    parts = {key.value: value for key, value in node.value}
    named = parts.get("class_path") or (settings if isinstance(settings, dict) else {}).get(
        "class_path"
    )
    name = named.value if isinstance(named, yaml.Node) else named
    signature = fixed or (signature_of(name) if isinstance(name, str) else None)
    options = node if fixed else parts.get("init_args")
    if signature is None or not isinstance(options, yaml.MappingNode):
        return
    for key, value in options.value:
        option = signature.options.get(key.value)
        if option is None and signature.is_complete and key.value not in HINTS:
            raise UserError(f"{line_of(path, key)}: {unknown(key.value, key.value, signature, '')}")
        if option and isinstance(value, yaml.ScalarNode) and not fits(option, value.value):
            where = f"{line_of(path, value)}: {key.value}"
            check_value(where, option, value.value)
        check_node(path, value, place_of(settings, [key.value]), None)


def line_of(path: Path, node: yaml.Node) -> str:
    return f"{path}, line {node.start_mark.line + 1}"


def class_help(args: list[str]) -> str | None:
    """Return the options of the class that --model.help or another one asks about, if it can."""
    at = asked(args)
    if at is None:
        return None
    args = with_class(args, at)
    option, _, path = args[at].partition("=")
    signature = signature_of(path)
    if signature is None:
        return None  # the parser imports it
    name = option.removesuffix(".help")
    shown = help_of_class(path, name, signature)
    return f"{shown}\n\n(a class has options of its own: {name}.NAME.help)"


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
    path = path or class_at(option[2:].split(".")[:-1], settings_of(rest)) or ""
    if not path:
        raise UserError(f"{option} needs a --config that names the class, or the class after it")
    return [*args[:at], f"{option}={path}", *args[end:]]
