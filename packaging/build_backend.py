"""Setuptools' build backend, which also writes the commit into what it builds."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 (a backend's hooks)

ROOT = Path(__file__).parents[1]
FILE = ROOT / "music_diffusion" / "commit.txt"


@contextmanager
def commit_written() -> Iterator[None]:
    """Write the commit, unless this is a source distribution, which has the file already."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    if not (ROOT / ".git").exists():
        yield
        return
    done = subprocess.run(command, capture_output=True, text=True)
    FILE.write_text((done.stdout.strip() or "unknown") + "\n")
    try:
        yield
    finally:
        FILE.unlink()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with commit_written():
        return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    with commit_written():
        return build_meta.build_sdist(sdist_directory, config_settings)
