"""Where everything is kept that can be made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for what can be made again: XDG_CACHE_HOME/music-diffusion."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "music-diffusion"
