import json
import os

import numpy as np
import pytest
import torch

from audio import files as audio
from datamodules.encode import Job, Tracks
from datamodules.tokens import Header, TokenStore
from foundation.codec import Codec


class Coarse(Codec):
    """Eight loudness steps of 64 samples each."""

    sample_rate, hop, codebook_size, fingerprint = 8000, 64, 8, "coarse"

    def encode(self, samples):
        mono = samples.mean(1)
        mono = torch.nn.functional.pad(mono, (0, -mono.shape[-1] % self.hop))
        steps = mono.unflatten(-1, (-1, self.hop)).abs().mean(-1) * 7
        return steps.long().clamp(max=7)[:, None]

    def decode(self, tokens):
        return (tokens.float() / 7).repeat_interleave(self.hop, -1)


@pytest.fixture
def music(tmp_path):
    for i in range(3):
        audio.write(tmp_path / "music" / f"{i}.wav", 0.2 * i * torch.ones(1, 8000 + i), 8000)
    return tmp_path / "music"


def encode(folder, out):
    codec = Coarse()
    job = Job.of(folder, codec, ("tokens",), out)
    todo = job.todo
    for path, samples in (Tracks(todo, 8000)[i] for i in range(len(todo))):
        job.encode(codec, type(folder)(path), samples)
    job.finish()
    return job.store, todo


def test_encode_twice_encodes_once_and_follows_the_folder(music, tmp_path):
    store, todo = encode(music, tmp_path / "out")
    assert len(todo) == 3 and len(store.keys()) == 3
    assert store.array(store.keys()[0], "tokens").dtype == np.uint16
    assert not encode(music, tmp_path / "out")[1]
    (music / "0.wav").unlink()
    audio.write(music / "1.wav", 0.9 * torch.ones(1, 4000), 8000)
    store, todo = encode(music, tmp_path / "out")
    assert [path.name for path in todo] == ["1.wav"]
    assert sorted(store.source(key) for key in store.keys()) == ["1.wav", "2.wav"]


def test_a_broken_file_is_named_and_the_rest_encoded(music, tmp_path, caplog):
    (music / "broken.wav").write_text("not audio")
    store, _ = encode(music, tmp_path / "out")
    assert len(store.keys()) == 3 and "broken.wav" in caplog.text


def test_an_interrupted_write_leaves_nothing_that_looks_finished(music, tmp_path, monkeypatch):
    store = TokenStore.create(tmp_path / "out", Header.of(Coarse(), ("tokens",)))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        store.add("key", "a.wav", {"tokens": torch.zeros(1, 5, dtype=torch.long)})
    assert not store.has("key") and not list((tmp_path / "out" / "tracks").iterdir())


def test_tokens_of_another_codec_are_refused(tmp_path):
    store = TokenStore.create(tmp_path, Header.of(Coarse(), ("tokens",)))
    other = Header("other", 8000, 64, 8, ("tokens",))
    with pytest.raises(ValueError, match="made by codec coarse .* other .*encode again"):
        store.check(other)
    with pytest.raises(ValueError, match="lacks the token streams"):
        store.check(Header.of(Coarse(), ("tokens", "round_trip")))


def test_a_header_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no token store"):
        TokenStore.open(tmp_path)
    (tmp_path / "header.json").write_text(json.dumps({"hop": 3}))
    with pytest.raises(ValueError, match="not a token store's header"):
        TokenStore.open(tmp_path)
