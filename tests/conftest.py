"""What tests of the command line stand on."""

import sys
from pathlib import Path

import pytest
import torch

from audio import files as audio_files


@pytest.fixture
def command_line(monkeypatch, tmp_path):
    """The project's folder, no arguments of the test runner, and a cache of its own."""
    monkeypatch.chdir(Path(__file__).parent.parent)
    monkeypatch.setattr(sys, "argv", ["cli.py"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def music(tmp_path) -> Path:
    """A folder of three seconds of noise, each in a file."""
    for i in range(3):
        noise = torch.rand(1, 44100, generator=torch.Generator().manual_seed(i)) - 0.5
        audio_files.write(tmp_path / "music" / f"{i}.wav", noise, 44100)
    return tmp_path / "music"
