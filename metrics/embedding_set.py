"""The vectors of a set of music: saved, named and read again."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from foundation.arrays import read_npy
from foundation.errors import UserError, unreadable
from foundation.files import cache_folder, user_path
from foundation.weights import write_state
from metrics.embedding import Embedding
from metrics.frechet import Gaussian

SUFFIX = ".safetensors"
WORDS = ("files", "counts", "notes")
UNKNOWN = {  # of vectors from elsewhere
    "embedding": "unknown",
    "fingerprint": "",
    "settings": "unknown",
    "measure": Embedding.measure,
}


@dataclass(frozen=True)
class EmbeddingSet:
    """Vectors [N, D] of some files, in order, `counts` of them from each file.

    `about` holds the embedding's name, fingerprint, settings and measure. `notes` says what was
    left out, and why.
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
        """Write safetensors."""
        words = {"files": self.files, "counts": self.counts, "notes": self.notes}
        metadata = self.about | {key: json.dumps(value) for key, value in words.items()}
        write_state({"values": self.values}, path, metadata)

    @classmethod
    def load(cls, path: Path, dim: int | None = None) -> "EmbeddingSet":
        """Read what `save` wrote, or a .npy of frechet_audio_distance; UserError for other files.

        That library writes PANN's vectors as one long row, which is cut to rows of `dim` numbers
        where the embedding is known, and is taken as vectors of one number where it isn't.
        """
        return cls._load_npy(path, dim) if path.suffix == ".npy" else cls._load_saved(path)

    @classmethod
    def _load_saved(cls, path: Path) -> "EmbeddingSet":
        with unreadable(f"{path} doesn't hold saved vectors"):
            with safe_open(path, "pt") as stored:
                about = dict(stored.metadata() or {})
                words = {key: json.loads(about.pop(key, "null")) for key in WORDS}
                made = cls(stored.get_tensor("values"), about=about, **words)
            made.validate()
            return made

    @classmethod
    def _load_npy(cls, path: Path, dim: int | None) -> "EmbeddingSet":
        with unreadable(f"{path} is not a numpy file of numbers"):
            array = read_npy(path)
        if array.ndim == 1 and not array.size % (dim or 1):
            array = array.reshape(-1, dim or 1)
        if array.ndim != 2 or array.shape[1] != (dim or array.shape[1]):
            raise UserError(
                f"{path} has shape {list(array.shape)}, the embedding's vectors [count, {dim}]: "
                "name the embedding that made it with --embedding"
            )
        notes = [f"{path.name} doesn't say which embedding made it"]
        values = torch.from_numpy(array.astype(np.float32))
        made = cls(values, [str(path)], [len(array)], UNKNOWN, notes)
        with unreadable(f"{path} can't be compared"):
            made.validate()
        return made

    def validate(self) -> None:
        """Raise ValueError for what isn't vectors of files, as `save` writes them."""
        values, counts = self.values, self.counts
        if values.ndim != 2 or not values.is_floating_point() or not values.numel():
            raise ValueError(f"it holds {values.dtype} {list(values.shape)}, not vectors")
        if not values.isfinite().all():
            raise ValueError("it holds vectors that are not finite")
        if missing := sorted(UNKNOWN.keys() - self.about.keys()):
            raise ValueError(f"it doesn't say the {missing[0]}")
        if not all(is_list_of(str, words) for words in (self.files, self.notes)):
            raise ValueError("files and notes must be lists of texts")
        whole = is_list_of(int, counts) and min(counts, default=0) > 0
        if not whole or len(counts) != len(self.files) or sum(counts) != len(values):
            raise ValueError(f"its counts of vectors don't fit {len(values)} vectors")


def is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(type(one) is kind for one in value)


def describe(embedding: Embedding) -> dict[str, str]:
    """Return what an EmbeddingSet keeps about its embedding."""
    return {
        "embedding": embedding.name,
        "fingerprint": embedding.fingerprint,
        "settings": embedding.settings,
        "measure": embedding.measure,
    }


def saved_path(name: str) -> Path:
    """Return where vectors are saved under a name; a path that ends in .safetensors stays."""
    if name.endswith(SUFFIX):
        return user_path(name, "a name of vectors")
    if not name or "/" in name or name.startswith("."):
        raise UserError(f"{name!r} is neither a name nor a path that ends in {SUFFIX}")
    return cache_folder() / "saved_vectors" / f"{name}{SUFFIX}"
