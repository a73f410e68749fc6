"""Golden weights through files of the published layouts, read as the command line reads them."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch

Loaded = TypeVar("Loaded")


def through_file(content: dict, load: Callable[[str], Loaded]) -> Loaded:
    """Save a published file's content and load it by the path."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "published.ckpt"
        torch.save(content, path)
        return load(str(path))
