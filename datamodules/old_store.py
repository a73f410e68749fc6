"""Token stores of version 1, a folder for each track, and their conversion.

STORE/header.json                     codec fingerprint, rates, codebooks, streams
STORE/tracks/KEY/tokens.npy           one array [K, L] for each stream, or [L] for one codebook
STORE/tracks/KEY/track.json           path, length and metadata of the file that was encoded
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from datamodules.header import VERSION, Header
from datamodules.metadata import FOLDER, folder_of
from datamodules.store_index import KEY, Entry
from datamodules.store_merge import Catalog, merge
from datamodules.store_parts import PartWriter, hash_of
from datamodules.token_store import StoredTrack, TokenStore, is_old, parse_header
from foundation.arrays import read_npy
from foundation.codec import LATENTS
from foundation.errors import UserError, unreadable
from foundation.files import read_json, remove, write_json

log = logging.getLogger(__name__)
PIECE = 2**20  # positions that are copied at once


class OldStore:
    """The tracks of a store of version 1."""

    def __init__(self, folder: Path):
        self.folder = folder
        path = folder / "header.json"
        content = read_json(path, "encode again")
        with unreadable(f"{path} is not a token store's header", "encode again"):
            self.header: Header = parse_header(content)

    def keys(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("tracks/*/track.json"))

    def track(self, key: str) -> StoredTrack:
        """Read a track's description; UserError if it is damaged."""
        path = self.folder / "tracks" / key / "track.json"
        content = read_json(path, "encode again")
        with unreadable(f"{path} is damaged", "encode again"):
            cond = content.get("cond") or {FOLDER: folder_of(content["source"])}
            texts = [content["source"], *cond, *cond.values()]
            if type(content["length"]) is not int or content["length"] < 1:
                raise ValueError("the length must be a whole number from 1")
            if not all(isinstance(text, str) for text in texts):
                raise ValueError("source and metadata must be texts")
            return StoredTrack(content["source"], content["length"], cond)

    def array(self, key: str, stream: str, length: int) -> np.ndarray:
        """Map one track's stream [K, L] or [D, L] into memory; UserError for another shape."""
        path = self.folder / "tracks" / key / f"{stream}.npy"
        with unreadable(f"{path} is damaged", "encode again"):
            array = read_npy(path, in_place=True)
            array = array[None] if array.ndim == 1 else array
            if array.ndim != 2 or len(array) != self.header.rows(stream):
                raise ValueError(f"it has shape {list(array.shape)}")
            if array.dtype.kind not in ("f" if stream == LATENTS else "iu"):
                raise ValueError(f"it holds {array.dtype}")
            if array.shape[1] < length:
                raise ValueError(f"it has {array.shape[1]} of {length} positions")
        return array


def key_of(key: str) -> bytes:
    """Return the key of an old one, which for most is its bytes in hexadecimal."""
    try:
        number = bytes.fromhex(key)
    except ValueError:
        number = b""
    return number if len(number) == KEY else hash_of([key.encode()])[:KEY]


def convert(folder: Path) -> TokenStore:
    """Turn a store of version 1 into one of this version, in its place, without encoding.

    Killed at any moment it can be run again. Damaged tracks are left out, with a line each. A store
    of this version is returned as it is.
    """
    if not is_old(folder):
        store = TokenStore.open(folder)
        remove(folder / "tracks")  # of a conversion that was killed at its end
        return store
    old = OldStore(folder)
    log.info("converting the token store %s to the present form", folder)
    names = dict(copy(old, Catalog(folder, old.header)))
    catalog = Catalog(folder, old.header)
    if not names:
        raise UserError(f"the token store {folder} holds no tracks: encode again")
    merge(catalog, names, lambda entry: entry.cond)
    write_json(folder / "header.json", {"version": VERSION, **asdict(old.header)})
    remove(folder / "tracks")
    return TokenStore.open(folder)


def copy(old: OldStore, catalog: Catalog) -> Iterator[tuple[str, bytes]]:
    """Copy tracks that aren't in the catalog into a part; yield the names and keys of all."""
    writer = PartWriter(old.folder, old.header)
    for key in tqdm(old.keys(), desc="converting", unit="track", disable=None):
        try:
            track = old.track(key)
            arrays = {s: old.array(key, s, track.length) for s in old.header.streams}
        except UserError as error:
            log.warning("left out: %s", error)
            continue
        content = hash_of([b"converted ", key.encode()])
        entry = Entry(track.source, key_of(key), content, track.cond)
        if entry.key not in catalog:
            with writer.writing(entry, track.length) as write:
                for begin in range(0, track.length, PIECE):
                    taken = slice(begin, min(begin + PIECE, track.length))
                    write({s: torch.from_numpy(a[:, taken].copy()) for s, a in arrays.items()})
        yield track.source, entry.key
    writer.close()
