"""Memory-mapped tokens on disk: one folder a track, written whole or not at all.

    STORE/header.json                     codec fingerprint, rates, vocabulary, streams
    STORE/tracks/KEY/tokens.npy           one array for each stream, uint16 where it fits
    STORE/tracks/KEY/track.json           path, size and time of the file it was made of

A track's KEY is a hash of its path, size and modification time, so a changed file is a new track.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foundation.codec import Codec
from foundation.errors import MissingFileError, UserError
from foundation.files import write_json


@dataclass(frozen=True)
class Header:
    fingerprint: str
    sample_rate: int
    hop: int
    codebook_size: int
    streams: tuple[str, ...]
    num_codebooks: int = 1

    @classmethod
    def of(cls, codec: Codec, streams: tuple[str, ...]) -> "Header":
        return cls(
            codec.fingerprint,
            codec.sample_rate,
            codec.hop,
            codec.codebook_size,
            tuple(streams),
            codec.num_codebooks,
        )


def track_key(path: Path, root: Path) -> str:
    """Name a file's tokens by its place under root, its size and its modification time."""
    stat = path.stat()
    name = path.relative_to(root).as_posix() if path != root else path.name
    return hashlib.sha256(f"{name} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:20]


class TokenStore:
    """A folder of tokens; `open` reads one, `create` makes or continues one."""

    def __init__(self, folder: Path, header: Header):
        self.folder, self.header = folder, header

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        """Open a finished or partial store; FileNotFoundError or ValueError say what is wrong."""
        path = folder / "header.json"
        if not path.is_file():
            raise MissingFileError(f"{folder} is no token store (it has no header.json)")
        try:
            content = json.loads(path.read_text())
            header = Header(**{**content, "streams": tuple(content["streams"])})
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is not a token store's header: {error}") from error
        return cls(folder, header)

    @classmethod
    def create(cls, folder: Path, header: Header) -> "TokenStore":
        """Make a store or go on with the one that is there, if the same codec made it."""
        if (folder / "header.json").is_file():
            store = cls.open(folder)
            store.check(header)
            return store
        (folder / "tracks").mkdir(parents=True, exist_ok=True)
        write_json(folder / "header.json", asdict(header))
        return cls(folder, header)

    def check(self, header: Header) -> None:
        """Refuse another codec's tokens, or a store without a stream that is asked for."""
        ours = self.header
        if (ours.fingerprint, ours.hop) != (header.fingerprint, header.hop):
            raise UserError(
                f"the tokens in {self.folder} were made by codec {ours.fingerprint} (hop "
                f"{ours.hop}), this model's codec is {header.fingerprint} "
                f"(hop {header.hop}): encode again"
            )
        missing = sorted(set(header.streams) - set(ours.streams))
        if missing:
            raise UserError(f"{self.folder} lacks the token streams {missing}: encode again")

    def has(self, key: str) -> bool:
        return (self.folder / "tracks" / key / "track.json").is_file()

    def keys(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("tracks/*/track.json"))

    def add(self, key: str, source: str, streams: dict[str, Tensor]) -> None:
        """Write a track's streams [K, L] beside each other, then rename them into place at once."""
        final = self.folder / "tracks" / key
        temporary = final.with_name(f".{key}.{os.getpid()}")
        dtype = np.uint16 if self.header.codebook_size <= 2**16 else np.uint32
        temporary.mkdir(parents=True)
        try:
            for name, tokens in streams.items():
                np.save(temporary / f"{name}.npy", tokens.cpu().numpy().astype(dtype))
            length = min(tokens.shape[1] for tokens in streams.values())
            write_json(temporary / "track.json", {"source": source, "length": length})
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
        except OSError as error:
            raise OSError(
                f"the tokens of {source} can't be written to {self.folder}: {error.strerror}; what "
                "is there is whole, run it again to go on"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def drop_except(self, keep: set[str]) -> int:
        """Delete the tracks that are not in `keep`, and what interrupted writers left."""
        dropped = [key for key in self.keys() if key not in keep]
        for path in (self.folder / "tracks").glob(".*"):
            shutil.rmtree(path, ignore_errors=True)
        for key in dropped:
            shutil.rmtree(self.folder / "tracks" / key)
        return len(dropped)

    def source(self, key: str) -> str:
        """Give the place of a track's file under the folder that was encoded."""
        return self.track(key)["source"]

    def length(self, key: str) -> int:
        """Count a track's tokens."""
        return self.track(key)["length"]

    def track(self, key: str) -> dict:
        return json.loads((self.folder / "tracks" / key / "track.json").read_text())

    def array(self, key: str, stream: str) -> np.ndarray:
        """Map one track's stream [K, L] into memory; older stores hold [L], for K = 1."""
        array = np.load(self.folder / "tracks" / key / f"{stream}.npy", mmap_mode="r")
        return array[None] if array.ndim == 1 else array


def window_of(array: np.ndarray, start: int, length: int) -> Tensor:
    """Copy positions start to start + length of a mapped stream [K, L] to int64 [K, length]."""
    return torch.from_numpy(array[:, start : start + length].astype(np.int64))
