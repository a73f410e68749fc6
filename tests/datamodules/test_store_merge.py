"""A store is the same however it was made: in shares, after kills, with duplicates, again."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from audio import files as audio_files
from datamodules import store_merge
from datamodules.encode import EncodingJob, TrackReader
from datamodules.header import Header
from datamodules.share import Share
from datamodules.store_index import Blob, Entry, StoreIndex
from datamodules.store_merge import Catalog, merge, plan
from datamodules.store_parts import PartWriter, hash_of
from datamodules.token_store import TokenStore, create
from foundation.errors import UserError
from tests.datamodules.test_token_store import Coarse, content, encode

HEADER = Header("f", 8000, 64, 8, ("tokens",))


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    generator = torch.Generator().manual_seed(0)
    for index in range(8):
        samples = torch.rand(1, 4000 + 640 * index, generator=generator)
        audio_files.write(folder / f"{index}.wav", samples, 8000)
    shutil.copy(folder / "3.wav", folder / "3 again.wav")
    return folder


def files(store: Path) -> dict[str, bytes]:
    """What a store holds; locks aside."""
    found = (path for path in store.rglob("*") if path.is_file() and ".lock" not in path.name)
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in found}


class Counting(Coarse):
    def __init__(self):
        super().__init__()
        self.count = 0

    def encode(self, samples):
        self.count += 1
        return super().encode(samples)


def work(music, out, share=None, stop=None, codec=None):
    """Encode a share of the files, or its first `stop`; return what `finish` does."""
    codec = codec or Coarse()
    job = EncodingJob.create(music, codec, out=out, share=share)
    todo = job.todo()[:stop]
    for path, samples in (TrackReader(todo, codec)[i] for i in range(len(todo))):
        job.encode(codec, Path(path), samples)
    if stop is None:
        job.end_share(job.share)
        return job.finish()


@pytest.fixture(scope="module")
def whole(music, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "store"
    encode(music, out)
    return files(out)


def test_equal_files_are_encoded_once_and_are_tracks_of_their_own(music, tmp_path):
    codec = Counting()
    store = work(music, tmp_path / "out", codec=codec)
    assert codec.count == 8 and len(store) == 9 and len(store.index.contents) == 8
    assert content(store)["3.wav"][0] == content(store)["3 again.wav"][0]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_shares_in_any_order_make_the_same_store(order, music, whole, tmp_path):
    stores = [work(music, tmp_path / "out", Share(number, 4)) for number in order]
    assert [store is None for store in stores] == [True, True, True, False]
    assert files(tmp_path / "out") == whole
    assert work(music, tmp_path / "out", Share(1, 4)) and files(tmp_path / "out") == whole


def test_a_share_that_cannot_read_a_file_does_not_hold_up_the_others(music, tmp_path, caplog):
    broken = shutil.copytree(music, tmp_path / "broken")
    (broken / "x.wav").write_text("no audio")
    stores = [work(broken, tmp_path / "out", Share(number, 3)) for number in range(3)]
    assert [store is None for store in stores] == [True, True, False] and len(stores[2]) == 9
    assert "x.wav" in caplog.text and not list((tmp_path / "out" / "parts").iterdir())


@pytest.mark.parametrize("seed", range(4))
def test_a_part_cut_anywhere_is_continued_to_the_same_store(seed, music, whole, tmp_path):
    work(music, tmp_path / "out", stop=5)
    (part,) = (tmp_path / "out" / "parts").glob("*.part")
    data = part.read_bytes()
    part.write_bytes(data[: random.Random(seed).randrange(len(data))])
    work(music, tmp_path / "out", Share(0, 2), stop=2)
    encode(music, tmp_path / "out")
    assert files(tmp_path / "out") == whole


@pytest.mark.parametrize("step", ["write_shard", "clean"])
def test_a_merge_stopped_anywhere_is_continued(step, music, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(store_merge, "SHARD", 300)

    def stop(*_):
        raise KeyboardInterrupt

    encode(music, tmp_path / "small")
    with monkeypatch.context() as patch:
        patch.setattr(store_merge, step, stop)
        with pytest.raises(KeyboardInterrupt):
            work(music, tmp_path / "out")
    store, todo = encode(music, tmp_path / "out")
    assert not todo and len(store.index.shards) > 2
    assert files(tmp_path / "out") == files(tmp_path / "small")


def test_damaged_bytes_of_a_part_are_found_and_encoded_again(music, whole, tmp_path):
    work(music, tmp_path / "out", stop=5)
    (part,) = (tmp_path / "out" / "parts").glob("*.part")
    data = bytearray(part.read_bytes())
    data[data.index(b"}", data.index(b"size")) + 9] ^= 1  # behind the first header
    part.write_bytes(data)
    with pytest.raises(UserError, match="part is damaged: run encode again"):
        encode(music, tmp_path / "out")
    _, todo = encode(music, tmp_path / "out")
    assert len(todo) == 1 and files(tmp_path / "out") == whole


def test_a_reader_follows_a_track_into_a_rewritten_shard(music, tmp_path):
    folder = shutil.copytree(music, tmp_path / "music")
    store, _ = encode(folder, tmp_path / "out")
    before = content(store)
    reader = TokenStore.open(tmp_path / "out")
    (folder / "0.wav").unlink()
    encode(folder, tmp_path / "out")
    gone = before.pop("0.wav")
    row = 1 + list(before).index("1.wav")
    assert reader.read(row, "tokens").tolist() == before["1.wav"][0][0] and gone
    with pytest.raises(FileNotFoundError):
        reader.read(0, "tokens")


def blobs(count: int) -> list[Blob]:
    ids = sorted(hash_of([bytes([number % 256, number // 256])]) for number in range(count))
    return [Blob(each, each, 1 + each[0], "", 0) for each in ids]


def test_shards_are_as_long_as_asked_and_few_change_with_a_track(monkeypatch):
    monkeypatch.setattr(store_merge, "SHARD", 4000)
    shards = list(plan(blobs(2000), HEADER))
    sizes = [shard.size for shard in shards[:-1]]
    assert max(sizes) <= 6000 and min(sizes) >= 2000 and 3000 < np.mean(sizes) < 5000
    more = sorted([*blobs(2000), Blob(b"\x80" * 16, b"", 50, "", 0)], key=lambda blob: blob.content)
    changed = {shard.name for shard in plan(more, HEADER)} - {shard.name for shard in shards}
    assert 1 <= len(changed) <= 6 < len(shards)


def test_many_tracks_with_streams_come_back(tmp_path):
    header = Header("f", 8000, 64, 70000, ("a", "latents"), 2, 3)
    create(tmp_path, header)
    writer, values = PartWriter(tmp_path, header), {}
    for number in range(20):
        length = 3 + number
        a, latents = torch.randint(70000, (2, length)), torch.randn(3, length).half().float()
        values[f"{number}"] = a, latents
        entry = Entry(f"{number}", hash_of([b"%d" % number])[:10], hash_of([b"%d" % number]), {})
        with writer.writing(entry, length) as write:
            write({"a": a[:, :2], "latents": latents[:, :1]})
            write({"a": a[:, 2:], "latents": latents[:, 1:]})
    writer.close()
    catalog = Catalog(tmp_path, header)
    store = merge(catalog, {catalog.entry(k).name: k for k in catalog.keys()}, lambda entry: {})
    for row in range(20):
        a, latents = values[store.track(row).source]
        assert torch.equal(store.read(row, "a"), a)
        assert torch.equal(store.read(row, "latents", 1, 2), latents[:, 1:3])


def test_metadata_is_a_column_of_few_texts(tmp_path):
    blob = Blob(b"c" * 16, b"d" * 16, 5, "00" * 16, 0)
    conds = [{"folder": "jazz"}, {"folder": "jazz", "folder_end": "é"}, {}]
    entries = [Entry(f"{n}", bytes(10), b"c" * 16, cond) for n, cond in enumerate(conds)]
    StoreIndex.of(entries, [blob]).write(tmp_path)
    index = StoreIndex.read(tmp_path)
    index.validate()
    filled = [{"folder": "", "folder_end": ""} | cond for cond in conds]
    assert [index.cond(row) for row in range(3)] == filled and len(index.texts[0]) == 2
