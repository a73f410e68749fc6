"""Encode a folder of music into a token store: resumable, and shared by the Trainer's processes."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from torch.utils.data import Dataset

from audio import files as audio_files
from audio.files import AudioError, Reader
from datamodules.header import Header
from datamodules.identity import changed_key, content_id, track_key
from datamodules.metadata import Sidecar
from datamodules.old_store import convert
from datamodules.share import Share, read_manifests, remove_manifests, write_manifest
from datamodules.store_index import Entry
from datamodules.store_merge import Catalog, merge
from datamodules.store_parts import PartWriter, Write, hash_of
from datamodules.token_store import TokenStore, create, is_old
from datamodules.tracks import name_of, report_left_out
from foundation.codec import Codec, Frozen
from foundation.errors import UserError
from foundation.files import (
    bytes_of,
    cache_folder,
    missing_folders,
    output_folder,
    printable,
    remove_new,
    user_path,
)
from foundation.locks import locked

log = logging.getLogger(__name__)


def default_store(folder: Path, codec: Codec, streams: tuple[str, ...]) -> Path:
    """Return the cache's folder for the tokens of a music folder, a codec and its streams."""
    made_of = f"{folder.resolve()} {codec.fingerprint} {sorted(streams)}"
    key = hashlib.sha256(bytes_of(made_of))
    return cache_folder() / "tokens" / f"{folder.name}-{key.hexdigest()[:12]}"


@dataclass
class EncodingJob:
    """The files of a music folder and the store of their tokens.

    Attributes:
        root: the music folder, or one file
        folder: of the store
        header: of the store
        keys: each file's key in the store
        sidecar: metadata of the tracks
        failed: why files could not be read
        too_loud: what to do with samples far beyond full scale, as `audio.files.Reader` says
        share: the files that this job encodes
        made: the store's folder and those above it, as far as this job made them
    """

    root: Path
    folder: Path
    header: Header
    keys: dict[Path, bytes]
    sidecar: Sidecar = field(default_factory=Sidecar)
    failed: dict[Path, str] = field(default_factory=dict)
    too_loud: audio_files.TooLoud = "skip"
    share: Share = field(default_factory=Share)
    made: list[Path] = field(default_factory=list)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        codec: Codec,
        streams: tuple[str, ...] | None = None,
        out: str | Path | None = None,
        sidecar: Sidecar | None = None,
        too_loud: audio_files.TooLoud = "skip",
        share: Share | None = None,
    ) -> "EncodingJob":
        """List the files, and create or open the store; one of version 1 is converted.

        Args:
            folder: a folder of music, or one file
            codec: makes the tokens
            streams: which of the codec's streams; those of tokens if None
            out: the store's folder; None takes the one in the cache that fit looks for
            sidecar: metadata of the tracks
            too_loud: what to do with samples far beyond full scale: skip the file, clip or scale it
            share: the files to encode; all if None

        Raises:
            UserError: for a folder without audio files, and a store of another codec
        """
        root, streams = user_path(folder, "audio"), streams or codec.token_streams
        files = audio_files.find(root)
        place = default_store(root, codec, streams) if out is None else output_folder(out)
        if is_old(place):
            convert(place)
        header = Header.of(codec, streams)
        made = missing_folders(place)
        create(place, header)
        known = sidecar or Sidecar()
        job = cls(root, place, header, {}, known, {}, too_loud, share or Share(), made)
        for path in files:
            try:
                job.keys[path] = track_key(path, root)
            except OSError as error:  # a link to nothing, a file that has just gone
                job.failed[path] = f"{path}: {error.strerror}"
        return job

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.folder, self.header)

    @cached_property
    def writer(self) -> PartWriter:
        return PartWriter(self.folder, self.header)

    @contextmanager
    def alone(self, name: str = ".lock") -> Iterator[None]:
        """Hold a lock of the store: another program that wants it waits, then has less to do."""

        def waiting() -> None:
            log.info("waiting for another program that encodes into %s", self.folder)

        with locked(self.folder / name, waiting):
            self.__dict__.pop("catalog", None)  # what was there before is out of date
            yield

    def todo(self, rank: int = 0, world_size: int = 1) -> list[Path]:
        """List the files of the job's share, or of a process's part of it, without tokens yet."""
        mine = [path for path in self.keys if name_of(path, self.root) in self.share]
        return [
            path
            for path in mine[rank::world_size]
            if self.stored_key(self.keys[path]) not in self.catalog
        ]

    def stored_key(self, key: bytes) -> bytes:
        """Return the key of a file's tokens: another one if it was clipped or scaled for them."""
        changed = changed_key(key, self.too_loud)
        return changed if changed in self.catalog else key

    @torch.no_grad()
    def encode(self, codec: Codec, path: Path, num_samples: int | str) -> None:
        """Store a file's tokens, read and encoded in pieces if the codec can.

        Equal files are encoded once. A text in place of the file's length is the reason why it
        can't be read.
        """
        if isinstance(num_samples, str):
            self.failed[path] = num_samples
            return
        try:
            with Reader(path, codec.sample_rate, codec.channels, self.too_loud) as reader:
                entry = self._entry(path, reader.is_changed)
                self.catalog.refresh()
                if known := self.catalog.length_of(entry.content):
                    return self.writer.refer(entry, known)
                with self._writing(entry, -(-num_samples // codec.hop)) as write:
                    streams = self.header.streams
                    for piece in codec.encode_in_pieces(reader.read_all, num_samples, streams):
                        write({stream: values[0] for stream, values in piece.items()})
        except AudioError as error:
            self.failed[path] = str(error)
        except MemoryError:
            self.failed[path] = f"{path} needs more memory than there is"

    def _entry(self, path: Path, is_changed: bool) -> Entry:
        name, change = name_of(path, self.root), self.too_loud if is_changed else ""
        key = changed_key(self.keys[path], change) if change else self.keys[path]
        return Entry(name, key, content_id(path, change), self.sidecar.cond(name))

    @contextmanager
    def _writing(self, entry: Entry, length: int) -> Iterator[Write]:
        try:
            with self.writer.writing(entry, length) as write:
                yield write
        except AudioError:
            raise
        except OSError as error:
            raise OSError(
                f"the tokens of {entry.name} can't be written to {self.folder}: {error.strerror}; "
                "the tracks written so far are complete, run it again to continue"
            ) from error

    @property
    def listing(self) -> str:
        """Hash the list of all files, so that jobs with other files don't take part in this one."""
        return hash_of(sorted(self.keys.values())).hex()

    def end_share(self, share: Share) -> None:
        """Record that a share is done, and which of its files failed."""
        self.writer.close()
        failed = {name_of(path, self.root): reason for path, reason in self.failed.items()}
        write_manifest(self.folder, share, self.listing, failed)

    def finish(self) -> TokenStore | None:
        """Put all tracks into the store, without those of files that are gone, and open it.

        Metadata of tracks that were encoded earlier is updated only if there is a sidecar. Returns
        None if other shares aren't done. With several processes the first one alone calls it, when
        all are done.
        """
        self.writer.close()
        self.catalog.refresh()
        names = {name_of(path, self.root): path for path in self.keys}
        others = read_manifests(self.folder, self.listing)
        self.failed |= {names[name]: why for name, why in others.items() if name in names}
        keys = {path: self.stored_key(key) for path, key in self.keys.items()}
        left = [p for p, key in keys.items() if key not in self.catalog and p not in self.failed]
        if left and self.share.count > 1:
            log.info("%d tracks are left to other shards, which also finish the store", len(left))
            return None
        for reason in self.failed.values():
            log.warning("not encoded: %s", printable(reason))
        report_left_out(self.root)
        if left:
            raise UserError(f"{len(left)} tracks have no tokens, such as {left[0]}: run it again")
        return self._merge({p: key for p, key in keys.items() if key in self.catalog})

    def _merge(self, keys: dict[Path, bytes]) -> TokenStore:
        if not keys:
            count = len(self.keys | self.failed)
            remove_new(self.made)
            raise UserError(f"none of the {count} files in {self.root} could be encoded")
        names = {name_of(path, self.root): key for path, key in keys.items()}
        self.sidecar.warn_of_unknown(names)

        def cond(entry: Entry) -> Mapping[str, str]:
            return self.sidecar.cond(entry.name) if self.sidecar.fields else entry.cond

        if self.sidecar.fields or not self.catalog.is_merged(names):
            merge(self.catalog, names, cond)
        remove_manifests(self.folder)
        return TokenStore.open(self.folder)


class TrackReader(Dataset):
    """Check files: (path, length in samples at the codec's rate); of a broken one, (path, reason).

    What isn't known of a file without decoding it is found out here, by the process that reads.
    """

    def __init__(self, paths: list[Path], codec: Codec, too_loud: audio_files.TooLoud = "skip"):
        self.paths, self.sample_rate = paths, codec.sample_rate
        self.too_loud: audio_files.TooLoud = too_loud

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, int | str]:
        path = self.paths[index]
        try:
            info = audio_files.check(path, self.too_loud)
        except (UserError, OSError) as error:
            return str(path), str(error)
        except MemoryError:
            return str(path), f"{path} needs more memory than there is"
        return str(path), info.num_samples_at(self.sample_rate)


class EncodeModule(LightningModule):
    """Run a codec over tracks in the Trainer's predict loop; each process has its own tracks."""

    def __init__(self, codec: Codec, job: EncodingJob):
        super().__init__()
        self.frozen, self.job = Frozen(codec), job
        self.allow_zero_length_dataloader_with_multiple_devices = True  # nothing left for one

    def predict_step(self, batch: tuple[str, int | str], batch_idx: int) -> str:
        path, num_samples = batch
        self.job.encode(self.frozen.module, Path(path), num_samples)
        return path
