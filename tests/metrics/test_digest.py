"""A file is read to be hashed once, and again when it changed."""

import hashlib
import os
import time

import pytest

from metrics import digest
from metrics.digest import digest_of

OLD = time.time() - 100


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "SETTLED", -1)  # a file's change time can't be set back
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    return path


def refuse(_):
    raise AssertionError("read again")


def test_a_file_that_is_known_is_not_read(file, monkeypatch):
    assert digest_of(file) == hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr(digest, "read_digest", refuse)
    assert digest_of(file) == hashlib.sha256(b"one").hexdigest()


def test_a_change_of_the_same_size_and_time_is_seen(file):
    os.utime(file, (OLD, OLD))
    before = digest_of(file)
    time.sleep(0.02)  # a file system's clock ticks every few milliseconds
    file.write_bytes(b"two")
    os.utime(file, (OLD, OLD))
    assert digest_of(file) == hashlib.sha256(b"two").hexdigest() != before


def test_a_file_that_has_just_changed_and_a_damaged_note_are_read(file, monkeypatch):
    digest_of(file)
    (note,) = (file.parent / "cache/music-diffusion/digests").iterdir()
    note.write_bytes(b"\xff")
    assert digest_of(file) == hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr(digest, "SETTLED", 100)
    note.unlink()
    assert digest_of(file) == hashlib.sha256(b"one").hexdigest() and not note.exists()
