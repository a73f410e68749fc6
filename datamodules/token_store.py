"""Memory-mapped tokens and latents on disk: one folder a track, complete or not there.

    STORE/header.json                     codec fingerprint, rates, codebooks, streams
    STORE/tracks/KEY/tokens.npy           one array [K, L] for each stream, uint16 if it fits
    STORE/tracks/KEY/latents.npy          that of latents, [D, L] in float16
    STORE/tracks/KEY/track.json           path, length and metadata of the file that was encoded

A track's KEY is a hash of its path, size and modification time, so a changed file is a new track.
Older stores hold arrays [L], for one codebook, and no metadata; they are read as well.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.array_writer import ArrayWriter
from datamodules.metadata import FOLDER, folder_of
from datamodules.tracks import name_of
from foundation.codec import LATENTS, Codec
from foundation.errors import MissingFileError, UserError
from foundation.files import bytes_of, remove, remove_leftovers, replacing, write_json


@dataclass(frozen=True)
class Header:
    """What all the tokens of a store have in common, in the codec's terms."""

    fingerprint: str
    sample_rate: int
    hop: int
    codebook_size: int
    streams: tuple[str, ...]
    num_codebooks: int = 1
    latent_dim: int | None = None

    @classmethod
    def of(cls, codec: Codec, streams: tuple[str, ...]) -> "Header":
        return cls(
            codec.fingerprint,
            codec.sample_rate,
            codec.hop,
            codec.codebook_size,
            tuple(streams),
            codec.num_codebooks,
            codec.latent_dim if LATENTS in streams else None,
        )

    def rows(self, stream: str) -> int:
        """Count the rows of a stream's arrays."""
        return (self.latent_dim or 0) if stream == LATENTS else self.num_codebooks

    def dtype(self, stream: str) -> type[np.generic]:
        """Return what a stream's arrays are written in."""
        if stream == LATENTS:
            return np.float16
        return np.uint16 if self.codebook_size <= 2**16 else np.uint32


@dataclass(frozen=True)
class StoredTrack:
    """A track of a store: the file it was made of, its length in tokens, its metadata."""

    source: str
    length: int
    cond: dict[str, str]


def track_key(path: Path, root: Path) -> str:
    """Hash a file's path relative to root, its size and its modification time."""
    stat = path.stat()
    text = f"{name_of(path, root)} {stat.st_size} {stat.st_mtime_ns}"
    return hashlib.sha256(bytes_of(text)).hexdigest()[:20]


class TokenStore:
    """A folder of tokens; `open` reads one, `create` makes one or continues it."""

    def __init__(self, folder: Path, header: Header):
        self.folder, self.header = folder, header

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        """Open a finished or partial store; UserError, or MissingFileError, if it is none."""
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
        """Make a store, or open the one that exists; UserError if another codec made it."""
        if (folder / "header.json").is_file():
            store = cls.open(folder)
            store.check(header)
            return store
        (folder / "tracks").mkdir(parents=True, exist_ok=True)
        write_json(folder / "header.json", asdict(header))
        return cls(folder, header)

    def check(self, header: Header) -> None:
        """Raise UserError for another codec's tokens, or a store without a stream of `header`."""
        ours = self.header
        if (ours.fingerprint, ours.hop) != (header.fingerprint, header.hop):
            raise UserError(
                f"the tokens in {self.folder} were made by codec {ours.fingerprint} (hop "
                f"{ours.hop}), this model's codec is {header.fingerprint} "
                f"(hop {header.hop}): encode again"
            )
        if ours.num_codebooks != header.num_codebooks:
            raise UserError(
                f"the tokens in {self.folder} have {ours.num_codebooks} codebooks, this model's "
                f"codec has {header.num_codebooks}: encode again"
            )
        missing = sorted(set(header.streams) - set(ours.streams))
        if missing:
            raise UserError(
                f"{self.folder} has the streams {list(ours.streams)} and lacks {missing}: encode "
                f"again with --streams '[{', '.join(header.streams)}]'"
            )

    def has(self, key: str) -> bool:
        return (self.folder / "tracks" / key / "track.json").is_file()

    def keys(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("tracks/*/track.json"))

    def add(self, key: str, source: str, streams: dict[str, Tensor], cond: dict[str, str]) -> None:
        """Write a track that is in memory: its streams [K, L] or [D, L] and its metadata."""
        length = min(values.shape[1] for values in streams.values())
        with self.writing(key, source, length, cond) as write:
            write(streams)

    @contextmanager
    def writing(
        self, key: str, source: str, length: int, cond: dict[str, str]
    ) -> Iterator[Callable[[dict[str, Tensor]], None]]:
        """Yield what writes a track of `length` positions piece by piece: streams [K, l] in order.

        Raises OSError where it can't be written; the tracks written earlier are kept.
        """
        try:
            with replacing(self.folder / "tracks" / key) as temporary, ExitStack() as files:
                temporary.mkdir()
                arrays: dict[str, ArrayWriter] = {}

                def write(streams: dict[str, Tensor]) -> None:
                    for name, values in streams.items():
                        if name not in arrays:
                            kind = self.header.rows(name), length, self.header.dtype(name)
                            array = ArrayWriter(temporary / f"{name}.npy", *kind)
                            arrays[name] = files.enter_context(array)
                        arrays[name].write(values.cpu().numpy())

                yield write
                files.close()
                assert all(array.done == length for array in arrays.values())
                content = {"source": source, "length": length, "cond": cond}
                write_json(temporary / "track.json", content)
        except OSError as error:
            raise OSError(
                f"the tokens of {source} can't be written to {self.folder}: {error.strerror}; the "
                "tracks written so far are complete, run it again to continue"
            ) from error

    def set_cond(self, key: str, cond: dict[str, str]) -> None:
        """Change a track's metadata, if it differs."""
        track = self.track(key)
        if track.cond != cond:
            content = {"source": track.source, "length": track.length, "cond": cond}
            write_json(self.folder / "tracks" / key / "track.json", content)

    def drop_except(self, keep: set[str]) -> int:
        """Delete the tracks that are not in `keep`, and what killed writers left."""
        dropped = [key for key in self.keys() if key not in keep]
        remove_leftovers(self.folder / "tracks")
        for key in dropped:
            remove(self.folder / "tracks" / key)
        return len(dropped)

    def track(self, key: str) -> StoredTrack:
        """Read a track's description; UserError if it is damaged."""
        path = self.folder / "tracks" / key / "track.json"
        try:
            content = json.loads(path.read_text())
            cond = content.get("cond") or {FOLDER: folder_of(content["source"])}
            return StoredTrack(content["source"], content["length"], cond)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is damaged: {error}; encode again") from error

    def array(self, key: str, stream: str) -> np.ndarray:
        """Map one track's stream [K, L] or [D, L] into memory; UserError for other rows."""
        path = self.folder / "tracks" / key / f"{stream}.npy"
        array = np.load(path, mmap_mode="r")
        array = array[None] if array.ndim == 1 else array
        rows, what = self.header.rows(stream), "channels" if stream == LATENTS else "codebooks"
        if array.ndim != 2 or len(array) != rows:
            raise UserError(
                f"{path} has shape {list(array.shape)}, the store has {rows} {what}: encode again"
            )
        return array


def slice_stream(array: np.ndarray, start: int, length: int) -> Tensor:
    """Copy positions start to start + length of a mapped stream: int64 [K, L] or float32 [D, L]."""
    kind = np.float32 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(array[:, start : start + length].astype(kind))
