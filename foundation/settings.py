"""The settings that a checkpoint of fit, or an export, holds with its weights."""

import json
from pathlib import Path

from foundation.errors import UserError
from foundation.weights import read_content

CONFIG = "config.json"  # in an exported folder


def holds_settings(path: str | Path) -> bool:
    """Say whether a file of weights is a checkpoint of fit, from which a model can be rebuilt."""
    return "_class_path" in settings_of(path)


def settings_of(path: str | Path) -> dict:
    """Return the settings that a checkpoint of fit or an export holds; none for other files."""
    path = Path(path).expanduser()
    exported = (path / CONFIG).is_file()
    content = read_config(path) if exported else read_content(path, in_place=True)
    return content.get("hyper_parameters", {})


def read_config(folder: Path) -> dict:
    """Read the settings of an exported folder; UserError if the file is damaged."""
    path = folder / CONFIG
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} can't be read: {error}") from error
