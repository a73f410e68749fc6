"""What tests stand on: the command line's surroundings, music, logs."""

import logging
import sys
from inspect import signature
from pathlib import Path

import pytest
import torch

from audio import files as audio_files
from callbacks.demo import Demo
from music_diffusion.commands.logging import PACKAGES
from tests.processes import meeting_place


@pytest.fixture(autouse=True)
def logs_reach_caplog():
    """Undo what a command of an earlier test did: loggers that don't propagate aren't captured.

    From 9.1 on pytest captures them, too, so a test that let them propagate saw each line twice.
    """
    for name in PACKAGES:
        logging.getLogger(name).propagate = True


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


@pytest.fixture
def kept_port(monkeypatch):
    """Let the processes that Lightning starts meet at a port that nobody else is given."""
    with meeting_place() as place:
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        yield
