"""Two programs, or two processes, that encode into one store."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audio import files as audio_files
from datamodules.encode import EncodingJob, TrackReader
from datamodules.token_store import TokenStore
from foundation.errors import UserError
from tests.datamodules.test_token_store import Coarse


@pytest.fixture
def music(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for index in range(3):
        audio_files.write(tmp_path / f"music/{index}.wav", 0.2 * index * torch.ones(1, 8000), 8000)
    return tmp_path / "music"


class Slow(Coarse):
    """Counts what it encodes, once `goes_on` says so."""

    def __init__(self, goes_on: Callable[[], bool]):
        super().__init__()
        self.count, self.goes_on = 0, goes_on

    def encode(self, samples):
        self.count += 1
        for _ in range(3000):  # half a minute
            if self.goes_on():
                break
            time.sleep(0.01)
        return super().encode(samples)


def work(job: EncodingJob, codec: Coarse) -> None:
    with job.alone():
        reader = TrackReader(job.todo(), codec)
        for path, length in (reader[index] for index in range(len(reader))):
            job.encode(codec, Path(path), length)
        job.finish()


def test_the_second_waits_and_finds_the_work_done(music, caplog):
    caplog.set_level(logging.INFO)
    said = "waiting for another program that encodes into"
    codecs = [Slow(lambda: said in caplog.text) for _ in range(2)]
    threads = [
        threading.Thread(target=work, args=(EncodingJob.create(music, codec), codec))
        for codec in codecs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codec.count > 0 for codec in codecs) == [False, True]
    assert len(TokenStore.open(EncodingJob.create(music, Coarse()).folder)) == 3
    assert caplog.text.count(said) == 1


def test_a_track_that_nobody_encoded_is_an_error(music):
    codec = Coarse()
    job = EncodingJob.create(music, codec)
    path, length = TrackReader(job.todo(), codec)[0]
    job.encode(codec, Path(path), length)
    with pytest.raises(UserError, match="2 tracks have no tokens, such as .*1.wav: run it again"):
        job.finish()


def test_a_lock_that_cannot_be_is_done_without(music, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no locks here")

    monkeypatch.setattr("foundation.locks.FileLock.acquire", refuse)
    work(EncodingJob.create(music, Coarse()), Coarse())
