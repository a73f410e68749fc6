"""What tests of the command line stand on."""

import sys
from inspect import signature
from pathlib import Path

import pytest
import torch

from audio import files as audio_files
from callbacks.demo import Demo


@pytest.fixture
def command_line(monkeypatch, tmp_path):
    """The project's folder, no arguments of the test runner, a cache of its own, short demos."""
    defaults = {name: p.default for name, p in signature(Demo).parameters.items()}
    short = tuple((defaults | {"num_demos": 2, "seconds": 1.0}).values())
    monkeypatch.setattr(Demo.__init__, "__defaults__", short)
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
