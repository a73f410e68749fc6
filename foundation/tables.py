"""Tables: named arrays in one file, mapped into memory, so that opening takes no reading.

The layout is that of safetensors: the length of a JSON header in 8 bytes, the header, the arrays.
Its entry `__metadata__` holds `about`, as JSON, and the SHA-256 of all arrays.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from foundation.errors import unreadable
from foundation.files import replacing

KINDS = {"U8": "u1", "U32": "<u4", "I32": "<i4", "I64": "<i8", "F64": "<f8"}
NAMES = {np.dtype(kind): name for name, kind in KINDS.items()}
CHUNK = 2**22  # bytes that are read at once for a checksum


@dataclass(frozen=True)
class Table:
    """Arrays by name, and what else is known of them."""

    arrays: Mapping[str, np.ndarray]
    about: Mapping[str, object]


def write_table(path: Path, table: Table) -> None:
    """Write a table, complete or not at all; equal tables make equal files."""
    names = sorted(table.arrays, key=lambda name: (-table.arrays[name].dtype.itemsize, name))
    arrays = {name: np.ascontiguousarray(table.arrays[name]) for name in names}
    header, end, digest = {}, 0, hashlib.sha256()
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        kind = NAMES[array.dtype]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
        digest.update(array.data)
    about = json.dumps(table.about, sort_keys=True)
    header["__metadata__"] = {"about": about, "sha256": digest.hexdigest()}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.data)


def read_table(path: Path, advice: str = "") -> Table:
    """Map a table into memory; UserError, with `advice`, for a damaged one."""
    size = path.stat().st_size
    with unreadable(f"{path} is damaged", advice), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise ValueError("it is cut off")
        header = json.loads(file.read(length))
        about = header.pop("__metadata__")
        if _digest(file) != about["sha256"]:
            raise ValueError("its checksum is another one")
        begin = 8 + length
        content = {name: _array(path, begin, size, **entry) for name, entry in header.items()}
        return Table(content, json.loads(about["about"]))


def _digest(file) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _array(
    path: Path, begin: int, size: int, dtype: str, shape: list[int], data_offsets: list[int]
) -> np.ndarray:
    kind = np.dtype(KINDS[dtype])
    first, last = (begin + offset for offset in data_offsets)
    if not begin <= first <= last <= size or min(shape, default=0) < 0:
        raise ValueError("an array lies outside the file")
    if math.prod(shape) * kind.itemsize != last - first:
        raise ValueError(f"{last - first} bytes aren't {shape} numbers of {dtype}")
    if first == last:  # which can't be mapped
        return np.empty(shape, kind)
    array = np.memmap(path, kind, "r", first, tuple(shape))
    return array.view(np.ndarray)  # whose elements cost a tenth as much to get


class Texts(Sequence[str]):
    """A column of texts, or of paths, in two arrays: all their bytes, and where each ends."""

    def __init__(self, data: np.ndarray, ends: np.ndarray):
        self.data, self.ends = data, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        encoded = [os.fsencode(text) for text in texts]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)[1:]
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def validate(self) -> None:
        """Raise ValueError where the texts don't fill the bytes one after the other."""
        if self.data.ndim != 1 or self.ends.ndim != 1 or self.ends.dtype.kind != "i":
            raise ValueError("texts need a row of bytes and a row of ends")
        first, last = (self.ends[0], self.ends[-1]) if len(self.ends) else (0, 0)
        if first < 0 or last != len(self.data) or (self.ends[1:] < self.ends[:-1]).any():
            raise ValueError("the texts don't end where they say")

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [os.fsdecode(text) for text in self.raw(*row.indices(len(self))[:2])]
        begin = self.ends[row - 1] if row else 0
        return os.fsdecode(self.data[begin : self.ends[row]].tobytes())

    def raw(self, first: int, last: int) -> list[bytes]:
        """Return the texts from first to last - 1 as bytes, in one read."""
        begin = int(self.ends[first - 1]) if first else 0
        ends = [begin, *self.ends[first:last].tolist()]
        data = self.data[begin : ends[-1]].tobytes()
        return [data[a - begin : b - begin] for a, b in zip(ends, ends[1:], strict=False)]
