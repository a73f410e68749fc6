"""Settings of classes as people write them: options beside a class_path are meant as init_args."""

import json
from collections.abc import Mapping

import yaml

from foundation.errors import UserError
from music_diffusion.commands.yaml_file import Loader

INNER = ("init_args", "dict_kwargs")
KEYS = ("class_path", *INNER)


def of_class(settings: Mapping) -> bool:
    """Say whether settings are those of a class; an overlay may leave the class_path out."""
    return "class_path" in settings or isinstance(settings.get("init_args"), Mapping)


def in_init_args(settings: object) -> object:
    """Copy settings with the options of each class under its init_args.

    Raises UserError where one is given both there and beside the class_path.
    """
    if isinstance(settings, list):
        return [in_init_args(one) for one in settings]
    if not isinstance(settings, Mapping):
        return settings
    made = {name: in_init_args(value) for name, value in settings.items()}
    if not of_class(settings) or not (beside := made.keys() - KEYS):
        return made
    inner: dict = made.get("init_args") or {}  # type: ignore[assignment] (of_class has looked)
    if twice := sorted(inner.keys() & beside):
        name = made.get("class_path", "a class")
        raise UserError(f"{twice[0]} of {name} is given twice: under init_args and beside it")
    inner = inner | {name: made.pop(name) for name in list(made) if name in beside}
    return made | {"init_args": inner}


def argument_in_init_args(arg: str) -> str:
    """Rewrite an argument whose value is a class with its options: {class_path: A, width: 3}."""
    option, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
    if not value.startswith(("{", "[")) or "class_path" not in value:
        return arg
    try:
        given = yaml.load(value, Loader)
    except (yaml.YAMLError, ValueError):  # the parser says so
        return arg
    made = in_init_args(given)
    return arg if made == given else f"{option}{equals}{json.dumps(made)}"
