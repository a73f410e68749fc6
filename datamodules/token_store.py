"""Tokens and latents on disk: a few large files for any number of tracks, and one index.

    STORE/header.json           codec fingerprint, rates, codebooks, streams
    STORE/index.table           every track: where its tokens are, its metadata (`store_index`)
    STORE/shards/NAME.bin       the tokens of many tracks one after the other, about 64 MB
    STORE/parts/                what encoders have written since the index was (`store_parts`)

A track's bytes are its streams in the header's order, each [L, K] or [L, D], uint16 if it fits and
float16 for latents: a window of a stream is one read. Shards never change: their names are hashes
of what is in them, and `store_merge` writes new ones and then the index. What is in a store follows
from the music alone, not from how often, where and by how many programs it was encoded.
"""

import os
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from datamodules.header import VERSION, Header
from datamodules.store_index import StoreIndex
from foundation.codec import LATENTS
from foundation.errors import MissingFileError, UserError, unreadable
from foundation.files import read_json, write_json
from foundation.program import program

OPEN = 128  # shards that are kept open


@dataclass(frozen=True)
class StoredTrack:
    """A track of a store: the file it was made of, its length in positions, its metadata."""

    source: str
    length: int
    cond: dict[str, str]


class TokenStore:
    """A folder of tokens that is complete; `open` reads it, `store_merge.merge` makes it."""

    def __init__(
        self, folder: Path, header: Header, index: StoreIndex, shards: "Shards | None" = None
    ):
        self.folder, self.header, self.index = folder, header, index
        self.shards = shards or Shards(folder / "shards")

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        """Open a store; UserError if it is unfinished or damaged, MissingFileError if it is none.

        Memory and time are those of the index, about 150 bytes a track.
        """
        header = read_header(folder)
        try:
            index = StoreIndex.read(folder)
        except FileNotFoundError:
            raise MissingFileError(
                f"the token store {folder} isn't finished: run encode again to continue it"
            ) from None
        store = cls(folder, header, index)
        if damaged := store.damaged_shards():
            raise UserError(
                f"{shard_path(folder, min(damaged))} is missing or damaged: encode again"
            )
        return store

    def check(self, header: Header) -> None:
        """Raise UserError for another codec's tokens, or a store without a stream of `header`."""
        self.header.check(header, self.folder)

    def damaged_shards(self) -> set[str]:
        """Name the shards that are missing or have another size than the index says."""
        sizes = shard_sizes(self.index, self.header)
        return {n for n, size in sizes.items() if shard_size(shard_path(self.folder, n)) != size}

    def __len__(self) -> int:
        """Count the tracks, which are numbered in the order of their names."""
        return len(self.index)

    def track(self, row: int) -> StoredTrack:
        """Return a track's description."""
        index = self.index
        return StoredTrack(index.names[row], int(index.track_lengths[row]), index.cond(row))

    def read(self, row: int, stream: str, start: int = 0, length: int | None = None) -> Tensor:
        """Read positions of a track's stream: int64 [K, length] or float32 [D, length].

        Raises:
            UserError: for codes that aren't the codec's, and latents that aren't finite
        """
        index, header = self.index, self.header
        blob = int(index.blob_of[row])
        total = int(index.lengths[blob])
        length = total - start if length is None else length
        if not 0 <= start <= start + length <= total:
            raise IndexError(f"positions {start} to {start + length} of {total} were asked for")
        width = header.width(stream)
        place = header.begin(stream, total) + start * width
        data = self._bytes(blob, place, length * width)
        return self._values(row, stream, data)

    def _bytes(self, row: int, begin: int, size: int) -> bytes:
        """Read bytes of a blob; where another program has rewritten its shard, from the new one."""
        blob = self.index.blob(row)
        try:
            return self.shards.read(blob.shard, blob.offset + begin, size)
        except FileNotFoundError:
            newer = self.shards.newest_index()
            found = newer.find(blob.content)
            if found is None or newer.blob(found).digest != blob.digest:
                raise
        moved = newer.blob(found)
        return self.shards.read(moved.shard, moved.offset + begin, size)

    def _values(self, row: int, stream: str, data: bytes) -> Tensor:
        rows, kind = self.header.rows(stream), np.float32 if stream == LATENTS else np.int64
        array = np.frombuffer(data, self.header.dtype(stream)).reshape(-1, rows).T
        values = torch.from_numpy(array.astype(kind, order="C"))
        if stream == LATENTS:
            good = values.isfinite().all()
        else:
            good = not values.numel() or 0 <= values.min() <= values.max() < (
                self.header.codebook_size
            )
        if not good:
            raise UserError(
                f"{self.folder} holds {stream} of {self.index.names[row]} that its codec doesn't "
                "have: encode again"
            )
        return values


class Shards:
    """The files of a store's shards, of which the last ones read from stay open."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files: OrderedDict[str, BinaryIO] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:  # for a data worker that is started, not forked
        return {**self.__dict__, "files": OrderedDict()}

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Read `size` bytes of a shard; UserError if it ends before."""
        file = self.files.get(name) or self._open(name)
        self.files.move_to_end(name)
        data = read_at(file, offset, size)
        if len(data) != size:
            raise UserError(f"{self.folder / name}.bin is cut off: encode again")
        return data

    def newest_index(self) -> StoreIndex:
        """Read the index of the store as it is now."""
        return StoreIndex.read(self.folder.parent)

    def _open(self, name: str) -> BinaryIO:
        while len(self.files) >= OPEN:
            self.files.popitem(last=False)[1].close()
        self.files[name] = file = (self.folder / f"{name}.bin").open("rb", buffering=0)
        return file


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Read at a place that forked processes and threads don't share."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    file.seek(offset)  # on Windows, where no process is forked
    return file.read(size)


def shard_path(folder: Path, name: str) -> Path:
    return folder / "shards" / f"{name}.bin"


def shard_size(path: Path) -> int:
    """Return a file's size, or -1 where there is none."""
    return path.stat().st_size if path.is_file() else -1


def shard_sizes(index: StoreIndex, header: Header) -> dict[str, int]:
    """Return the size of each shard in bytes, by its name."""
    sizes = np.zeros(len(index.shards), np.int64)
    np.maximum.at(sizes, index.shard_of, index.offsets + index.lengths * header.num_bytes(1))
    names = (name.tobytes().hex() for name in index.shards)
    return dict(zip(names, sizes.tolist(), strict=True))


def is_old(folder: Path) -> bool:
    """Say whether a folder holds a store of version 1: a folder for each track."""
    path = folder / "header.json"
    return path.is_file() and "version" not in read_json(path, "encode again")


def read_header(folder: Path) -> Header:
    """Read a store's header; UserError for another version, MissingFileError for no store."""
    path = folder / "header.json"
    if not path.is_file():
        raise MissingFileError(f"{folder} is no token store (it has no header.json)")
    content = read_json(path, "encode again")
    version = content.pop("version", 1)
    if version == 1 and "fingerprint" in content:
        raise UserError(
            f"{folder} is a token store of an earlier version: convert it, once, with "
            f"{program()} convert {folder}"
        )
    with unreadable(f"{path} is not a token store's header", "encode again"):
        if version != VERSION:
            raise ValueError(f"its version is {version}, this program's is {VERSION}")
        return parse_header(content)


def parse_header(content: dict) -> Header:
    """Make a header of what its file says; ValueError for what no codec has."""
    header = Header(**{**content, "streams": tuple(content["streams"])})
    header.validate()
    return header


def create(folder: Path, header: Header) -> None:
    """Make a folder for a store, or check the one that exists; UserError for another codec's."""
    if (folder / "header.json").is_file():
        return read_header(folder).check(header, folder)
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    write_json(folder / "header.json", {"version": VERSION, **asdict(header)})
