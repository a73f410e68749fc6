import os
import shutil

import numpy as np
import pytest
import soundfile
import torch

from audio import files as audio_files
from datamodules.tracks import scan


@pytest.fixture
def music(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for index in range(3):
        audio_files.write(tmp_path / f"music/{index}.wav", torch.rand(1, 900 + index) - 0.5, 8000)
    return tmp_path / "music"


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The names of the files that are read."""
    names, check = [], audio_files.check

    def note(path, too_loud="skip"):
        names.append(path.name)
        return check(path, too_loud)

    monkeypatch.setattr(audio_files, "check", note)
    return names


def test_a_second_scan_reads_only_what_changed(music, read):
    first = list(scan(music, 8000))
    assert read == ["0.wav", "1.wav", "2.wav"]
    assert list(scan(music, 8000)) == first and len(read) == 3
    assert [len(track) for track in scan(music, 16000)] == [1800, 1802, 1804] and len(read) == 3
    audio_files.write(music / "1.wav", torch.zeros(1, 500), 8000)
    os.utime(music / "2.wav", (1, 1))
    (music / "0.wav").unlink()
    assert [len(track) for track in scan(music, 8000)] == [500, 902]
    assert read[3:] == ["1.wav", "2.wav"]


def test_what_cannot_be_read_or_is_too_loud_is_tried_and_named_again(music, read, caplog):
    (music / "bad.wav").write_text("no audio")
    soundfile.write(music / "loud.wav", np.full(800, 1000.0, np.float32), 8000, subtype="FLOAT")
    for _ in range(2):
        caplog.clear()
        assert len(scan(music, 8000, too_loud="clip")) == 4
        assert "bad.wav" in caplog.text and "loud.wav" in caplog.text
    assert read[5:] == ["bad.wav", "loud.wav"]


def test_a_damaged_or_read_only_cache_is_done_without(music, read, tmp_path):
    scan(music, 8000)
    (table,) = (tmp_path / "cache").glob("*/scans/*.table")
    table.write_bytes(table.read_bytes()[:-4])
    assert len(scan(music, 8000)) == 3 and len(read) == 6
    shutil.rmtree(table.parent)
    table.parent.write_text("a file in the way")
    assert len(scan(music, 8000)) == 3 and len(read) == 9
