"""What reads files, each with a small valid one, and what must hold of all that it accepts."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jsonargparse import Namespace

from audio.survey import Survey
from datamodules.header import Header
from datamodules.metadata import Sidecar
from datamodules.old_store import OldStore
from datamodules.store_index import Entry
from datamodules.store_merge import Catalog, merge
from datamodules.store_parts import PartWriter
from datamodules.token_store import TokenStore, create
from foundation.errors import UserError
from foundation.files import remove
from foundation.weights import read_state, write_state
from jbdiff.audio_buffer import AudioBuffer
from metrics.embedding_set import EmbeddingSet
from metrics.fad import compare
from metrics.musicnn_convert import DATA, FOLDER, INDEX, convert
from music_diffusion.checkpoints.load import load_model
from music_diffusion.commands.options import call
from music_diffusion.commands.training import LOOPS, check_resumable
from music_diffusion.downloads.record import read_record
from tests.fuzz.run_states import make_states, resume_states
from tests.metrics.tensorflow_table import tensorflow_index
from tests.music_diffusion.toy import Scaled, Tone


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        make: write a valid file to a folder, with all it needs, and return its path
        read: read it as a command does; assert what must hold of what is accepted
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def make_checkpoint(folder: Path, zipped: bool = True) -> Path:
    """Write what fit writes, as far as anything reads it before training."""
    content = {
        "epoch": 1,
        "global_step": 4,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": Tone().state_dict(),
        "loops": {name: {"state_dict": {}} for name in LOOPS},
        "callbacks": {"BestCheckpoint": {"best": 0.5}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": []}],
        "lr_schedulers": [],
        "hyper_parameters": SETTINGS,
        "provenance": {"version": "0.2.0", "seed": 0},
    }
    torch.save(content, folder / "last.ckpt", _use_new_zipfile_serialization=zipped)
    return folder / "last.ckpt"


SETTINGS = {
    "_class_path": "tests.music_diffusion.toy.Tone",
    "learning_rate": 0.1,
    "sampler": {"class_path": "tests.music_diffusion.toy.Scaled", "init_args": {"steps": 2}},
    "bad": False,
}
"""What a checkpoint says of its model."""


def resume(path: Path) -> None:
    content = check_resumable(str(path), Namespace(class_path=SETTINGS["_class_path"]))
    assert isinstance(content["hyper_parameters"], dict)


def make_export(folder: Path) -> Path:
    write_state(Tone().state_dict(), folder / "model.safetensors")
    return written(folder / "config.json", json.dumps({"hyper_parameters": SETTINGS}))


def make_vectors(folder: Path) -> Path:
    vectors().save(folder / "set.safetensors")
    return folder / "set.safetensors"


def vectors() -> EmbeddingSet:
    about = {"embedding": "logmel", "fingerprint": "f", "settings": "s", "measure": "FAD"}
    values = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    return EmbeddingSet(values, ["a.wav", "b.wav"], [2, 4], about, ["a note"])


def make_npy(folder: Path) -> Path:
    np.save(folder / "set.npy", vectors().values.numpy())
    return folder / "set.npy"


def compare_with(path: Path) -> None:
    compare(vectors(), EmbeddingSet.load(path, 3))


HEADER = Header("f", 8000, 64, 8, ("tokens",), 2)


def make_part(folder: Path) -> Path:
    """Write what an encoder leaves that was killed after two tracks."""
    create(folder, HEADER)
    writer = PartWriter(folder, HEADER)
    for number, name in enumerate(("jazz/a.wav", "b.wav")):
        entry = Entry(name, bytes([number]) * 10, bytes([number]) * 16, {"folder": "jazz"})
        with writer.writing(entry, 20) as write:
            write({"tokens": torch.arange(40).view(2, 20) % 8})
    writer.close()
    return next((folder / "parts").glob("*.part"))


def merge_all(folder: Path) -> TokenStore:
    catalog = Catalog(folder, HEADER)
    names = {catalog.entry(key).name: key for key in catalog.keys()}
    if len(names) != 2:
        raise UserError("a track is missing: encode again")
    return merge(catalog, names, lambda entry: entry.cond)


def make_store(folder: Path, file: str) -> Path:
    make_part(folder)
    merge_all(folder)
    return next(folder.glob(file))


def read_store(path: Path) -> None:
    """Read all tokens, as training and decoding do."""
    folder = next(p for p in path.parents if (p / "header.json").exists())
    check_tokens(TokenStore.open(folder))


def check_tokens(store: TokenStore) -> None:
    store.check(HEADER)
    for row in range(len(store)):
        track = store.track(row)
        tokens = store.read(row, "tokens", 0, track.length)
        assert tokens.shape == (2, track.length) and track.length > 0
        assert 0 <= tokens.min() and tokens.max() < store.header.codebook_size
        assert all(isinstance(text, str) for pair in track.cond.items() for text in pair)


def read_store_index(path: Path) -> None:
    """Read a store whose index is damaged, and has the checksum of what it holds."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        header = json.loads(data[8 : 8 + size])
        header["__metadata__"]["sha256"] = hashlib.sha256(data[8 + size :]).hexdigest()
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    read_store(path)


def read_part(path: Path) -> None:
    """Merge a copy of a damaged part."""
    folder = path.parents[1] / "copy"
    remove(folder)
    create(folder, HEADER)
    (folder / "parts" / path.name).write_bytes(path.read_bytes())
    check_tokens(merge_all(folder))


def make_old_store(folder: Path, file: str) -> Path:
    (place := folder / "tracks" / "key").mkdir(parents=True)
    (folder / "header.json").write_text(json.dumps(asdict(HEADER)))
    np.save(place / "tokens.npy", np.arange(40, dtype=np.uint16).reshape(2, 20) % 8)
    track = {"source": "jazz/a.wav", "length": 20, "cond": {"folder": "jazz"}}
    (place / "track.json").write_text(json.dumps(track))
    return folder / file


def read_old_store(path: Path) -> None:
    store = OldStore(next(p for p in path.parents if (p / "header.json").exists()))
    track = store.track("key")
    assert store.array("key", "tokens", track.length).shape[1] >= track.length > 0


def make_song_state(folder: Path) -> Path:
    buffer = AudioBuffer(folder / "level_2.f32", (2, 1, 100), overlap=10)
    for start in (0, 30):
        buffer.append(torch.rand(2, 1, 40), start)
    return buffer.state


def read_song_state(path: Path) -> None:
    buffer = AudioBuffer(path.with_suffix(".f32"), (2, 1, 100), overlap=10)
    assert 0 <= buffer.end <= 100 and buffer.read(0, 100).shape == (2, 1, 100)
    assert path.with_suffix(".f32").stat().st_size == 70 * 8


PARTS = {
    "conv2d": (8, ("kernel", "bias")),
    "dense": (2, ("kernel", "bias")),
    "batch_normalization": (11, ("gamma", "beta", "moving_mean", "moving_variance")),
}
VARIABLES = {
    f"{kind}_{number}/{part}" if number else f"{kind}/{part}": np.full(2, 0.5)
    for kind, (count, parts) in PARTS.items()
    for number in range(count)
    for part in parts
}
"""What the package musicnn holds, but for the sizes."""


def make_survey(folder: Path) -> Path:
    Survey(8000, 2, 99, 0.5, ("FL", "FR"), np.array([[0, 1, 2]])).save(folder / "survey.npz")
    return folder / "survey.npz"


def make_index(folder: Path) -> Path:
    return written(folder / "index", tensorflow_index(VARIABLES)[0])


def read_index(path: Path) -> None:
    wheel = path.with_name("musicnn.whl")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{FOLDER}/{INDEX}", path.read_bytes())
        archive.writestr(f"{FOLDER}/{DATA}", tensorflow_index(VARIABLES)[1])
    convert(wheel, path.with_name("out.safetensors"))


def make_song_settings(folder: Path) -> Path:
    settings = {"levels": "2", "level_2": {"sampler": "dpm", "steps": 3}, "seconds": 1.5}
    return written(folder / "settings.json", json.dumps(settings))


def options(
    steps: int = 1,
    rate: float = 0.5,
    names: list[str] | None = None,
    sampler: Scaled | None = None,
    model: dict | None = None,
    level_2: dict | None = None,
    levels: str | None = None,
    seconds: float | None = None,
) -> None:
    """What the configs that are tried set."""


def read_config(path: Path) -> None:
    call("toy", options, ["--config", str(path)])


CONFIG = """
steps: 3
rate: 1.0e-3
names: [a, b]
sampler: &s {class_path: tests.music_diffusion.toy.Scaled, init_args: {steps: 3, size: 0.5}}
model: {class_path: sedd.module.SEDD, init_args: {demo_steps: 5, length: 16}}
"""
RECORD = {"vqvae.pth.tar": {"sha256": "ab" * 32, "size": 5, "mtime": 1700000000000000000}}
SIDECAR = 'track,genre,year\njazz/a.wav,jazz,1959\nb.wav,"rock, loud",1971\n'
LINES = '{"track": "a.wav", "genre": "jazz", "live": true}\n{"track": "b.wav", "year": 1971}\n'

READERS = {
    "checkpoint": Reader(make_checkpoint, lambda path: load_model(path, "cpu")),
    "checkpoint_resumed": Reader(make_checkpoint, resume),
    "checkpoint_unzipped": Reader(lambda f: make_checkpoint(f, False), read_state),
    "checkpoint_states": Reader(make_states, resume_states),
    "export_settings": Reader(make_export, lambda path: load_model(path.parent, "cpu")),
    "export_weights": Reader(
        lambda f: make_export(f).with_name("model.safetensors"),
        lambda p: load_model(p.parent, "cpu"),
    ),
    "vectors_npy": Reader(make_npy, compare_with),
    "vectors_safetensors": Reader(make_vectors, compare_with),
    "store_header": Reader(lambda f: make_store(f, "header.json"), read_store),
    "store_index": Reader(lambda f: make_store(f, "index.table"), read_store_index),
    "store_shard": Reader(lambda f: make_store(f, "shards/*.bin"), read_store),
    "store_part": Reader(make_part, read_part),
    "old_store_header": Reader(lambda f: make_old_store(f, "header.json"), read_old_store),
    "old_store_track": Reader(lambda f: make_old_store(f, "tracks/key/track.json"), read_old_store),
    "old_store_tokens": Reader(
        lambda f: make_old_store(f, "tracks/key/tokens.npy"), read_old_store
    ),
    "song_state": Reader(make_song_state, read_song_state),
    "song_settings": Reader(make_song_settings, read_config),
    "config": Reader(lambda f: written(f / "config.yaml", CONFIG), read_config),
    "survey": Reader(make_survey, Survey.load),
    "tensorflow_index": Reader(make_index, read_index),
    "checksums": Reader(
        lambda f: written(f / "checksums.json", json.dumps(RECORD)), lambda p: read_record(p.parent)
    ),
    "sidecar_csv": Reader(lambda f: written(f / "sidecar.csv", SIDECAR), Sidecar.read),
    "sidecar_jsonl": Reader(lambda f: written(f / "sidecar.jsonl", LINES), Sidecar.read),
}
