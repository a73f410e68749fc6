"""The settings that a checkpoint of fit, or an export, holds with its weights."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path

from foundation.files import read_json, user_path
from foundation.weights import check_settings, read_content

CONFIG = "config.json"  # in an exported folder


def holds_settings(path: str | Path) -> bool:
    """Say whether a file of weights is a checkpoint of fit, from which a model can be rebuilt."""
    return "_class_path" in settings_of(path)


def settings_of(path: str | Path) -> dict:
    """Return the settings that a checkpoint of fit or an export holds; none for other files."""
    return content_of(path).get("hyper_parameters", {})


def content_of(path: str | Path) -> dict:
    """Return what a file of weights holds besides them; of an export, its settings."""
    path = user_path(path, "the path of a model")
    exported = (path / CONFIG).is_file()
    return read_config(path) if exported else read_content(path, in_place=True)


def read_config(folder: Path) -> dict:
    """Read the settings of an exported folder; UserError if the file is damaged."""
    content = read_json(folder / CONFIG)
    check_settings(content, folder / CONFIG)
    return content


def as_settings(value: object) -> object:
    """Return an object as plain values, as YAML and checkpoints hold it.

    Classes become their class paths, dataclasses and functools.partial of a class that and their
    options. TypeError for other objects.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(name): as_settings(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_settings(part) for part in value]
    if isinstance(value, partial) and isinstance(value.func, type) and not value.args:
        return {"class_path": class_path(value.func), "init_args": as_settings(value.keywords)}
    if isinstance(value, type):
        return {"class_path": class_path(value)}
    if is_dataclass(value):
        options = {part.name: getattr(value, part.name) for part in fields(value) if part.init}
        return {"class_path": class_path(type(value)), "init_args": as_settings(options)}
    raise TypeError(f"{type(value).__name__} has no plain form")


def class_path(kind: type) -> str:
    """Return the name by which YAML and the command line know a class."""
    return f"{kind.__module__}.{kind.__qualname__}"
