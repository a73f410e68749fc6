"""Encode a folder of music into a token store: resumable, and shared by the Trainer's processes."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import Dataset

from audio import files as audio_files
from datamodules.metadata import Sidecar
from datamodules.token_store import Header, TokenStore, track_key
from datamodules.tracks import name_of
from foundation.codec import Codec, Frozen
from foundation.errors import UserError
from foundation.files import bytes_of, cache_folder, output_folder, user_path

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
    """

    root: Path
    store: TokenStore
    keys: dict[Path, str]
    sidecar: Sidecar = field(default_factory=Sidecar)
    failed: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        codec: Codec,
        streams: tuple[str, ...] | None = None,
        out: str | Path | None = None,
        sidecar: Sidecar | None = None,
    ) -> "EncodingJob":
        """List the files, and create or open the store.

        Args:
            folder: a folder of music, or one file
            codec: makes the tokens
            streams: which of the codec's streams; those of tokens if None
            out: the store's folder; None takes the one in the cache that fit looks for
            sidecar: metadata of the tracks

        Raises:
            UserError: for a folder without audio files, and a store of another codec
        """
        root, streams = user_path(folder, "audio"), streams or codec.token_streams
        files = audio_files.find(root)
        place = default_store(root, codec, streams) if out is None else output_folder(out)
        store = TokenStore.create(place, Header.of(codec, streams))
        job = cls(root, store, {}, sidecar or Sidecar())
        for path in files:
            try:
                job.keys[path] = track_key(path, root)
            except OSError as error:  # a link to nothing, a file that has just gone
                job.failed[path] = f"{path}: {error.strerror}"
        return job

    @property
    def todo(self) -> list[Path]:
        """The files that have no tokens yet."""
        return [path for path, key in self.keys.items() if not self.store.has(key)]

    @torch.no_grad()
    def encode(self, codec: Codec, path: Path, samples: Tensor | str) -> None:
        """Store the tokens of samples [C, T]; a text instead is the reason why there are none."""
        if isinstance(samples, str):
            self.failed[path] = samples
            return
        device = next(codec.parameters(), samples).device
        streams = codec.encode_streams(samples[None].to(device), self.store.header.streams)
        for stream, encoded in streams.items():
            codec.check_encoded(encoded, samples.shape[-1], stream)
        name = name_of(path, self.root)
        tokens = {key: value[0] for key, value in streams.items()}
        self.store.add(self.keys[path], name, tokens, self.sidecar.cond(name))

    def finish(self) -> None:
        """Delete the tokens of files that are gone, update metadata, log what could not be read.

        Metadata of tracks that were encoded earlier is updated only if there is a sidecar.
        """
        self.store.drop_except(set(self.keys.values()))
        for reason in self.failed.values():
            log.warning("not encoded: %s", reason)
        if not self.store.keys():
            count = len(self.keys | self.failed)
            raise UserError(f"none of the {count} files in {self.root} could be encoded")
        names = {key: name_of(path, self.root) for path, key in self.keys.items()}
        self.sidecar.warn_of_unknown(names.values())
        if self.sidecar.fields:
            for key in self.store.keys():
                self.store.set_cond(key, self.sidecar.cond(names[key]))


class TrackReader(Dataset):
    """Read whole files to (path, samples [C, T]); for a broken file, to (path, reason)."""

    def __init__(self, paths: list[Path], codec: Codec):
        self.paths, self.sample_rate, self.channels = paths, codec.sample_rate, codec.channels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, Tensor | str]:
        path = self.paths[index]
        try:
            samples = audio_files.read(path, sample_rate=self.sample_rate, channels=self.channels)
        except (UserError, OSError) as error:
            return str(path), str(error)
        return str(path), samples


class EncodeModule(LightningModule):
    """Run a codec over tracks in the Trainer's predict loop; each process writes its own tracks."""

    def __init__(self, codec: Codec, job: EncodingJob):
        super().__init__()
        self.frozen, self.job = Frozen(codec), job

    def predict_step(self, batch: tuple[str, Tensor | str], batch_idx: int) -> str:
        path, samples = batch
        self.job.encode(self.frozen.module, Path(path), samples)
        return path
