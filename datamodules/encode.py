"""Encode a folder of music into a token store: resumable, and shared by the Trainer's processes."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import Dataset

from audio import files as audio
from datamodules.tokens import Header, TokenStore, track_key
from foundation.codec import Codec, Frozen
from foundation.files import cache_folder

log = logging.getLogger(__name__)


def default_store(folder: Path, codec: Codec, streams: tuple[str, ...]) -> Path:
    """Name the store of a folder's tokens by the folder, the codec and the streams."""
    key = hashlib.sha256(f"{folder.resolve()} {codec.fingerprint} {sorted(streams)}".encode())
    return cache_folder() / "tokens" / f"{folder.name}-{key.hexdigest()[:12]}"


@dataclass
class Job:
    """What there is to encode: `todo` are files without tokens, `keys` names each file's tokens."""

    root: Path
    store: TokenStore
    keys: dict[Path, str]
    failed: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, folder: str | Path, codec: Codec, streams: tuple[str, ...], out: Path | None
    ) -> "Job":
        root = Path(folder).expanduser()
        files = audio.find(root)
        out = out or default_store(root, codec, streams)
        store = TokenStore.create(out, Header.of(codec, streams))
        return cls(root, store, {path: track_key(path, root) for path in files})

    @property
    def todo(self) -> list[Path]:
        return [path for path, key in self.keys.items() if not self.store.has(key)]

    def encode(self, codec: Codec, path: Path, samples: Tensor | str) -> None:
        """Store the tokens of samples [C, T]; a message instead says why there are none."""
        if isinstance(samples, str):
            self.failed[path] = samples
            return
        device = next(codec.parameters(), samples).device
        streams = codec.encode_streams(samples[None].to(device), self.store.header.streams)
        name = path.relative_to(self.root).as_posix() if path != self.root else path.name
        self.store.add(self.keys[path], name, {key: value[0] for key, value in streams.items()})

    def finish(self) -> None:
        """Drop the tokens of files that are gone and report those that can't be read."""
        self.store.drop_except(set(self.keys.values()))
        for reason in self.failed.values():
            log.warning("not encoded: %s", reason)
        if not self.store.keys():
            raise ValueError(f"none of the {len(self.keys)} files in {self.root} could be encoded")


class Tracks(Dataset):
    """Read whole files; one that can't be read gives the reason instead, which names it."""

    def __init__(self, paths: list[Path], sample_rate: int):
        self.paths, self.sample_rate = paths, sample_rate

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, Tensor | str]:
        path = self.paths[index]
        try:
            samples = audio.read(path, sample_rate=self.sample_rate, channels=1)
        except (ValueError, OSError) as error:
            return str(path), str(error)
        return str(path), samples if samples.shape[-1] else f"{path} holds no samples"


class EncodeModule(LightningModule):
    """Run a codec over tracks in the Trainer's predict loop; each process writes its own tracks."""

    def __init__(self, codec: Codec, job: Job):
        super().__init__()
        self.frozen, self.job = Frozen(codec), job

    @torch.no_grad()
    def predict_step(self, batch: tuple[str, Tensor | str], batch_idx: int) -> str:
        path, samples = batch
        self.job.encode(self.frozen.module, Path(path), samples)
        return path
