"""What is said of a folder of music."""

from pathlib import Path

import pytest
import torch

from audio import files as audio_files
from datamodules.music_report import examine
from datamodules.tracks import scan, split

RATE = 8000


def lively(seed: int, seconds: float = 28.0) -> torch.Tensor:
    """Noise [1, T] whose level changes every second."""
    draw = torch.Generator().manual_seed(seed)
    levels = 10 ** (-1.5 * torch.rand(round(seconds), generator=draw)).repeat_interleave(RATE)
    return 0.5 * levels * (2 * torch.rand(1, len(levels), generator=draw) - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("music")
    first = lively(0)
    audio_files.write(root / "a.wav", first, RATE)
    audio_files.write(root / "again.flac", audio_files.read(root / "a.wav"), RATE)
    audio_files.write(root / "quieter.wav", torch.nn.functional.pad(first / 2, (0, 400)), RATE)
    audio_files.write(root / "other.wav", lively(1), RATE)
    audio_files.write(root / "stereo.wav", 50 * lively(2, 4).repeat(2, 1), 2 * RATE)
    audio_files.write(root / "silence.wav", torch.zeros(1, 3 * RATE), RATE)
    (root / "broken.wav").write_text("no music")
    (root / "cover.jpg").touch()
    return root


def test_a_folder_is_described(folder):
    report = examine(folder)
    assert len(report.tracks) == 6 and report.rates == {8000: 5, 16000: 1}
    assert report.channels == {1: 5, 2: 1}
    assert report.hours * 3600 == pytest.approx(28 * 4 + 0.05 + 2 + 3, abs=0.01)
    assert list(report.unreadable) == ["broken.wav"] and "1 .jpg" in report.left_out
    assert [report.name(one) for one in report.clipped] == ["stereo.wav"]
    assert [report.name(one) for one in report.silent] == ["silence.wav"]
    assert len(report.loudness) == 5  # silence has none


def test_the_same_music_is_found_in_other_formats_and_levels(folder):
    report = examine(folder)
    (group,) = report.duplicates
    assert {report.name(one) for one in group} == {"a.wav", "again.flac", "quieter.wav"}


def test_the_split_is_that_of_training(folder):
    report = examine(folder, headers_only=True)
    train, validation = split(scan(folder, RATE), report.val_fraction)
    assert [len(part) for part in report.split()] == [len(train), len(validation)]
    assert report.loudness == [] and report.duplicates == []


def test_memory_does_not_grow_with_a_track(folder, monkeypatch):
    longest = 0

    def read(self, start: int, stop: int) -> torch.Tensor:
        nonlocal longest
        longest = max(longest, stop - start)
        return original(self, start, stop)

    original = audio_files.Reader.read
    monkeypatch.setattr(audio_files.Reader, "read", read)
    examine(folder / "other.wav")
    assert longest <= 10 * RATE
