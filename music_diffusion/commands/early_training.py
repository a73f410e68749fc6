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
from music_diffusion.commands.class_settings import INNER, KEYS, in_init_args, of_class
from music_diffusion.commands.early import Words, check_value, did_you_mean
from music_diffusion.commands.kinds import fits
from music_diffusion.commands.quoting import hint, is_option, to_quote
from music_diffusion.commands.signature import Option, Signature, signature_of
from music_diffusion.commands.subclasses import path_in
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
Settings = dict[str, object]


def prepared_training(command: str, args: list[str]) -> list[str]:
    """Return the arguments; UserError for options and values that can't be meant."""
    args = plain_values(args)
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
    content = inner if isinstance(inner, dict) else content
    merge(into, {name: in_init_args(value) for name, value in content.items()})


def merge(into: Settings, more: Mapping) -> None:
    """Put later settings into earlier ones; an overlay needn't repeat class_path and init_args."""
    if of_class(into):
        inner = {name: value for name, value in more.items() if name not in KEYS}
        more = {name: value for name, value in more.items() if name in KEYS}
        more |= {"init_args": inner | (more.get("init_args") or {})} if inner else {}
    for name, value in more.items():
        old = into.get(name)
        if isinstance(old, str) and isinstance(value, dict):
            into[name] = old = dict[str, object](class_path=old)
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
    option = option_at(names, settings)
    return default_class(option) if option else None


def option_at(names: list[str], settings: Settings) -> Option | None:
    """Return the option of a class that takes another class; None where it isn't known."""
    owner = signature_at(names[:-1], settings) if len(names) > 1 else None
    return owner.options.get(names[-1]) if owner else None


def default_class(option: Option) -> str | None:
    """Return the path of the class that an option's default is, or is made of."""
    default = option.default.func if isinstance(option.default, ast.Call) else option.default
    if option.module is None or not isinstance(default, ast.Name):
        return None
    return path_in(option.module, default.id)


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
    if signature is None:
        return
    for key, value in node.value if fixed else options_of(node):
        option = signature.options.get(key.value)
        if option is None and signature.is_complete and key.value not in HINTS:
            raise UserError(f"{line_of(path, key)}: {unknown(key.value, key.value, signature, '')}")
        if option and isinstance(value, yaml.ScalarNode) and not fits(option, value.value):
            where = f"{line_of(path, value)}: {key.value}"
            check_value(where, option, value.value)
        check_node(path, value, place_of(settings, [key.value]), None)


def options_of(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield the options of a class in a config: what is under init_args, or beside them."""
    for key, value in node.value:
        if key.value == "init_args" and isinstance(value, yaml.MappingNode):
            yield from value.value
        elif key.value not in KEYS:
            yield key, value


def line_of(path: Path, node: yaml.Node) -> str:
    return f"{path}, line {node.start_mark.line + 1}"
