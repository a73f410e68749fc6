import json

import numpy as np
import pytest
import soundfile
import torch

from audio import files as audio_files
from datamodules.encode import EncodingJob, TrackReader
from datamodules.header import Header
from datamodules.identity import track_key
from datamodules.metadata import Sidecar
from datamodules.old_store import convert
from datamodules.store_merge import Catalog
from datamodules.token_store import TokenStore, create
from foundation.codec import Codec
from foundation.errors import UserError


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
    todo = job.todo()
    for path, samples in (TrackReader(todo, codec)[i] for i in range(len(todo))):
        job.encode(codec, type(folder)(path), samples)
    return job.finish(), todo


def rows(store):
    """The rows of a store's tracks by their names."""
    return {store.track(row).source: row for row in range(len(store))}


def content(store):
    """All tokens and metadata of a store by the tracks' names."""
    streams = store.header.streams
    return {
        name: ([store.read(row, stream).tolist() for stream in streams], store.track(row).cond)
        for name, row in rows(store).items()
    }


def test_encode_twice_encodes_once_and_follows_the_folder(music, tmp_path):
    store, todo = encode(music, tmp_path / "out")
    assert len(todo) == 3 and len(store) == 3 and store.header.dtype("tokens") == np.uint16
    files = {path: path.read_bytes() for path in (tmp_path / "out").glob("**/*.*")}
    assert not encode(music, tmp_path / "out")[1]
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("**/*.*")} == files
    (music / "0.wav").unlink()
    audio_files.write(music / "1.wav", 0.9 * torch.ones(1, 4000), 8000)
    store, todo = encode(music, tmp_path / "out")
    assert [path.name for path in todo] == ["1.wav"]
    assert list(rows(store)) == ["1.wav", "2.wav"]


def test_a_broken_file_is_named_and_the_rest_encoded(music, tmp_path, caplog):
    (music / "broken.wav").write_text("not audio")
    store, _ = encode(music, tmp_path / "out")
    assert len(store) == 3 and "broken.wav" in caplog.text


def test_an_unfinished_store_is_refused(tmp_path):
    create(tmp_path / "out", Header.of(Coarse(), ("tokens",)))
    with pytest.raises(UserError, match="isn't finished: run encode again"):
        TokenStore.open(tmp_path / "out")


def test_tokens_of_another_codec_are_refused(tmp_path):
    header = Header.of(Coarse(), ("tokens",))
    create(tmp_path, header)
    other = Header("other", 8000, 64, 8, ("tokens",))
    with pytest.raises(ValueError, match="made by codec coarse .* other .*encode again"):
        create(tmp_path, other)
    with pytest.raises(ValueError, match="lacks .'round_trip'.: encode again with --streams"):
        header.check(Header.of(Coarse(), ("tokens", "round_trip")), tmp_path)


def test_a_header_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no token store"):
        TokenStore.open(tmp_path)
    (tmp_path / "header.json").write_text(json.dumps({"hop": 3}))
    with pytest.raises(ValueError, match="not a token store's header"):
        TokenStore.open(tmp_path)


def test_a_grid_of_three_codebooks_is_stored_as_it_is(music, tmp_path):
    store, _ = encode(music, tmp_path / "out", codec=Triple())
    assert store.header.num_codebooks == 3
    tokens = store.read(rows(store)["2.wav"], "tokens")
    whole = Triple().encode(audio_files.read(music / "2.wav", channels=2)[None])[0]
    assert tokens.shape == (3, 126) and torch.equal(tokens, whole)
    assert torch.equal(store.read(rows(store)["2.wav"], "tokens", 7, 40), whole[:, 7:47])
    with pytest.raises(IndexError, match="positions 100 to 127 of 126"):
        store.read(rows(store)["2.wav"], "tokens", 100, 27)
    with pytest.raises(UserError, match="have 3 codebooks, this model's codec has 2"):
        store.check(Header("triple", 8000, 64, 8, ("tokens",), 2))


def test_latents_are_stored_in_half_precision_and_only_where_they_are_asked_for(music, tmp_path):
    store, _ = encode(music, tmp_path / "plain", codec=Smooth())
    assert store.header.streams == ("tokens",)
    with pytest.raises(UserError, match=r"lacks .'latents'.: encode again with --streams '.lat"):
        store.check(Header.of(Smooth(), ("latents",)))
    store, _ = encode(music, tmp_path / "out", codec=Smooth(), streams=("tokens", "latents"))
    reopened = TokenStore.open(tmp_path / "out")
    assert reopened.header == store.header == Header.of(Smooth(), ("tokens", "latents"))
    assert store.header.dtype("latents") == np.float16
    row = rows(store)["2.wav"]
    whole = Smooth().to_latents(audio_files.read(music / "2.wav")[None])[0]
    torch.testing.assert_close(store.read(row, "latents", 3, 50), whole[:, 3:53], atol=1e-3, rtol=0)
    assert store.read(row, "tokens").shape == (1, 126)


def old_store(folder, codec=None, names=("jazz/a.wav",)):
    """Write a store of version 1, as it was: arrays [L], no number of codebooks, no metadata."""
    header = {"fingerprint": "coarse", "sample_rate": 8000, "hop": 64, "codebook_size": 8}
    folder.mkdir()
    (folder / "header.json").write_text(json.dumps(header | {"streams": ["tokens"]}))
    for number, name in enumerate(names):
        place = folder / "tracks" / f"{number}abc"
        place.mkdir(parents=True)
        np.save(place / "tokens.npy", np.arange(7, dtype=np.uint16))
        (place / "track.json").write_text(json.dumps({"source": name, "length": 7}))
    return folder


def test_a_store_of_an_earlier_version_is_converted_by_a_command(tmp_path, caplog):
    folder = old_store(tmp_path / "old", names=("jazz/a.wav", "b.wav"))
    with pytest.raises(UserError, match="earlier version: convert it, once, with .* convert"):
        TokenStore.open(folder)
    (folder / "tracks/1abc/track.json").write_text("{}")
    store = convert(folder)
    store.check(Header.of(Coarse(), ("tokens",)))
    assert content(store) == {"jazz/a.wav": ([[list(range(7))]], {"folder": "jazz"})}
    assert "left out: " in caplog.text and not (folder / "tracks").exists()
    assert content(convert(folder)) == content(TokenStore.open(folder)) == content(store)


def test_a_converted_store_is_continued(music, tmp_path, monkeypatch):
    """Its tracks have the keys of the files that they were made of."""
    keys = [track_key(path, music).hex() for path in sorted(music.iterdir())]
    folder = old_store(tmp_path / "old", names=("0.wav", "1.wav"))
    for number in range(2):
        (folder / f"tracks/{number}abc").rename(folder / "tracks" / keys[number])
    store, todo = encode(music, folder)
    assert [path.name for path in todo] == ["2.wav"] and len(store) == 3
    assert store.read(0, "tokens").tolist() == [list(range(7))]


def test_metadata_is_stored_and_updated(music, tmp_path):
    (music / "2.wav").rename((music / "live").mkdir() or music / "live" / "2.wav")
    sidecar = tmp_path / "tags.jsonl"
    sidecar.write_text('{"track": "live/2.wav", "bpm": 90}\n')

    def conds(sidecar=None):
        store, todo = encode(music, tmp_path / "out", sidecar)
        return {store.track(row).source: store.track(row).cond for row in range(len(store))}, todo

    empty = {"folder": "", "bpm": ""}
    first = {"0.wav": empty, "1.wav": empty, "live/2.wav": {"folder": "live", "bpm": "90"}}
    assert conds(sidecar)[0] == first
    assert conds()[0] == first  # without a sidecar, metadata stays
    sidecar.write_text('{"track": "0.wav", "mood": "calm"}\n')
    second, todo = conds(sidecar)
    assert second["0.wav"] == {"folder": "", "mood": "calm"} and not todo


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
    assert not Catalog(tmp_path / "out", Header.of(Coarse(), ("tokens",))).keys()


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
    assert not Catalog(tmp_path / "out", Header.of(Coarse(), ("tokens",))).keys()


class Local(Coarse):
    """A codec that says how far its tokens look."""

    fingerprint, piece = "local", 640

    def reach(self, names):
        return 64


def test_a_track_is_read_encoded_and_written_in_pieces(tmp_path, monkeypatch):
    random = torch.Generator().manual_seed(0)
    audio_files.write(tmp_path / "music" / "a.wav", torch.rand(1, 19999, generator=random), 8000)
    asked = []
    read = audio_files.Reader.read

    def note(self, start, stop):
        asked.append(stop - start)
        return read(self, start, stop)

    whole, _ = encode(tmp_path / "music", tmp_path / "whole")
    monkeypatch.setattr(audio_files.Reader, "read", note)
    store, _ = encode(tmp_path / "music", tmp_path / "pieces", codec=Local())
    *pieces, check = sorted(asked)
    assert len(pieces) > 30 and pieces[-1] <= 640 + 2 * 64
    assert check <= audio_files.MISSING + 800  # whether the end is there
    assert content(store) == content(whole)


def test_a_file_that_needs_too_much_memory_or_ends_early_is_one_file(music, tmp_path, caplog):
    class Greedy(Coarse):
        def encode(self, samples):
            if samples.shape[-1] == 8001:
                raise MemoryError
            return super().encode(samples)

    store, _ = encode(music, tmp_path / "out", codec=Greedy())
    assert len(store) == 2 and "1.wav needs more memory than there is" in caplog.text


def test_samples_far_beyond_full_scale_are_left_out_clipped_or_scaled(music, tmp_path, caplog):
    samples = 0.5 * np.ones(8000, np.float32)
    samples[4000:] = 32767
    soundfile.write(music / "loud.wav", samples, 8000, subtype="FLOAT")
    tokens = {}
    for too_loud in ("skip", "clip", "scale", "clip"):
        caplog.clear()
        job = EncodingJob.create(music, Coarse(), out=tmp_path / "out", too_loud=too_loud)
        todo = job.todo()
        for path, length in (TrackReader(todo, Coarse(), too_loud)[i] for i in range(len(todo))):
            job.encode(Coarse(), type(music)(path), length)
        store = job.finish()
        assert "loud.wav" in caplog.text
        sources = rows(store)
        assert len(sources) == (3 if too_loud == "skip" else 4)
        if too_loud != "skip":
            tokens[too_loud] = store.read(sources["loud.wav"], "tokens")
            job = EncodingJob.create(music, Coarse(), out=tmp_path / "out", too_loud=too_loud)
            assert not job.todo()
    assert tokens["clip"][0, 0] == 3 and tokens["clip"][0, -1] == 7
    assert tokens["scale"][0, 0] == 0 and tokens["scale"][0, -1] == 6


@pytest.mark.parametrize("how", ["cut", "empty", "missing"])
def test_damaged_shards_are_refused_and_encoded_again(how, music, tmp_path):
    store, _ = encode(music, tmp_path / "out")
    whole = content(store)
    (shard,) = (tmp_path / "out" / "shards").iterdir()
    data = shard.read_bytes()
    shard.unlink() if how == "missing" else shard.write_bytes(data[:-3] if how == "cut" else b"")
    with pytest.raises(UserError, match="missing or damaged: encode again"):
        TokenStore.open(store.folder)
    store, todo = encode(music, tmp_path / "out")
    assert len(todo) == 3 and content(store) == whole and shard.read_bytes() == data


def test_tokens_that_the_codec_does_not_have_are_refused(music, tmp_path):
    store, _ = encode(music, tmp_path / "out")
    (shard,) = (tmp_path / "out" / "shards").iterdir()
    shard.write_bytes(b"\x08\x00" * (shard.stat().st_size // 2))
    with pytest.raises(UserError, match="out holds tokens of 0.wav that its codec doesn't have"):
        TokenStore.open(store.folder).read(0, "tokens")


def test_a_damaged_index_is_refused_and_made_again(music, tmp_path, caplog):
    store, _ = encode(music, tmp_path / "out")
    whole, path = content(store), tmp_path / "out" / "index.table"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UserError, match="index.table is damaged: its checksum.*encode again"):
        TokenStore.open(store.folder)
    store, _ = encode(music, tmp_path / "out")
    assert content(store) == whole and path.read_bytes() == data


@pytest.mark.parametrize("change", [{"hop": 0}, {"streams": []}, {"codebook_size": "8"}, {"x": 1}])
def test_a_header_that_no_codec_has_is_refused(change, music, tmp_path):
    store, _ = encode(music, tmp_path / "out")
    path = store.folder / "header.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="not a token store's header.*encode again"):
        TokenStore.open(store.folder)
