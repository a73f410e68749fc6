"""A folder for songs with toy models, and a file of music."""

import pytest
import torch

from audio import files as audio
from tests.jbdiff.songs import Studio


@pytest.fixture
def pictures(monkeypatch):
    """Draw no spectrograms and no page; the paths of what would have been drawn."""
    drawn = []
    monkeypatch.setattr("jbdiff.song_files.update_page", lambda *_: None)
    monkeypatch.setattr("jbdiff.song_files.write_spectrogram", lambda path, *_: drawn.append(path))
    return drawn


@pytest.fixture
def studio(tmp_path, pictures):
    return Studio(tmp_path)


@pytest.fixture
def tune(tmp_path):
    """A file of 0.4 s at another rate, in stereo."""
    t = torch.arange(12800) / 32000
    tones = torch.stack([torch.sin(2 * torch.pi * f * t) for f in (220, 330)])
    audio.write(tmp_path / "tune.flac", 0.3 * tones, 32000)
    return str(tmp_path / "tune.flac")
