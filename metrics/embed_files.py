"""Files of music to vectors: read ahead, embedded on all cores, cached by content."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from audio import files as audio
from foundation.errors import UserError
from foundation.files import cache_folder, replacing
from metrics.digest import digest_of
from metrics.embedding import QUIETEST, Embedding
from metrics.embedding_set import EmbeddingSet, describe
from metrics.long_files import examples_in_parts, is_long, power_of

log = logging.getLogger(__name__)
READING = 2  # how files are read; vectors of an earlier version may be of a part of the file
MIN_BATCH = 8  # examples a core embeds at once; fewer, and it mostly reads weights
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass
class FileEntry:
    """A file, its vectors once they are known, or why it has none."""

    path: Path
    cached: Path | None = None  # where its vectors are, or will be
    level: float = 0.0  # dB RMS
    examples: Iterable[Tensor] = ()  # to be embedded, [N, ...] at a time
    given: int = 0  # examples put into batches so far
    all_given: bool = False
    parts: list[Tensor] = field(default_factory=list)  # vectors so far
    vectors: np.ndarray | None = None
    problem: str = ""


Batch = list[tuple[FileEntry, Tensor]]  # examples, and the file they are of


def embed_files(
    files: list[Path],
    embedding: Embedding,
    device: torch.device,
    batch_size: int = 64,
    num_workers: int = 2,
    progress: bool = True,
    too_loud: audio.TooLoud = "skip",
) -> EmbeddingSet:
    """Embed files, reading ahead in threads and filling batches across files.

    On a CPU each core embeds a batch of its own in one thread, which is faster than sharing one.
    Vectors are cached by the file's content and the embedding's fingerprint. Files that can't be
    read, and those too short for one vector, are left out and named in the notes. `too_loud` says
    what to do with samples far beyond full scale, as `audio.files.Reader` does.

    Raises:
        UserError: where no file gave a vector
    """
    cache = cache_folder() / "vectors" / f"{embedding.fingerprint}-{READING}"
    embedding.to(device)
    threads = torch.get_num_threads()
    embedders = threads if device.type == "cpu" else 1
    size = batch_size
    if embedders > 1:  # smaller batches, so that no core is left with a long last one
        size = min(batch_size, max(MIN_BATCH, batch_size // (2 * embedders)))
    entries: list[FileEntry] = []
    try:
        with single_threaded(num_workers) as readers, single_threaded(embedders) as pool:
            reading = partial(read, embedding, device, cache, too_loud)
            found = map_ahead(readers, reading, files, num_workers)
            title = f"{embedding.name} vectors"
            bar = tqdm(found, title, len(files), unit="file", disable=not progress or None)
            batches = fill_batches(bar, entries, size)
            for batch, vectors in map_ahead(pool, partial(embed, embedding), batches, embedders):
                assign(batch, vectors)
    finally:
        torch.set_num_threads(threads)  # the pools' setting would hold for threads made later
    return combine(entries, embedding)


def single_threaded(count: int) -> ThreadPoolExecutor:
    """Make workers whose operations use one thread each."""
    return ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))


def read(
    embedding: Embedding, device: torch.device, cache: Path, too_loud: audio.TooLoud, path: Path
) -> FileEntry:
    """Look a file's vectors up in the cache, or read it and prepare its examples."""
    entry = FileEntry(path)
    try:
        digest = digest_of(path)
        with audio.Reader(path, channels=1, too_loud=too_loud) as reader:
            changed = f"-{too_loud}" if reader.is_changed else ""
            entry.cached = cache / f"{digest}{changed}.npz"
            if reader.is_changed:
                audio.check(path, too_loud)  # logs what is done
            if stored := load_cached(entry.cached, embedding.dim):
                entry.vectors, entry.level = stored
                return entry
            entry.level = 10 * math.log10(max(1e-12, power_of(reader)))
            entry.examples = prepared(embedding, device, reader)
    except (UserError, OSError) as error:
        entry.problem = str(error)
    except MemoryError:
        entry.problem = f"{path} needs more memory than there is"
    return entry


def prepared(embedding: Embedding, device: torch.device, reader: audio.Reader) -> Iterable[Tensor]:
    """Prepare a file's examples, now, or part by part if it is long; UserError for a short one."""
    if is_long(reader, embedding):
        return in_parts(embedding, device, reader)
    samples = reader.read_all(0, reader.num_samples)
    examples = embedding.prepare(samples[None].to(device), reader.sample_rate)[0]
    if len(examples):
        return [examples]
    seconds = embedding.shortest / embedding.sample_rate
    raise UserError(f"{reader.path} is shorter than the {seconds:.2f} s of one vector")


def in_parts(embedding: Embedding, device: torch.device, reader: audio.Reader) -> Iterator[Tensor]:
    """Open a long file again, in the thread that uses it, and yield its examples."""
    with audio.Reader(reader.path, channels=1, too_loud=reader.too_loud) as again:
        yield from examples_in_parts(again, embedding, device)


def fill_batches(
    found: Iterable[FileEntry], entries: list[FileEntry], size: int
) -> Iterator[Batch]:
    """Append what is found to `entries`, and its examples to batches of at most `size`.

    The examples of a batch have one shape.
    """
    batch: Batch = []
    count = 0
    for entry in found:
        entries.append(entry)
        for piece in pieces_of(entry, size):
            if count + len(piece) > size or batch and batch[0][1].shape[1:] != piece.shape[1:]:
                yield batch
                batch, count = [], 0
            batch.append((entry, piece))
            count += len(piece)
    if batch:
        yield batch


def pieces_of(entry: FileEntry, size: int) -> Iterator[Tensor]:
    """Yield a file's examples, at most `size` at a time, and count them."""
    try:
        for examples in entry.examples:
            for piece in examples.split(size) if len(examples) else ():
                entry.given += len(piece)
                yield piece
    except (UserError, OSError) as error:
        entry.problem = str(error)
    entry.examples, entry.all_given = (), True


@torch.no_grad()
def embed(embedding: Embedding, batch: Batch) -> tuple[Batch, Tensor]:
    return batch, embedding.embed(torch.cat([piece for _, piece in batch])).cpu()


def assign(batch: Batch, vectors: Tensor) -> None:
    """Assign a batch's vectors to its files, and cache those of files that are complete."""
    each = len(vectors) // sum(len(piece) for _, piece in batch)  # vectors of an example
    parts = vectors.split([each * len(piece) for _, piece in batch])
    for (entry, _), part in zip(batch, parts, strict=True):
        entry.parts.append(part)
        complete = entry.all_given and sum(map(len, entry.parts)) == each * entry.given
        if complete and not entry.problem:
            finish(entry)


def finish(entry: FileEntry) -> None:
    """Join a file's vectors and cache them; those that aren't finite are a problem."""
    complete = torch.cat(entry.parts).numpy()
    entry.parts = []
    if not np.isfinite(complete).all():
        entry.problem = f"{entry.path} gave vectors that are not finite"
        return
    entry.vectors = complete
    assert entry.cached is not None
    with replacing(entry.cached) as temporary, temporary.open("wb") as file:
        np.savez(file, vectors=complete, level=entry.level)


def combine(entries: list[FileEntry], embedding: Embedding) -> EmbeddingSet:
    """Join the files' vectors, and note what was left out or is silent."""
    vectors = {str(e.path): e.vectors for e in entries if e.vectors is not None}
    problems = [entry.problem for entry in entries if entry.vectors is None]
    if not vectors:
        raise UserError(f"none of {len(entries)} files gave a vector; the first: {problems[0]}")
    notes = problems[:3]
    if len(problems) > 3:
        notes.append(f"{len(problems)} of {len(entries)} files were left out")
    silent = sum(e.vectors is not None and e.level < QUIETEST for e in entries)
    if silent:
        notes.append(f"{silent} of {len(vectors)} files are silent (below {QUIETEST:g} dB)")
    values = torch.from_numpy(np.concatenate(list(vectors.values())))
    counts = [len(value) for value in vectors.values()]
    return EmbeddingSet(values, list(vectors), counts, describe(embedding), notes)


def load_cached(path: Path, dim: int) -> tuple[np.ndarray, float] | None:
    """Read a file's vectors and level; what is damaged is reported and computed again."""
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
    log.warning("the cached vectors in %s are damaged and computed again (%s)", path, reason)
    return None


def map_ahead(
    pool: ThreadPoolExecutor, work: Callable[[In], Out], items: Iterable[In], workers: int
) -> Iterator[Out]:
    """Map in order, only a few items ahead, so that memory stays bounded."""
    running: deque[Future[Out]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) > 2 * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:  # after an error or Ctrl-C nothing more is started
        for future in running:
            future.cancel()
