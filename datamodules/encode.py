"""Encode a folder of music into a token store: resumable, and shared by the Trainer's processes."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from lightning.pytorch import LightningModule
from torch import distributed
from torch.utils.data import Dataset

from audio import files as audio_files
from audio.files import AudioError, Reader
from datamodules.metadata import Sidecar
from datamodules.token_store import Header, TokenStore, track_key
from datamodules.tracks import name_of, report_left_out
from foundation.codec import Codec, Frozen
from foundation.errors import UserError
from foundation.files import bytes_of, cache_folder, output_folder, printable, user_path

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
        store: gets the tokens
        keys: each file's key in the store
        sidecar: metadata of the tracks
        failed: why files could not be read
        too_loud: what to do with samples far beyond full scale, as `audio.files.Reader` says
    """

    root: Path
    store: TokenStore
    keys: dict[Path, str]
    sidecar: Sidecar = field(default_factory=Sidecar)
    failed: dict[Path, str] = field(default_factory=dict)
    too_loud: audio_files.TooLoud = "skip"

    @classmethod
    def create(
        cls,
        folder: str | Path,
        codec: Codec,
        streams: tuple[str, ...] | None = None,
        out: str | Path | None = None,
        sidecar: Sidecar | None = None,
        too_loud: audio_files.TooLoud = "skip",
    ) -> "EncodingJob":
        """List the files, and create or open the store.

        Args:
            folder: a folder of music, or one file
            codec: makes the tokens
            streams: which of the codec's streams; those of tokens if None
            out: the store's folder; None takes the one in the cache that fit looks for
            sidecar: metadata of the tracks
            too_loud: what to do with samples far beyond full scale: skip the file, clip or scale it

        Raises:
            UserError: for a folder without audio files, and a store of another codec
        """
        root, streams = user_path(folder, "audio"), streams or codec.token_streams
        files = audio_files.find(root)
        place = default_store(root, codec, streams) if out is None else output_folder(out)
        store = TokenStore.create(place, Header.of(codec, streams))
        job = cls(root, store, {}, sidecar or Sidecar(), too_loud=too_loud)
        for path in files:
            try:
                job.keys[path] = job.stored_key(track_key(path, root))
            except OSError as error:  # a link to nothing, a file that has just gone
                job.failed[path] = f"{path}: {error.strerror}"
        return job

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store's lock: another program that encodes into it waits, then has less to do.

        The lock is the operating system's, so a killed program leaves none.
        """
        lock = FileLock(self.store.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another program that encodes into %s", self.store.folder)
            lock.acquire()
        except (OSError, NotImplementedError):
            pass  # a file system without locks
        try:
            yield
        finally:
            lock.release()

    @property
    def todo(self) -> list[Path]:
        """The files that have no tokens yet."""
        return [path for path, key in self.keys.items() if not self.store.has(key)]

    def stored_key(self, key: str) -> str:
        """Return the key of a file's tokens: another one if it was clipped or scaled for them."""
        changed = f"{key}-{self.too_loud}"
        return changed if self.store.has(changed) else key

    @torch.no_grad()
    def encode(self, codec: Codec, path: Path, num_samples: int | str) -> None:
        """Store a file's tokens, read and encoded in pieces if the codec can.

        A text in place of the file's length is the reason why it can't be read.
        """
        if isinstance(num_samples, str):
            self.failed[path] = num_samples
            return
        name = name_of(path, self.root)
        try:
            with Reader(path, codec.sample_rate, codec.channels, self.too_loud) as reader:
                key = self.keys[path]
                if reader.is_changed:
                    key = f"{track_key(path, self.root)}-{self.too_loud}"
                length, cond = -(-num_samples // codec.hop), self.sidecar.cond(name)
                with self.store.writing(key, name, length, cond) as write:
                    streams = self.store.header.streams
                    for piece in codec.encode_in_pieces(reader.read_all, num_samples, streams):
                        write({stream: values[0] for stream, values in piece.items()})
                self.keys[path] = key
        except AudioError as error:
            self.failed[path] = str(error)
        except MemoryError:
            self.failed[path] = f"{path} needs more memory than there is"

    def finish(self) -> None:
        """Delete the tokens of files that are gone, update metadata, log what could not be read.

        Metadata of tracks that were encoded earlier is updated only if there is a sidecar. With
        several processes the first one alone calls it, when all are done.
        """
        self.keys = {path: self.stored_key(key) for path, key in self.keys.items()}
        self.store.drop_except(set(self.keys.values()))
        for reason in self.failed.values():
            log.warning("not encoded: %s", printable(reason))
        report_left_out(self.root)
        if not self.store.keys():
            count = len(self.keys | self.failed)
            raise UserError(f"none of the {count} files in {self.root} could be encoded")
        lost = [path for path in self.todo if path not in self.failed]
        if lost:
            raise UserError(f"{len(lost)} tracks have no tokens, such as {lost[0]}: run it again")
        names = {key: name_of(path, self.root) for path, key in self.keys.items()}
        self.sidecar.warn_of_unknown(names.values())
        if self.sidecar.fields:
            for key in self.store.keys():
                self.store.set_cond(key, self.sidecar.cond(names[key]))


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
    """Run a codec over tracks in the Trainer's predict loop; each process writes its own tracks."""

    def __init__(self, codec: Codec, job: EncodingJob):
        super().__init__()
        self.frozen, self.job = Frozen(codec), job

    def predict_step(self, batch: tuple[str, int | str], batch_idx: int) -> str:
        path, num_samples = batch
        self.job.encode(self.frozen.module, Path(path), num_samples)
        return path

    def on_predict_end(self) -> None:
        """Wait for the other processes, and collect why files of theirs could not be read."""
        if distributed.is_available() and distributed.is_initialized():
            failed: list[dict[Path, str]] = [{}] * self.trainer.world_size
            distributed.all_gather_object(failed, self.job.failed)
            for part in failed:
                self.job.failed |= part
