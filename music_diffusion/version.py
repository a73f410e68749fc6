"""The version and commit of this code."""

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def version() -> str:
    """Return the package's version."""
    try:
        return metadata.version("music-diffusion")
    except metadata.PackageNotFoundError:  # run from a checkout that isn't installed
        lines = (ROOT / "pyproject.toml").read_text().splitlines()
        return next(line.split('"')[1] for line in lines if line.startswith("version"))


@cache
def commit() -> str:
    """Return the commit of this code, as the checkout or the package knows it, or "unknown"."""
    written = Path(__file__).with_name("commit.txt")  # by the build of a package
    if written.is_file():
        return written.read_text().strip()
    if not (ROOT / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
