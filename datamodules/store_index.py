"""The index of a token store: which tracks it has, and where in which shard their tokens are.

A table (`foundation.tables`) of columns, mapped into memory: nothing is read for a track but what
is asked for. Rows of `track_*` are tracks, sorted by name; rows of `blob_*` are encoded contents,
sorted by id: tracks of equal content share one. The n-th field of metadata is a
column `cond_n` of rows in a list of texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from foundation.errors import unreadable
from foundation.tables import Table, Texts, read_table, write_table

NAME = "index.table"
ID = 16  # bytes of a content's id, of a digest and of a shard's name
KEY = 10  # bytes of a track's key


@dataclass(frozen=True)
class Blob:
    """One encoded content.

    Attributes:
        content: the hash of what was encoded, which names it
        digest: the hash of its bytes
        length: in positions
        shard: the hexadecimal name of its shard
        offset: its first byte there
    """

    content: bytes
    digest: bytes
    length: int
    shard: str
    offset: int


@dataclass(frozen=True)
class Entry:
    """A track: its name, the key of the file that it was, its content, its metadata."""

    name: str
    key: bytes
    content: bytes
    cond: Mapping[str, str]


class StoreIndex:
    """Columns of tracks and of blobs; made by `of`, or read."""

    def __init__(self, table: Table):
        self.table = table
        arrays = table.arrays
        self.fields = tuple(table.about["fields"])  # pyright: ignore[reportArgumentType]
        self.names = Texts(arrays["track_name"], arrays["track_name_end"])
        self.keys, self.blob_of = arrays["track_key"], arrays["track_blob"]
        self.contents, self.digests = arrays["blob_content"], arrays["blob_digest"]
        self.lengths, self.offsets = arrays["blob_length"], arrays["blob_offset"]
        self.shard_of, self.shards = arrays["blob_shard"], arrays["shard_name"]
        self.codes = [arrays[f"cond_{n}"] for n in range(len(self.fields))]
        self.texts = [
            Texts(arrays[f"text_{n}"], arrays[f"text_{n}_end"]) for n in range(len(self.fields))
        ]

    @classmethod
    def of(cls, entries: Sequence[Entry], blobs: Sequence[Blob]) -> "StoreIndex":
        """Make an index of tracks sorted by name and blobs sorted by content."""
        rows = {blob.content: row for row, blob in enumerate(blobs)}
        shards = {name: row for row, name in enumerate(dict.fromkeys(b.shard for b in blobs))}
        arrays = {
            "track_key": hashes((entry.key for entry in entries), KEY),
            "track_blob": np.array([rows[entry.content] for entry in entries], np.int64),
            "blob_content": hashes((blob.content for blob in blobs), ID),
            "blob_digest": hashes((blob.digest for blob in blobs), ID),
            "blob_length": np.array([blob.length for blob in blobs], np.int64),
            "blob_offset": np.array([blob.offset for blob in blobs], np.int64),
            "blob_shard": np.array([shards[blob.shard] for blob in blobs], np.int32),
            "shard_name": hashes(map(bytes.fromhex, shards), ID),
        }
        arrays |= text_arrays("track_name", [entry.name for entry in entries])
        fields = list(dict.fromkeys(field for entry in entries for field in entry.cond))
        for n, field in enumerate(fields):
            values = [entry.cond.get(field, "") for entry in entries]
            texts = {text: row for row, text in enumerate(sorted(set(values)))}
            arrays[f"cond_{n}"] = np.array([texts[value] for value in values], np.int32)
            arrays |= text_arrays(f"text_{n}", texts)
        return cls(Table(arrays, {"fields": fields}))

    @classmethod
    def read(cls, folder: Path) -> "StoreIndex":
        """Map a store's index; UserError if it is damaged, FileNotFoundError if there is none."""
        path = folder / NAME
        table = read_table(path, "encode again")
        with unreadable(f"{path} is damaged", "encode again"):
            index = cls(table)
            index.validate()
        return index

    def write(self, folder: Path) -> None:
        write_table(folder / NAME, self.table)

    def validate(self) -> None:
        """Raise ValueError for what `of` doesn't make; sizes of shards are the store's to check."""
        tracks, blobs = len(self.names), len(self.contents)
        for texts in (self.names, *self.texts):
            texts.validate()
        hashed = (self.keys, tracks, KEY), (self.contents, blobs, ID), (self.digests, blobs, ID)
        for array, rows, width in (*hashed, (self.shards, len(self.shards), ID)):
            if array.shape != (rows, width) or array.dtype != np.uint8:
                raise ValueError("a column of hashes has another shape")
        for column in (self.lengths, self.offsets, self.shard_of):
            check_column(column, blobs)
        check_column(self.blob_of, tracks, blobs)
        check_column(self.shard_of, blobs, len(self.shards))
        for codes, texts in zip(self.codes, self.texts, strict=True):
            check_column(codes, tracks, len(texts))
        if not all(isinstance(field, str) for field in self.fields):
            raise ValueError("fields must be names")
        if blobs and (self.lengths.min() < 1 or self.lengths.max() > 2**40):
            raise ValueError("a track's length isn't from 1 on")

    def __len__(self) -> int:
        """Count the tracks."""
        return len(self.names)

    @cached_property
    def track_lengths(self) -> np.ndarray:
        """The tracks' lengths in positions."""
        return self.lengths[self.blob_of]

    def cond(self, row: int) -> dict[str, str]:
        """Return a track's metadata."""
        columns = zip(self.fields, self.codes, self.texts, strict=True)
        return {field: texts[int(codes[row])] for field, codes, texts in columns}

    def blob(self, row: int) -> Blob:
        return Blob(
            self.contents[row].tobytes(),
            self.digests[row].tobytes(),
            int(self.lengths[row]),
            self.shards[self.shard_of[row]].tobytes().hex(),
            int(self.offsets[row]),
        )

    def find(self, content: bytes) -> int | None:
        """Return the row of a blob, or None."""
        rows = np.flatnonzero((self.contents == np.frombuffer(content, np.uint8)).all(1))
        return int(rows[0]) if len(rows) else None


def hashes(values: Iterable[bytes], width: int) -> np.ndarray:
    """Stack hashes of `width` bytes to [N, width]."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, width)


def text_arrays(name: str, texts: Iterable[str]) -> dict[str, np.ndarray]:
    column = Texts.of(texts)
    return {name: column.data, f"{name}_end": column.ends}


def check_column(column: np.ndarray, rows: int, stop: int | None = None) -> None:
    """Raise ValueError unless a column has `rows` whole numbers from 0, below `stop`."""
    if column.shape != (rows,) or column.dtype.kind != "i":
        raise ValueError(f"a column needs {rows} whole numbers")
    if rows and (column.min() < 0 or (stop is not None and column.max() >= stop)):
        raise ValueError("a number in a column points to nothing")
