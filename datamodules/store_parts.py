"""What encoders have written and no merge has put into shards yet: one growing file an encoder.

    STORE/parts/HOST-PROCESS-RANDOM.part

A part is a row of records: magic, the length of a JSON header, the header, the track's bytes, and a
seal, which is a hash of the bytes and one of header and first hash. A record without its seal is
not there: that is all a killed encoder leaves. Nobody writes a part but the process that made it.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from torch import Tensor

from datamodules.header import Header
from datamodules.store_index import ID, KEY, Blob, Entry
from foundation.errors import unreadable
from foundation.leftovers import host, is_running

MAGIC = b"track 2\n"
LONGEST = 2**20  # bytes of a record's header
CHUNK = 2**22
NAME = re.compile(r"(?P<host>\w+)-(?P<process>\d+)-\w+\.part")

Write = Callable[[dict[str, Tensor]], None]


@dataclass(frozen=True)
class Record:
    """A track in a part: `blob` says where its bytes are, with the part's name as the shard's.

    There are none, `size` is 0, for a track whose content is elsewhere in the store.
    """

    entry: Entry
    blob: Blob
    size: int


class PartWriter:
    """Append tracks to a part of this process, which is made with the first one."""

    def __init__(self, folder: Path, header: Header):
        self.folder, self.header = folder / "parts", header
        self._file: BinaryIO | None = None

    @property
    def file(self) -> BinaryIO:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"{host()}-{os.getpid()}-{secrets.token_hex(4)}.part"
            self._file = (self.folder / name).open("x+b")
        return self._file

    def refer(self, entry: Entry, length: int) -> None:
        """Add a track whose content is in the store already."""
        with self._record(entry, length, 0):
            pass

    @contextmanager
    def writing(self, entry: Entry, length: int) -> Iterator[Write]:
        """Yield what writes a track of `length` positions piece by piece: streams [K, l] in order.

        Raises OSError where it can't be written; the tracks written earlier are kept.
        """
        header = self.header
        with self._record(entry, length, header.num_bytes(length)) as (file, begin):
            done = dict.fromkeys(header.streams, 0)

            def write(streams: dict[str, Tensor]) -> None:
                for name, values in streams.items():
                    numbers = values.cpu().numpy().astype(header.dtype(name)).T  # [l, K]
                    place = header.begin(name, length) + done[name] * header.width(name)
                    file.seek(begin + place)
                    file.write(np.ascontiguousarray(numbers).data)
                    done[name] += len(numbers)

            yield write
            assert all(count == length for count in done.values())

    @contextmanager
    def _record(self, entry: Entry, length: int, size: int) -> Iterator[tuple[BinaryIO, int]]:
        """Write a record's header; yield the file and where its bytes begin; seal it, or undo."""
        file = self.file
        start = file.seek(0, os.SEEK_END)
        try:
            text = header_text(entry, length, size)
            file.write(MAGIC + len(text).to_bytes(4, "little") + text)
            begin = file.tell()
            yield file, begin
            file.flush()
            file.seek(begin)
            digest = hash_of(chunks(file, size))
            file.seek(begin + size)
            file.write(seal(text, digest))
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            file.seek(start)
            file.truncate()
            raise

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def header_text(entry: Entry, length: int, size: int) -> bytes:
    content = {
        "name": entry.name,
        "key": entry.key.hex(),
        "content": entry.content.hex(),
        "cond": dict(entry.cond),
        "length": length,
        "size": size,
    }
    return json.dumps(content).encode()


def hash_of(pieces: Iterable[bytes]) -> bytes:
    """Hash bytes that come in pieces to `ID` bytes."""
    digest = hashlib.blake2b(digest_size=ID)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def read_pieces(path: Path, begin: int, size: int) -> Iterator[bytes]:
    """Read bytes of a file, a few at a time; fewer where it ends."""
    with path.open("rb") as file:
        file.seek(begin)
        yield from chunks(file, size)


def chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Read the next `size` bytes, a few at a time."""
    while size and (data := file.read(min(size, CHUNK))):
        size -= len(data)
        yield data


def seal(text: bytes, digest: bytes) -> bytes:
    return digest + hash_of([text, digest])


def read_part(path: Path, header: Header, begin: int = 0) -> tuple[list[Record], int]:
    """List the sealed records of a part from byte `begin`, and where to continue later.

    A record without its seal is left out; the list ends where there is no whole record.
    """
    records = []
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while (text := read_text(file, begin)) is not None:
            place = file.tell()
            try:
                entry, length, size = parse(text, header)
            except ValueError:
                break
            if place + size + 2 * ID > end:  # it is being written, or was when its writer ended
                break
            file.seek(place + size)
            ending = file.read(2 * ID)
            if ending == seal(text, ending[:ID]):
                blob = Blob(entry.content, ending[:ID], length, path.name, place)
                records.append(Record(entry, blob, size))
            begin = file.tell()
    return records, begin


def read_text(file: BinaryIO, begin: int) -> bytes | None:
    """Read a record's header at byte `begin`, or None if there is none."""
    file.seek(begin)
    start = file.read(len(MAGIC) + 4)
    size = int.from_bytes(start[len(MAGIC) :], "little")
    return file.read(size) if start.startswith(MAGIC) and size <= LONGEST else None


def parse(text: bytes, header: Header) -> tuple[Entry, int, int]:
    """Return a record's track, its length in positions and in bytes; ValueError for another."""
    with unreadable("a record's header"):
        content = json.loads(text)
        key, made_of = (bytes.fromhex(content[name]) for name in ("key", "content"))
        entry = Entry(content["name"], key, made_of, content["cond"])
        length, size = content["length"], content["size"]
        check_record(entry, length, size, header)
    return entry, length, size


def check_record(entry: Entry, length: int, size: int, header: Header) -> None:
    """Raise ValueError for what no encoder writes."""
    texts = [entry.name, *entry.cond, *entry.cond.values()]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("names and metadata must be texts")
    if type(length) is not int or length < 1 or size not in (0, header.num_bytes(length)):
        raise ValueError("it has another length")
    if (len(entry.key), len(entry.content)) != (KEY, ID):
        raise ValueError("its hashes have another length")


def unseal(path: Path, record: Record) -> None:
    """Take a record out whose bytes turned out to be damaged, so that it is encoded again."""
    with path.open("r+b") as file:
        file.seek(record.blob.offset + record.size)
        file.write(bytes(2 * ID))


def is_written(path: Path) -> bool:
    """Say whether another process of this machine may still write a part.

    That of another machine can't be asked, and has nothing to lose: only where every track has its
    tokens are parts deleted.
    """
    match = NAME.fullmatch(path.name)
    if match is None or match["host"] != host() or int(match["process"]) == os.getpid():
        return False
    return is_running(int(match["process"]))
