"""Token stores at an address, on a file system of fsspec's that fails as it is told."""

import threading
from pathlib import Path

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from lightning.pytorch import Trainer

from audio import files as audio_files
from datamodules import remote_files, store_merge
from datamodules.encode import EncodingJob
from datamodules.remote_files import RemoteFolder
from datamodules.remote_store import RemoteStore, open_store
from datamodules.token_data import TokenDataModule
from datamodules.token_store import TokenStore
from foundation.errors import MissingFileError, RemoteError, UserError
from foundation.windows import TokenWindow
from music_diffusion.commands.error_lines import explain
from tests.datamodules.test_token_data import Reader
from tests.datamodules.test_token_store import Coarse, encode

ADDRESS = "shaky://bucket/store"


class NoCredentialsError(Exception):
    """As botocore's."""


class HttpError(Exception):
    """As gcsfs's where nobody has signed in; for those who may not read, it has another."""

    code = 401


class Shaky(MemoryFileSystem):
    """Keeps files in memory; each copy first meets the next fault, if there is one."""

    protocol = "shaky"
    store, pseudo_dirs = {}, [""]
    faults: list[Exception | str] = []
    copied: list[str] = []
    lists = True

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("shaky://"))

    def get_file(self, rpath, lpath=None, callback=None, outfile=None, **kwargs):
        assert isinstance(lpath, str)
        self.copied.append(Path(rpath).stem)
        fault = self.faults.pop(0) if self.faults and "shards" in rpath else None
        if fault:
            Path(lpath).write_bytes(self.cat_file(rpath)[:5])
        if isinstance(fault, Exception):
            raise fault
        if not fault:
            Path(lpath).write_bytes(self.cat_file(rpath))

    def ls(self, path, detail=True, **kwargs):
        if not self.lists:
            raise PermissionError("Access Denied")
        return super().ls(path, detail, **kwargs)


def put(store: Path) -> None:
    """Make the bucket a copy of a store."""
    Shaky.store.clear()
    for path in store.rglob("*"):
        if path.is_file():
            Shaky().pipe_file(f"/bucket/store/{path.relative_to(store)}", path.read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, TokenStore]:
    """Three files, and a store of them in shards that hold one each."""
    music = tmp_path_factory.mktemp("music")
    for i in range(3):
        samples = torch.rand(1, 8000, generator=torch.Generator().manual_seed(i))
        audio_files.write(music / f"{i}.wav", samples, 8000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_merge, "SHARD", 200)
        return music, encode(music, tmp_path_factory.mktemp("made") / "store")[0]


@pytest.fixture
def store(made, tmp_path, monkeypatch) -> TokenStore:
    """A store that lies in the bucket, too."""
    fsspec.register_implementation("shaky", Shaky, clobber=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_files, "WAIT", 0.0)
    for name, value in {"faults": [], "copied": [], "lists": True}.items():
        monkeypatch.setattr(Shaky, name, value)
    put(made[1].folder)
    return made[1]


def tokens(store) -> list[torch.Tensor]:
    return [store.read(row, "tokens") for row in range(len(store))]


def shards_of(store) -> list[str]:
    return sorted(path.stem for path in (store.folder / "shards").glob("*.bin"))


def fit(tokens: str, max_steps: int, workers: int = 0, ckpt_path: Path | None = None) -> tuple:
    model = Reader(Coarse(), TokenWindow(20, context=5))
    trainer = Trainer(
        max_steps=max_steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    data = TokenDataModule(tokens=tokens, batch_size=2, val_fraction=0, num_workers=workers)
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=False)
    return model.batches, trainer, data


def test_batches_are_those_of_a_folder_also_by_workers_and_resumed(store, tmp_path):
    expected, _, local = fit(str(store.folder), 15)
    found, _, data = fit(ADDRESS, 15, workers=1)
    half, trainer, _ = fit(ADDRESS, 8)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    rest, _, _ = fit(ADDRESS, 15, ckpt_path=tmp_path / "half.ckpt")
    for batches in (found, half + rest):
        for a, b in zip(batches, expected, strict=True):
            assert torch.equal(a["tokens"], b["tokens"]) and a["cond"] == b["cond"]
            assert torch.equal(a["context"], b["context"])
    assert data.describe() == local.describe()
    Shaky.store.clear()  # a checkpoint asks nobody for the data that it was trained with
    fit(str(store.folder), 9, ckpt_path=tmp_path / "half.ckpt")


def test_shards_are_copied_once_when_they_are_needed(store):
    shards = shards_of(store)
    assert len(shards) == 3
    readers = [open_store(ADDRESS), open_store(ADDRESS)]
    assert not set(Shaky.copied) & set(shards)
    readers[0].read(0, "tokens")
    assert len(set(Shaky.copied) & set(shards)) == 1
    threads = [threading.Thread(target=tokens, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(Shaky.copied) & set(shards)) == shards
    assert sorted(name for name in Shaky.copied if name in shards) == shards
    assert shards_of(readers[0]) == shards
    readers[0].shards.files.clear()
    (readers[0].folder / f"shards/{shards[0]}.bin").unlink()  # somebody empties the cache
    assert all(map(torch.equal, tokens(readers[0]), tokens(store)))


@pytest.mark.parametrize(
    "fault",
    ["cut", OSError(5, "Internal Error (500)"), ConnectionResetError("reset"), TimeoutError()],
    ids=lambda fault: type(fault).__name__,
)
def test_faults_that_pass_are_tried_again(store, fault, caplog):
    opened = open_store(ADDRESS)
    Shaky.faults += [fault] * (remote_files.ATTEMPTS - 1)
    assert all(map(torch.equal, tokens(opened), tokens(store)))
    assert caplog.text.count("; trying again") == 1


@pytest.mark.parametrize(
    ("fault", "said", "attempts"),
    [
        ("cut", "5 bytes came in place of 250", remote_files.ATTEMPTS),
        (OSError(5, "Internal Error"), "Internal Error", remote_files.ATTEMPTS),
        (PermissionError("Access Denied"), r"may not be read \(Access Denied\)", 1),
        (HttpError("Anonymous caller"), r"may not be read \(Anonymous caller\)", 1),
        (OSError("Forbidden: b/bucket"), r"may not be read \(Forbidden: b/bucket\)", 1),
        (
            FileNotFoundError("no such key"),
            r"isn't there \(no such key\)",
            2,
        ),  # and with the newest index
        (NoCredentialsError("Unable to locate credentials"), "Unable to locate credentials", 1),
        (OSError(28, "No space left on device"), "No space left on device", 1),
    ],
    ids=["cut", "500", "403", "401 of gs", "403 of gs", "404", "credentials", "full disk"],
)
def test_other_faults_are_a_line_and_leave_nothing_half_written(store, fault, said, attempts):
    opened = open_store(ADDRESS)
    Shaky.copied.clear()
    Shaky.faults += [fault] * 99
    with pytest.raises(RemoteError, match=said) as raised:
        opened.read(0, "tokens")
    line, status = explain(raised.value) or ("", 0)
    assert "\n" not in line and status and len(set(Shaky.copied) - {"index"}) == 1
    assert len([name for name in Shaky.copied if name != "index"]) == attempts
    assert {path.suffix for path in opened.folder.rglob("*.*")} <= {".json", ".table", ".lock", ""}


def test_after_a_minute_of_failing_there_is_no_further_attempt(store, monkeypatch):
    opened = open_store(ADDRESS)
    monkeypatch.setattr(remote_files, "PATIENCE", -1.0)
    Shaky.faults += [OSError(5, "Internal Error")] * 2
    with pytest.raises(RemoteError, match="Internal Error"):
        opened.read(0, "tokens")
    assert len(Shaky.faults) == 1


def test_a_fault_in_a_worker_is_the_same_line(store):
    fit(ADDRESS, 1)
    Shaky.faults += [PermissionError("Access Denied")] * 99
    for path in (RemoteStore.at(ADDRESS).folder / "shards").glob("*.bin"):
        path.unlink()
    with pytest.raises(RemoteError) as raised:
        fit(ADDRESS, 3, workers=1)
    line, status = explain(raised.value) or ("", 0)
    assert line.startswith(f"{ADDRESS}/shards/") and "\n" not in line and status == 2


def test_what_is_missing_is_named_when_the_store_is_opened(store):
    name = f"shards/{shards_of(store)[0]}.bin"
    whole = Shaky().cat_file(f"/bucket/store/{name}")
    Shaky().pipe_file(f"/bucket/store/{name}", whole[:-1])
    with pytest.raises(UserError, match=f"{name} is missing or damaged: copy the store there"):
        open_store(ADDRESS)
    Shaky.lists = False  # a bucket whose files may be read, not listed
    opened = open_store(ADDRESS)
    with pytest.raises(UserError, match="249 bytes came in place of 250"):
        tokens(opened)
    for name, problem in (("index.table", "isn't finished"), ("header.json", "no token store")):
        Shaky().rm_file(f"/bucket/store/{name}")
        with pytest.raises(MissingFileError, match=f"{ADDRESS}/{name} isn't there .*{problem}"):
            open_store(ADDRESS)


def test_a_store_that_is_copied_anew_is_read_on_and_its_old_shards_go(store, made, tmp_path):
    before, expected = open_store(ADDRESS), tokens(store)
    first = before.read(0, "tokens")
    before.shards.files.clear()
    again, _ = encode(made[0], tmp_path / "again")  # in one shard
    assert not set(shards_of(again)) & set(shards_of(store))
    put(again.folder)
    assert all(map(torch.equal, tokens(before), expected)) and torch.equal(first, expected[0])
    assert shards_of(open_store(ADDRESS)) == shards_of(again)


def test_addresses_that_nothing_reads_are_told(made, monkeypatch):
    def missing(_):
        raise ImportError("Install s3fs to access S3")

    fsspec.register_implementation("shaky", Shaky, clobber=True)
    for address, said in (
        ("none://bucket/store", "Protocol not known: none"),
        (f"zip://a::{ADDRESS}", "one address within another"),
    ):
        with pytest.raises(UserError, match=said):
            TokenDataModule(tokens=address)
    with pytest.raises(UserError, match="tags aren't read"):
        TokenDataModule(tokens=ADDRESS, tags=True)
    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(UserError, match=r"Install s3fs to access S3\).* pip install s3fs gcsfs"):
        RemoteFolder.at("s3://bucket/store")
    with pytest.raises(UserError, match="aws s3 sync FOLDER s3://bucket/store"):
        EncodingJob.create(made[0], Coarse(), out="s3://bucket/store")
