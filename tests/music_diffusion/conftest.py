"""A folder of a user's, with a small model's config in it."""

import logging
import sys
from pathlib import Path

import pytest

from music_diffusion.commands import main as cli
from tests.music_diffusion import toy


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """A current folder that isn't the project's, and toy.yaml in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cli.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    Path("toy.yaml").write_text(toy.CONFIG)
    return tmp_path


@pytest.fixture
def fit(elsewhere):
    """Train the toy with more options; assert the exit status."""

    def run(*options: str, status: int = 0) -> None:
        assert cli.main(["fit", "--config", "toy.yaml", *options]) == status

    return run
