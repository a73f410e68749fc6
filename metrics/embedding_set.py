"""The vectors of some music: saved, named and read again."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from foundation.files import cache_folder
from foundation.weights import write_state
from metrics.embedding import Embedding
from metrics.frechet import Gaussian

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Vectors:
    """Vectors [N, D] of some files, in order, `counts` of them from each file.

    `about` holds the embedding's name, fingerprint, settings and measure; vectors that came from
    elsewhere have no fingerprint. `notes` says what was left out, and why.
    """

    values: Tensor
    files: list[str]
    counts: list[int]
    about: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def gaussian(self) -> Gaussian:
        return Gaussian.of(self.values)

    def save(self, path: Path) -> None:
        words = {"files": self.files, "counts": self.counts, "notes": self.notes}
        metadata = self.about | {key: json.dumps(value) for key, value in words.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_state({"values": self.values}, path, metadata)

    @classmethod
    def load(cls, path: Path) -> "Vectors":
        """Read what `save` wrote."""
        try:
            with safe_open(path, "pt") as stored:
                about = dict(stored.metadata() or {})
                words = [json.loads(about.pop(key)) for key in ("files", "counts", "notes")]
                return cls(stored.get_tensor("values"), words[0], words[1], about, words[2])
        except KeyError as error:
            raise ValueError(f"{path} holds something else than saved vectors") from error
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{path} doesn't hold saved vectors: {error}") from error

    @classmethod
    def load_npy(cls, path: Path, about: dict[str, str], dim: int) -> "Vectors":
        """Read embeddings that frechet_audio_distance saved; PANN's lie in one long row there."""
        try:
            array = np.load(path)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is not a numpy file of numbers: {error}") from error
        if array.ndim == 1 and not array.size % dim:
            array = array.reshape(-1, dim)
        if array.ndim != 2 or array.shape[1] != dim:
            raise ValueError(
                f"{path} has shape {list(array.shape)}; {about['embedding']} needs [count, {dim}]: "
                "name the embedding that made it with --embedding"
            )
        about = about | {"fingerprint": ""}
        notes = [f"{path.name} doesn't say which embedding made it"]
        values = torch.from_numpy(array.astype(np.float32))
        return cls(values, [str(path)], [len(array)], about, notes)


def describe(embedding: Embedding) -> dict[str, str]:
    return {
        "embedding": embedding.name,
        "fingerprint": embedding.fingerprint,
        "settings": embedding.settings,
        "measure": embedding.measure,
    }


def saved_path(name: str) -> Path:
    """Where vectors lie that were saved under a name; a path that ends in .safetensors stays."""
    if name.endswith(SUFFIX):
        return Path(name).expanduser()
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is neither a name nor a path that ends in {SUFFIX}")
    return cache_folder() / "saved_vectors" / f"{name}{SUFFIX}"
