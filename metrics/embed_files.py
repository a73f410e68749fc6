"""A folder of music to vectors: read ahead, embedded on all cores, kept by content."""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from audio import files as audio
from foundation.files import cache_folder
from metrics.embedding import QUIETEST, Embedding
from metrics.embedding_set import Vectors, describe

log = logging.getLogger(__name__)
FEWEST = 8  # examples a core embeds at once, or their weights are read too often
In, Out = TypeVar("In"), TypeVar("Out")


@dataclass
class Entry:
    """A file on its way: what it holds, its vectors once known, or why it has none."""

    path: Path
    digest: str = ""
    level: float = 0.0  # dB RMS
    examples: Tensor | None = None
    parts: list[Tensor] = field(default_factory=list)  # vectors so far
    vectors: np.ndarray | None = None
    problem: str = ""


Batch = list[tuple[Entry, Tensor]]  # examples, and whose they are


def collect(
    files: list[Path],
    embedding: Embedding,
    device: torch.device,
    batch_size: int = 64,
    num_workers: int = 2,
    progress: bool = True,
) -> Vectors:
    """Embed files, reading ahead in threads and filling batches across files.

    A CPU embeds one batch a core, each in one thread: cores that share a batch wait for each other.
    The vectors of a file are kept by its content and the embedding's fingerprint. Files that can't
    be read, and those too short for one vector, are left out and named in the notes.
    """
    store = cache_folder() / "vectors" / embedding.fingerprint
    embedding.to(device)
    threads = torch.get_num_threads()
    embedders = threads if device.type == "cpu" else 1
    size = batch_size
    if embedders > 1:  # half of each one's share, so that none is long alone with the last
        size = min(batch_size, max(FEWEST, batch_size // (2 * embedders)))
    done: list[Entry] = []
    try:
        with single_threaded(num_workers) as readers, single_threaded(embedders) as pool:
            found = ahead(readers, partial(read, embedding, device, store), files, num_workers)
            title = f"{embedding.name} vectors"
            bar = tqdm(found, title, len(files), unit="file", disable=not progress)
            batches = fill_batches(bar, done, size)
            for batch, vectors in ahead(pool, partial(embed, embedding), batches, embedders):
                keep(batch, vectors, store)
    finally:
        torch.set_num_threads(threads)  # which a thread's number replaces for all later ones
    return gather(done, embedding)


def single_threaded(count: int) -> ThreadPoolExecutor:
    """Make workers whose operations use one thread each."""
    return ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))


def read(embedding: Embedding, device: torch.device, store: Path, path: Path) -> Entry:
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


def fill_batches(entries: Iterable[Entry], done: list[Entry], size: int) -> Iterator[Batch]:
    """Put all entries into `done`, and their examples into batches, `size` of one shape at most."""
    batch: Batch = []
    count = 0
    for entry in entries:
        done.append(entry)
        for piece in () if entry.examples is None else entry.examples.split(size):
            if count + len(piece) > size or batch and batch[0][1].shape[1:] != piece.shape[1:]:
                yield batch
                batch, count = [], 0
            batch.append((entry, piece))
            count += len(piece)
    if batch:
        yield batch


@torch.no_grad()
def embed(embedding: Embedding, batch: Batch) -> tuple[Batch, Tensor]:
    return batch, embedding.embed(torch.cat([piece for _, piece in batch])).cpu()


def keep(batch: Batch, vectors: Tensor, store: Path) -> None:
    """Give a batch's vectors to its files, and store those of files that are complete."""
    each = len(vectors) // sum(len(piece) for _, piece in batch)  # vectors an example gives
    parts = vectors.split([each * len(piece) for _, piece in batch])
    for (entry, _), part in zip(batch, parts, strict=True):
        entry.parts.append(part)
        if sum(map(len, entry.parts)) < each * len(entry.examples):
            continue
        made = torch.cat(entry.parts).numpy()
        entry.examples, entry.parts = None, []
        if np.isfinite(made).all():
            entry.vectors = made
            save_cached(store / f"{entry.digest}.npz", entry)
        else:
            entry.problem = f"{entry.path} gave vectors that are not finite"


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
    """Write vectors and level of a file, which stand whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez(file, vectors=entry.vectors, level=entry.level)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[In], Out], items: Iterable[In], workers: int
) -> Iterator[Out]:
    """Map in order, a few items ahead and no more, so that memory stays bounded."""
    running: deque = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) > 2 * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:  # after an error or Ctrl-C nothing more is begun
        for future in running:
            future.cancel()
