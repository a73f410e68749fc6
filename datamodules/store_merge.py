"""What encoders wrote, put in order: shards and an index that follow from the music alone.

Contents are sorted by id and cut into shards, after a content whose id says so (as rsync and
backup programs cut files), so that a few new tracks change few shards. A shard's name is the hash
of its contents: one that is there already isn't written again, also after a merge was killed.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datamodules.header import Header
from datamodules.store_index import Blob, Entry, StoreIndex
from datamodules.store_parts import Record, hash_of, is_written, read_part, read_pieces, unseal
from datamodules.token_store import TokenStore, shard_path, shard_size
from foundation.errors import UserError
from foundation.files import remove, remove_leftovers, replacing

log = logging.getLogger(__name__)
SHARD = 2**26  # bytes, on average; no shard of several tracks has more than half as many again


class Catalog:
    """All that is encoded: the tracks of the index whose shards are whole, and those of parts."""

    def __init__(self, folder: Path, header: Header):
        self.folder, self.header = folder, header
        self.store = self._opened()
        self.records: dict[bytes, Record] = {}  # by the track's key
        self.contents: dict[bytes, Record] = {}  # those with bytes, by content
        self._read_to: dict[Path, int] = {}
        index = self.store.index if self.store else None
        damaged = self.store.damaged_shards() if self.store else set()
        self._rows: dict[bytes, int] = {}
        self._blobs: dict[bytes, int] = {}
        if index is not None:
            names = [name.tobytes().hex() not in damaged for name in index.shards]
            whole = [names[shard] for shard in index.shard_of.tolist()]
            ids = [row.tobytes() for row in index.contents]
            self._blobs = {ids[row]: row for row, good in enumerate(whole) if good}
            self._rows = {
                key.tobytes(): row
                for row, (key, blob) in enumerate(zip(index.keys, index.blob_of, strict=True))
                if whole[blob]
            }
        self.refresh()

    def _opened(self) -> TokenStore | None:
        try:
            return TokenStore(self.folder, self.header, StoreIndex.read(self.folder))
        except FileNotFoundError:
            return None
        except UserError as error:
            log.warning("%s", error)
            return None

    def refresh(self) -> None:
        """Read what was added to the parts, by any process."""
        for path in sorted((self.folder / "parts").glob("*.part")):
            try:
                records, end = read_part(path, self.header, self._read_to.get(path, 0))
            except FileNotFoundError:  # another program has merged it
                continue
            self._read_to[path] = end
            for record in records:
                self._add(record)

    def _add(self, record: Record) -> None:
        self.records[record.entry.key] = record
        if record.size:
            known = self.contents.setdefault(record.entry.content, record)
            if record.blob.digest < known.blob.digest:  # of another machine's arithmetic
                self.contents[record.entry.content] = record

    def __contains__(self, key: bytes) -> bool:
        record = self.records.get(key)
        return key in self._rows or (
            record is not None and self.length_of(record.entry.content) is not None
        )

    def entry(self, key: bytes) -> Entry:
        """Return a track; KeyError if it isn't there."""
        if key not in self._rows:
            return self.records[key].entry
        assert self.store is not None
        index, row = self.store.index, self._rows[key]
        content = index.contents[index.blob_of[row]].tobytes()
        return Entry(index.names[row], key, content, index.cond(row))

    def length_of(self, content: bytes) -> int | None:
        """Return the length of an encoded content, None if it isn't there."""
        blob = self.blob(content)
        return blob.length if blob else None

    def blob(self, content: bytes) -> Blob | None:
        if self.store is not None and content in self._blobs:
            return self.store.index.blob(self._blobs[content])
        record = self.contents.get(content)
        return record.blob if record else None

    def keys(self) -> list[bytes]:
        """List the keys of all tracks that are whole."""
        return [key for key in {**self._rows, **self.records} if key in self]

    def pieces(self, content: bytes) -> Iterator[bytes]:
        """Read a content's bytes; UserError, after removing them, if they are damaged."""
        blob = self.blob(content)
        assert blob is not None
        in_shard = content in self._blobs
        folder = self.folder / ("shards" if in_shard else "parts")
        path = folder / (f"{blob.shard}.bin" if in_shard else blob.shard)
        place = path, blob.offset, self.header.num_bytes(blob.length)
        if hash_of(read_pieces(*place)) != blob.digest:
            remove(path) if in_shard else unseal(path, self.contents[content])
            raise UserError(f"{path} is damaged: run encode again, which encodes those tracks anew")
        yield from read_pieces(*place)

    def parts(self) -> list[Path]:
        """List the parts that were read."""
        return list(self._read_to)

    def is_merged(self, tracks: Mapping[str, bytes]) -> bool:
        """Say whether the store's index is that of `tracks`, and nothing is left to merge."""
        index = self.store.index if self.store else None
        if index is None or self._read_to or len(self._rows) != len(tracks):
            return False
        return all(tracks.get(index.names[row]) == key for key, row in self._rows.items())


@dataclass(frozen=True)
class Plan:
    """A shard that is to be: the blobs in it, with their places."""

    name: str
    blobs: tuple[Blob, ...]
    size: int


def plan(blobs: Iterable[Blob], header: Header) -> Iterator[Plan]:
    """Cut blobs, sorted by content, into shards of `SHARD` bytes on average.

    From half that size on a shard ends after a blob whose id, a uniform number, is below the
    blob's share of the other half.
    """
    group: list[Blob] = []
    size = 0
    for blob in blobs:
        count = header.num_bytes(blob.length)
        if group and size + count > SHARD * 3 // 2:
            yield planned(group, header)
            group, size = [], 0
        group.append(blob)
        size += count
        number = int.from_bytes(hash_of([blob.content])[:8], "little")
        if size >= SHARD // 2 and number * (SHARD // 2) < count * 2**64:
            yield planned(group, header)
            group, size = [], 0
    if group:
        yield planned(group, header)


def planned(blobs: Sequence[Blob], header: Header) -> Plan:
    name = hash_of([part for blob in blobs for part in (blob.content, blob.digest)]).hex()
    placed, offset = [], 0
    for blob in blobs:
        placed.append(replace(blob, shard=name, offset=offset))
        offset += header.num_bytes(blob.length)
    return Plan(name, tuple(placed), offset)


def merge(
    catalog: Catalog, tracks: Mapping[str, bytes], cond: Callable[[Entry], Mapping[str, str]]
) -> TokenStore:
    """Write the shards and the index of `tracks`, their keys by name, and delete all else.

    Killed at any moment it leaves the store as it was or as it will be, and can be run again.
    Raises UserError where encoded bytes turn out to be damaged.
    """
    folder, header = catalog.folder, catalog.header
    entries = []
    for name in sorted(tracks, key=os.fsencode):
        entry = replace(catalog.entry(tracks[name]), name=name)
        entries.append(replace(entry, cond=cond(entry)))
    contents = sorted({entry.content for entry in entries})
    blobs = []
    for shard in plan((blob for c in contents if (blob := catalog.blob(c))), header):
        write_shard(catalog, shard)
        blobs += shard.blobs
    index = StoreIndex.of(entries, blobs)
    index.write(folder)
    clean(catalog, {blob.shard for blob in blobs})
    return TokenStore(folder, header, StoreIndex.read(folder))


def write_shard(catalog: Catalog, shard: Plan) -> None:
    path = shard_path(catalog.folder, shard.name)
    if shard_size(path) == shard.size:
        return
    with replacing(path) as temporary, temporary.open("wb") as file:
        for blob in shard.blobs:
            for piece in catalog.pieces(blob.content):
                file.write(piece)


def clean(catalog: Catalog, shards: set[str]) -> None:
    """Delete the shards that the index doesn't use, and the parts that were merged."""
    for path in (catalog.folder / "shards").glob("*.bin"):
        if path.stem not in shards:
            remove(path)
    for path in catalog.parts():
        if not is_written(path):
            remove(path)
    remove_leftovers(catalog.folder, deep=True)
