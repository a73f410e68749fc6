"""Memory-mapped tokens and latents on disk: one folder a track, complete or not there.

    STORE/header.json                     codec fingerprint, rates, codebooks, streams
    STORE/tracks/KEY/tokens.npy           one array [K, L] for each stream, uint16 if it fits
    STORE/tracks/KEY/latents.npy          that of latents, [D, L] in float16
    STORE/tracks/KEY/track.json           path, length and metadata of the file that was encoded

A track's KEY is a hash of its path, size and modification time, so a changed file is a new track.
Older stores hold arrays [L], for one codebook, and no metadata; they are read as well.
"""

import hashlib
import logging
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
from foundation.arrays import read_npy
from foundation.codec import LATENTS, Codec
from foundation.errors import MissingFileError, UserError, unreadable
from foundation.files import (
    bytes_of,
    read_json,
    remove,
    remove_leftovers,
    replacing,
    write_json,
)

log = logging.getLogger(__name__)


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

    def validate(self) -> None:
        """Raise ValueError for what no codec has."""
        counts = [self.sample_rate, self.hop, self.codebook_size, self.num_codebooks]
        counts += [] if self.latent_dim is None else [self.latent_dim]
        if any(type(count) is not int or count < 1 for count in counts):
            raise ValueError(f"rates and sizes must be whole numbers from 1, got {counts}")
        if not isinstance(self.fingerprint, str):
            raise ValueError(f"the fingerprint must be a text, got {self.fingerprint!r}")
        if not self.streams or not all(isinstance(name, str) for name in self.streams):
            raise ValueError(f"streams must be names, got {self.streams!r}")

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

    def validate(self) -> None:
        """Raise ValueError for what no encoding writes."""
        if type(self.length) is not int or self.length < 1:
            raise ValueError(f"the length must be a whole number from 1, got {self.length!r}")
        if not isinstance(self.source, str) or not isinstance(self.cond, dict):
            raise ValueError("source must be a text, and cond its metadata")
        if not all(isinstance(text, str) for pair in self.cond.items() for text in pair):
            raise ValueError("metadata must be texts")


def track_key(path: Path, root: Path) -> str:
    """Hash a file's path relative to root, its size and its modification time."""
    stat = path.stat()
    text = f"{name_of(path, root)} {stat.st_size} {stat.st_mtime_ns}"
    return hashlib.sha256(bytes_of(text)).hexdigest()[:20]


class TokenStore:
    """A folder of tokens; `open` reads one, `create` makes one or continues it."""

    def __init__(self, folder: Path, header: Header):
        self.folder, self.header = folder, header
        self._lengths: dict[str, int] = {}  # of tracks that were read: a key's never changes

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        """Open a finished or partial store; UserError, or MissingFileError, if it is none."""
        path = folder / "header.json"
        if not path.is_file():
            raise MissingFileError(f"{folder} is no token store (it has no header.json)")
        content = read_json(path, "encode again")
        with unreadable(f"{path} is not a token store's header", "encode again"):
            header = Header(**{**content, "streams": tuple(content["streams"])})
            header.validate()
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
        """Say whether a track is there and whole; a damaged one is encoded again."""
        if not (self.folder / "tracks" / key / "track.json").is_file():
            return False
        try:
            self.check_track(key)
        except UserError as error:
            log.warning("%s", error)
            return False
        return True

    def check_track(self, key: str) -> None:
        """Raise UserError unless a track's arrays are as long as it says; no values are read."""
        for stream in self.header.streams:
            self.array(key, stream)

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
        content = read_json(path, "encode again")
        with unreadable(f"{path} is damaged", "encode again"):
            cond = content.get("cond") or {FOLDER: folder_of(content["source"])}
            track = StoredTrack(content["source"], content["length"], cond)
            track.validate()
        return track

    def _length(self, key: str) -> int:
        """Return a track's length, whose description is read once and not for each window."""
        if key not in self._lengths:
            self._lengths[key] = self.track(key).length
        return self._lengths[key]

    def array(self, key: str, stream: str) -> np.ndarray:
        """Map one track's stream [K, L] or [D, L] into memory; UserError for another shape."""
        path = self.folder / "tracks" / key / f"{stream}.npy"
        with unreadable(f"{path} is damaged", "encode again"):
            array = read_npy(path, in_place=True)
        array = array[None] if array.ndim == 1 else array
        rows, what = self.header.rows(stream), "channels" if stream == LATENTS else "codebooks"
        if array.ndim != 2 or len(array) != rows:
            raise UserError(
                f"{path} has shape {list(array.shape)}, the store has {rows} {what}: encode again"
            )
        if array.dtype.kind not in ("f" if stream == LATENTS else "iu"):
            raise UserError(f"{path} holds {array.dtype}: encode again")
        if array.shape[1] < (length := self._length(key)):
            raise UserError(f"{path} has {array.shape[1]} of {length} positions: encode again")
        return array

    def read(self, key: str, stream: str, start: int = 0, length: int | None = None) -> Tensor:
        """Read positions of a track's stream: int64 [K, length] or float32 [D, length].

        Raises:
            UserError: for codes that aren't the codec's, and latents that aren't finite
        """
        array = self.array(key, stream)
        values = slice_stream(array, start, array.shape[1] if length is None else length)
        if stream == LATENTS:
            good = values.isfinite().all()
        else:
            size = self.header.codebook_size
            good = not values.numel() or 0 <= values.min() <= values.max() < size
        if not good:
            raise UserError(
                f"{self.folder / 'tracks' / key} holds {stream} that this store's codec doesn't "
                "have: encode again"
            )
        return values


def slice_stream(array: np.ndarray, start: int, length: int) -> Tensor:
    """Copy positions start to start + length of a mapped stream: int64 [K, L] or float32 [D, L]."""
    kind = np.float32 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(array[:, start : start + length].astype(kind))
