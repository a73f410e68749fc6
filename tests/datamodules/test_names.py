"""Names of files that old discs, archives and moved folders leave."""

import json
import os
from pathlib import Path

import pytest
import torch

from audio import files as audio_files
from datamodules.encode import EncodingJob, TrackReader
from datamodules.metadata import folder_of
from datamodules.tracks import scan, split
from foundation.files import printable
from tests.datamodules.test_token_store import Coarse

LATIN = os.fsdecode(b"al\xe9a/caf\xe9.wav")


@pytest.fixture
def music(tmp_path, monkeypatch) -> Path:
    """A track, one with a name in Latin-1, a link to nothing and a pipe."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / os.fsdecode(b"m\xe9")
    for name in ("a.wav", LATIN):
        audio_files.write(folder / name, torch.rand(1, 8000) - 0.5, 8000)
    (folder / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    os.mkfifo(folder / "pipe.wav")
    return folder


def test_what_is_no_file_is_left_out_and_named(music, caplog):
    codec = Coarse()
    job = EncodingJob.create(music, codec)
    reader = TrackReader(job.todo(), codec)
    for path, samples in (reader[index] for index in range(len(reader))):
        job.encode(codec, Path(path), samples)
    store = job.finish()
    assert "gone.wav: No such file" in caplog.text and "pipe" not in caplog.text
    assert store is not None
    sources = {store.track(row).source for row in range(len(store))}
    assert sources == {"a.wav", LATIN}
    tracks = scan(music, 8000)
    assert "gone.wav: it is a link to nothing" in caplog.text
    assert sorted(track.name for track in tracks) == sorted(["a.wav", LATIN])
    train, validation = split(tracks, 0.5)
    assert len(train) == len(validation) == 1


def test_text_of_such_names_is_plain(music):
    assert folder_of(LATIN) == r"al\xe9a" == printable(os.fsdecode(b"al\xe9a"))
    (track,) = (track for track in scan(music, 8000) if track.name == LATIN)
    assert json.dumps(dict(track.cond)).isascii()
    str(dict(track.cond)).encode()
