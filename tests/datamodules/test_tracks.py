"""Split and hash of many tracks: laws of names alone, in the memory of a few columns."""

import hashlib
import tracemalloc

import numpy as np
import pytest

from datamodules.tracks import Track, Tracks, TrackSource, fingerprint, split

COUNT = 10_000


class Numbered(TrackSource):
    """Tracks named by their numbers, none of which is in memory."""

    lengths = np.arange(1, COUNT + 1)

    def names(self):
        return (b"%d.wav" % number for number in range(COUNT))

    def track(self, row, start, stop) -> Track:
        raise AssertionError("no track is looked at")


def bytes_a_track(work) -> float:
    """Return the peak of memory while `work` runs, for each track."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / COUNT
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return Tracks.whole(Numbered())


def test_splitting_and_hashing_take_the_memory_of_columns(tracks):
    assert bytes_a_track(lambda: split(tracks, 0.1)) < 70  # 8 columns; bytes of hashes take 60
    assert bytes_a_track(lambda: fingerprint(split(tracks, 0.1))) < 160


def test_the_split_is_that_of_hashes_and_the_hash_that_of_names_and_limits(tracks):
    def draw(number: int) -> int:
        return int.from_bytes(hashlib.sha256(b"3 %d.wav" % number).digest()[:8], "big")

    train, validation = split(tracks, 0.1, seed=3)
    chosen = [number for number in range(COUNT) if draw(number) < 0.1 * 2**64]
    assert validation.rows.tolist() == chosen and len(train) == COUNT - len(chosen)
    text = b"".join(b"%d.wav 0 %d\n" % (number, number + 1) for number in range(COUNT))
    expected = hashlib.sha256(text).hexdigest()
    assert fingerprint([train, validation]) == fingerprint([tracks]) == expected
