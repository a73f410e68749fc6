import json
import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audio import files as audio_files
from datamodules.encode import EncodingJob, TrackReader
from datamodules.metadata import Sidecar
from datamodules.token_store import Header, TokenStore, slice_stream
from foundation.codec import Codec
from foundation.errors import UserError
from foundation.files import replacing


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


class Smooth(Coarse):
    """Loudness as a latent of two channels, the second one turned over."""

    fingerprint, latent_dim, stream_names = "smooth", 2, ("tokens", "latents")

    def to_latents(self, audio):
        mono = torch.nn.functional.pad(audio.mean(1), (0, -audio.shape[-1] % self.hop))
        loud = mono.unflatten(-1, (-1, self.hop)).abs().mean(-1)
        return torch.stack([loud, -loud], 1)

    def from_latents(self, latents):
        return latents[:, :1].repeat_interleave(self.hop, -1)


class Triple(Coarse):
    """Three codebooks: the loudness step, and it again 1 and 2 higher, modulo 8."""

    fingerprint, num_codebooks, channels = "triple", 3, 2

    def encode(self, audio):
        return (super().encode(audio) + torch.arange(3)[None, :, None]) % 8

    def decode(self, tokens):
        return super().decode(tokens[:, :1]).repeat(1, 2, 1)


@pytest.fixture
def music(tmp_path):
    for i in range(3):
        audio_files.write(tmp_path / "music" / f"{i}.wav", 0.2 * i * torch.ones(1, 8000 + i), 8000)
    return tmp_path / "music"


def encode(folder, out, sidecar=None, codec=None, streams=None):
    codec = codec or Coarse()
    job = EncodingJob.create(folder, codec, streams, out, Sidecar.read(sidecar))
    todo = job.todo
    for path, samples in (TrackReader(todo, codec)[i] for i in range(len(todo))):
        job.encode(codec, type(folder)(path), samples)
    job.finish()
    return job.store, todo


def test_encode_twice_encodes_once_and_follows_the_folder(music, tmp_path):
    store, todo = encode(music, tmp_path / "out")
    assert len(todo) == 3 and len(store.keys()) == 3
    assert store.array(store.keys()[0], "tokens").dtype == np.uint16
    assert not encode(music, tmp_path / "out")[1]
    (music / "0.wav").unlink()
    audio_files.write(music / "1.wav", 0.9 * torch.ones(1, 4000), 8000)
    store, todo = encode(music, tmp_path / "out")
    assert [path.name for path in todo] == ["1.wav"]
    assert sorted(store.track(key).source for key in store.keys()) == ["1.wav", "2.wav"]


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
        store.add("key", "a.wav", {"tokens": torch.zeros(1, 5, dtype=torch.long)}, {})
    assert not store.has("key") and not list((tmp_path / "out" / "tracks").iterdir())


def test_cleaning_a_store_spares_what_another_process_is_writing(tmp_path, monkeypatch):
    store = TokenStore.create(tmp_path / "out", Header.of(Coarse(), ("tokens",)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", os.getppid)
        with replacing(tmp_path / "out" / "tracks" / "key") as temporary:
            temporary.mkdir()
            store.drop_except(set())
            assert temporary.exists()
    assert os.listdir(tmp_path / "out" / "tracks") == ["key"]


def test_tokens_of_another_codec_are_refused(tmp_path):
    store = TokenStore.create(tmp_path, Header.of(Coarse(), ("tokens",)))
    other = Header("other", 8000, 64, 8, ("tokens",))
    with pytest.raises(ValueError, match="made by codec coarse .* other .*encode again"):
        store.check(other)
    with pytest.raises(ValueError, match="lacks .'round_trip'.: encode again with --streams"):
        store.check(Header.of(Coarse(), ("tokens", "round_trip")))


def test_a_header_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no token store"):
        TokenStore.open(tmp_path)
    (tmp_path / "header.json").write_text(json.dumps({"hop": 3}))
    with pytest.raises(ValueError, match="not a token store's header"):
        TokenStore.open(tmp_path)


def test_a_grid_of_three_codebooks_is_stored_as_it_is(music, tmp_path):
    store, _ = encode(music, tmp_path / "out", codec=Triple())
    assert store.header.num_codebooks == 3
    key = next(key for key in store.keys() if store.track(key).source == "2.wav")
    array = store.array(key, "tokens")
    whole = Triple().encode(audio_files.read(music / "2.wav", channels=2)[None])[0]
    assert array.shape == (3, 126) and np.array_equal(array, whole)
    store.header = Header("triple", 8000, 64, 8, ("tokens",), 2)
    with pytest.raises(UserError, match=r"shape \[3, 126\], the store has 2 codebooks"):
        store.array(key, "tokens")
    with pytest.raises(UserError, match="have 2 codebooks, this model's codec has 3"):
        store.check(Header.of(Triple(), ("tokens",)))


def test_latents_are_stored_in_half_precision_and_only_where_they_are_asked_for(music, tmp_path):
    store, _ = encode(music, tmp_path / "plain", codec=Smooth())
    assert store.header.streams == ("tokens",)
    with pytest.raises(UserError, match=r"lacks .'latents'.: encode again with --streams '.lat"):
        store.check(Header.of(Smooth(), ("latents",)))
    store, _ = encode(music, tmp_path / "out", codec=Smooth(), streams=("latents",))
    reopened = TokenStore.open(tmp_path / "out")
    assert reopened.header == store.header == Header.of(Smooth(), ("latents",))
    key = next(key for key in store.keys() if store.track(key).source == "2.wav")
    array = store.array(key, "latents")
    assert array.shape == (2, 126) and array.dtype == np.float16
    whole = Smooth().to_latents(audio_files.read(music / "2.wav")[None])[0]
    torch.testing.assert_close(slice_stream(array, 3, 50), whole[:, 3:53], atol=1e-3, rtol=0)
    store.header = replace(store.header, latent_dim=3)
    with pytest.raises(UserError, match=r"shape \[2, 126\], the store has 3 channels"):
        store.array(key, "latents")


def test_a_store_of_an_older_version_is_read(tmp_path):
    """Arrays [L], a header without num_codebooks, tracks without metadata."""
    folder = tmp_path / "tracks" / "abc"
    folder.mkdir(parents=True)
    header = {"fingerprint": "coarse", "sample_rate": 8000, "hop": 64, "codebook_size": 8}
    (tmp_path / "header.json").write_text(json.dumps(header | {"streams": ["tokens"]}))
    np.save(folder / "tokens.npy", np.arange(7, dtype=np.uint16))
    (folder / "track.json").write_text(json.dumps({"source": "jazz/a.wav", "length": 7}))
    store = TokenStore.open(tmp_path)
    store.check(Header.of(Coarse(), ("tokens",)))
    assert store.array("abc", "tokens").shape == (1, 7)
    assert store.track("abc").cond == {"folder": "jazz"}
    (folder / "track.json").write_text("{}")
    with pytest.raises(UserError, match="track.json is damaged"):
        store.track("abc")


def test_metadata_is_stored_and_updated(music, tmp_path):
    (music / "2.wav").rename((music / "live").mkdir() or music / "live" / "2.wav")
    sidecar = tmp_path / "tags.jsonl"
    sidecar.write_text('{"track": "live/2.wav", "bpm": 90}\n')
    store, _ = encode(music, tmp_path / "out", sidecar)
    conds = {store.track(key).source: store.track(key).cond for key in store.keys()}
    empty = {"folder": "", "bpm": ""}
    assert conds == {"0.wav": empty, "1.wav": empty, "live/2.wav": {"folder": "live", "bpm": "90"}}
    encode(music, tmp_path / "out")  # without a sidecar, metadata stays
    assert {store.track(key).source: store.track(key).cond for key in store.keys()} == conds
    sidecar.write_text('{"track": "0.wav", "mood": "calm"}\n')
    _, todo = encode(music, tmp_path / "out", sidecar)
    conds = {store.track(key).source: store.track(key).cond for key in store.keys()}
    assert conds["0.wav"] == {"folder": "", "mood": "calm"} and not todo


class Wrong(Coarse):
    """A codec whose encode returns something else than it must."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def encode(self, audio):
        return self.change(super().encode(audio))


@pytest.mark.parametrize(
    "change",
    [
        lambda tokens: tokens[:, 0],
        lambda tokens: tokens[..., 1:],
        lambda tokens: tokens.float(),
        lambda tokens: tokens + 20,
        lambda tokens: tokens - 1,
        lambda tokens: tokens.repeat(1, 2, 1),
    ],
)
def test_what_a_codec_encodes_is_checked_before_it_is_stored(change, music, tmp_path):
    with pytest.raises(UserError, match=r"Wrong.encode must return int64 tokens \[batch, 1, 125\]"):
        encode(music, tmp_path / "out", codec=Wrong(change))
    assert not list((tmp_path / "out").glob("tracks/*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda latents: latents[:, :1],
        lambda latents: latents[..., 1:],
        lambda latents: latents.long(),
        lambda latents: latents / 0,
    ],
)
def test_latents_are_checked_before_they_are_stored(change, music, tmp_path):
    codec = Smooth()
    codec.to_latents = lambda audio: change(Smooth.to_latents(codec, audio))
    with pytest.raises(UserError, match=r"Smooth.to_latents must return finite floats \[batch, 2"):
        encode(music, tmp_path / "out", codec=codec, streams=("latents",))
    assert not list((tmp_path / "out").glob("tracks/*"))


class Local(Coarse):
    """A codec that says how far its tokens look."""

    fingerprint, piece = "local", 640

    def reach(self, names):
        return 64


def test_a_track_is_read_encoded_and_written_in_pieces(tmp_path, monkeypatch):
    random = torch.Generator().manual_seed(0)
    audio_files.write(tmp_path / "music" / "a.wav", torch.rand(1, 9999, generator=random), 8000)
    asked = []
    read = audio_files.Reader.read

    def note(self, start, stop):
        asked.append(stop - start)
        return read(self, start, stop)

    whole, _ = encode(tmp_path / "music", tmp_path / "whole")
    monkeypatch.setattr(audio_files.Reader, "read", note)
    store, _ = encode(tmp_path / "music", tmp_path / "pieces", codec=Local())
    assert len(asked) > 15 and max(asked) <= 640 + 2 * 64 + 800  # a tenth of a second to check
    (key,) = store.keys()
    assert np.array_equal(store.array(key, "tokens"), whole.array(key, "tokens"))
    for name in ("tokens.npy",):  # the very file that numpy would write
        files = [place.folder / "tracks" / key / name for place in (store, whole)]
        np.save(tmp_path / "numpys.npy", np.load(files[0]))
        assert files[0].read_bytes() == (tmp_path / "numpys.npy").read_bytes()


def test_a_file_that_needs_too_much_memory_or_ends_early_is_one_file(music, tmp_path, caplog):
    class Greedy(Coarse):
        def encode(self, samples):
            if samples.shape[-1] == 8001:
                raise MemoryError
            return super().encode(samples)

    store, _ = encode(music, tmp_path / "out", codec=Greedy())
    assert len(store.keys()) == 2 and "1.wav needs more memory than there is" in caplog.text


def test_samples_far_beyond_full_scale_are_left_out_clipped_or_scaled(music, tmp_path, caplog):
    samples = 0.5 * np.ones(8000, np.float32)
    samples[4000:] = 32767
    soundfile.write(music / "loud.wav", samples, 8000, subtype="FLOAT")
    tokens = {}
    for too_loud in ("skip", "clip", "scale", "clip"):
        caplog.clear()
        job = EncodingJob.create(music, Coarse(), out=tmp_path / "out", too_loud=too_loud)
        todo = job.todo
        for path, length in (TrackReader(todo, Coarse(), too_loud)[i] for i in range(len(todo))):
            job.encode(Coarse(), type(music)(path), length)
        job.finish()
        assert "loud.wav" in caplog.text
        sources = {job.store.track(key).source: key for key in job.store.keys()}
        assert len(sources) == (3 if too_loud == "skip" else 4)
        if too_loud != "skip":
            tokens[too_loud] = job.store.array(sources["loud.wav"], "tokens")
            assert not EncodingJob.create(
                music, Coarse(), out=tmp_path / "out", too_loud=too_loud
            ).todo
    assert tokens["clip"][0, 0] == 3 and tokens["clip"][0, -1] == 7
    assert tokens["scale"][0, 0] == 0 and tokens["scale"][0, -1] == 6


def damage(store, how):
    """Damage the arrays of 2.wav; return its key."""
    key = next(key for key in store.keys() if store.track(key).source == "2.wav")
    path = store.folder / "tracks" / key / "tokens.npy"
    if how == "other tokens":
        np.save(path, np.full((1, 126), 8, np.uint16))
    elif how == "too short":
        np.save(path, np.zeros((1, 100), np.uint16))
    elif how == "of floats":
        np.save(path, np.zeros((1, 126), np.float32))
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:-3]}[how])
    return key


@pytest.mark.parametrize("how", ["other tokens", "too short", "of floats", "empty", "cut"])
def test_damaged_tokens_are_refused_and_encoded_again(how, music, tmp_path):
    store, _ = encode(music, tmp_path / "out")
    whole = {key: store.read(key, "tokens").tolist() for key in store.keys()}
    key = damage(store, how)
    with pytest.raises(UserError, match="encode again"):
        store.read(key, "tokens")
    store, todo = encode(music, tmp_path / "out")
    if how != "other tokens":  # only reading them shows it
        assert [path.name for path in todo] == ["2.wav"]
        assert {key: store.read(key, "tokens").tolist() for key in store.keys()} == whole


@pytest.mark.parametrize("change", [{"hop": 0}, {"streams": []}, {"codebook_size": "8"}, {"x": 1}])
def test_a_header_that_no_codec_has_is_refused(change, music, tmp_path):
    store, _ = encode(music, tmp_path / "out")
    path = store.folder / "header.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="not a token store's header.*encode again"):
        TokenStore.open(store.folder)
