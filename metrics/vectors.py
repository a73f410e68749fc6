"""The vectors of a folder of music: computed once, kept by content, saved and named."""

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from datamodules import audio
from datamodules.cache import cache_folder
from metrics.embedding import QUIETEST, Embedding
from metrics.frechet import Gaussian

log = logging.getLogger(__name__)
SUFFIX = ".safetensors"
In, Out = TypeVar("In"), TypeVar("Out")


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
        """Write to a file that stands whole or not at all."""
        words = {"files": self.files, "counts": self.counts, "notes": self.notes}
        metadata = self.about | {key: json.dumps(value) for key, value in words.items()}
        tensors = {"values": self.values.contiguous()}
        _write(path, lambda temporary: save_file(tensors, temporary, metadata))

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


@dataclass
class Entry:
    """A file on its way: what it holds, its vectors once known, or why it has none."""

    path: Path
    digest: str = ""
    level: float = 0.0  # dB RMS
    examples: Tensor | None = None
    vectors: np.ndarray | None = None
    problem: str = ""


def describe(embedding: Embedding) -> dict[str, str]:
    return {
        "embedding": embedding.name,
        "fingerprint": embedding.fingerprint,
        "settings": embedding.settings,
        "measure": embedding.measure,
    }


def collect(
    files: list[Path],
    embedding: Embedding,
    device: torch.device,
    batch_size: int = 64,
    num_workers: int = 2,
    progress: bool = True,
) -> Vectors:
    """Embed files, reading ahead in threads and filling batches across files.

    The vectors of a file are kept by its content and the embedding's fingerprint. Files that can't
    be read, and those too short for one vector, are left out and named in the notes.
    """
    store = cache_folder() / "vectors" / embedding.fingerprint
    embedding.to(device)
    done: list[Entry] = []
    waiting: list[Entry] = []
    with ThreadPoolExecutor(num_workers) as pool:
        entries = ahead(pool, lambda path: read(path, embedding, device, store), files, num_workers)
        title = f"{embedding.name} vectors"
        for entry in tqdm(entries, title, len(files), unit="file", disable=not progress):
            done.append(entry)
            if entry.examples is None:
                continue
            full = sum(len(other.examples) for other in [*waiting, entry]) > batch_size
            if full or waiting and waiting[0].examples.shape[1:] != entry.examples.shape[1:]:
                flush(waiting, embedding, batch_size, store)
            waiting.append(entry)
        flush(waiting, embedding, batch_size, store)
    return gather(done, embedding)


def read(path: Path, embedding: Embedding, device: torch.device, store: Path) -> Entry:
    """Find a file's vectors in the cache, or read it and prepare its examples."""
    entry = Entry(path)
    try:
        entry.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if cached := load_cached(store / f"{entry.digest}.npz", embedding.dim):
            entry.vectors, entry.level = cached
            return entry
        samples = audio.read(path, channels=1)
        entry.level = 10 * samples.square().mean().clamp(min=1e-12).log10().item()
        prepared = embedding.prepare(samples[None].to(device), audio.probe(path).sample_rate)[0]
        if len(prepared):
            entry.examples = prepared
        else:
            seconds = embedding.shortest / embedding.sample_rate
            entry.problem = f"{path} is shorter than the {seconds:.2f} s of one vector"
    except (ValueError, OSError) as error:
        entry.problem = str(error)
    return entry


@torch.no_grad()
def flush(waiting: list[Entry], embedding: Embedding, batch_size: int, store: Path) -> None:
    """Embed what waits, and keep each file's vectors."""
    if not waiting:
        return
    examples = torch.cat([entry.examples for entry in waiting])
    vectors = torch.cat([embedding.embed(part) for part in examples.split(batch_size)]).cpu()
    each = len(vectors) // len(examples)  # vectors an example gives
    sizes = [each * len(entry.examples) for entry in waiting]
    for entry, part in zip(waiting, vectors.split(sizes), strict=True):
        entry.examples, entry.vectors = None, part.numpy()
        if not np.isfinite(entry.vectors).all():
            entry.vectors, entry.problem = None, f"{entry.path} gave vectors that are not finite"
            continue
        save_cached(store / f"{entry.digest}.npz", entry)
    waiting.clear()


def gather(entries: list[Entry], embedding: Embedding) -> Vectors:
    """Put the files' vectors together, and note what is odd about the files."""
    good = [entry for entry in entries if entry.vectors is not None]
    problems = [entry.problem for entry in entries if entry.vectors is None]
    if not good:
        raise ValueError(f"none of {len(entries)} files gave a vector; the first: {problems[0]}")
    notes = problems[:3]
    if len(problems) > 3:
        notes.append(f"{len(problems)} of {len(entries)} files were left out")
    silent = sum(entry.level < QUIETEST for entry in good)
    if silent:
        notes.append(f"{silent} of {len(good)} files are silent (below {QUIETEST:g} dB)")
    values = torch.from_numpy(np.concatenate([entry.vectors for entry in good]))
    names = [str(entry.path) for entry in good]
    return Vectors(values, names, [len(e.vectors) for e in good], describe(embedding), notes)


def load_cached(path: Path, dim: int) -> tuple[np.ndarray, float] | None:
    """Read vectors and level of a file; what is broken is said so and made again."""
    if not path.is_file():
        return None
    try:
        with np.load(path) as stored:
            vectors, level = stored["vectors"], float(stored["level"])
        if vectors.ndim == 2 and vectors.shape[1] == dim and np.isfinite(vectors).all():
            return vectors, level
        reason = f"it has shape {list(vectors.shape)} or isn't finite"
    except Exception as error:  # zipfile, zlib and numpy each have their own
        reason = f"{type(error).__name__}: {error}"
    log.warning("the cached vectors in %s are broken and made again (%s)", path, reason)
    return None


def save_cached(path: Path, entry: Entry) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, vectors=entry.vectors, level=entry.level)

    _write(path, write)


def saved_path(name: str) -> Path:
    """Where vectors lie that were saved under a name; a path that ends in .safetensors stays."""
    if name.endswith(SUFFIX):
        return Path(name).expanduser()
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is neither a name nor a path that ends in {SUFFIX}")
    return cache_folder() / "saved_vectors" / f"{name}{SUFFIX}"


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[In], Out], items: Iterable[In], workers: int
) -> Iterator[Out]:
    """Map in order, a few items ahead and no more, so that memory stays bounded."""
    running: deque = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > 2 * workers:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _write(path: Path, write: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.chmod(0o644)  # safetensors lets nobody else read what it writes
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
