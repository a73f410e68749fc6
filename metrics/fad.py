"""Music against music: the scores of a generated folder, and how they are shown."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from audio import files as audio
from metrics.embed_files import collect
from metrics.embedding import Embedding
from metrics.embedding_set import SUFFIX, Vectors, describe, saved_path
from metrics.extrapolate import extrapolate
from metrics.frechet import Gaussian, deficiency, frechet
from metrics.kernel import kernel_distance
from metrics.library import Library
from metrics.logmel import LogMel
from metrics.musicnn import Musicnn
from metrics.pann import PANN
from metrics.vggish import VGGish

DEFAULT = "musicnn"
LIBRARY = "frechet_audio_distance"
EMBEDDINGS: dict[str, Callable[[str | None], Embedding]] = {
    "musicnn": Musicnn,
    "vggish": VGGish,
    "pann_8k": partial(PANN, 8000),
    "pann_16k": partial(PANN, 16000),
    "pann_32k": partial(PANN, 32000),
    "logmel": lambda path: LogMel(),
    "clap": partial(Library, "clap", 48000),
    "encodec": partial(Library, "encodec", 24000),
}


@dataclass(frozen=True)
class Score:
    """How far generated music is from a reference; `margin` is half the 95 % interval."""

    measure: str
    score: float
    extrapolated: float | None
    margin: float | None
    kad: float
    reference_files: int
    reference_vectors: int
    generated_files: int
    generated_vectors: int
    dim: int
    embedding: str
    fingerprint: str
    settings: str
    notes: list[str]
    library_score: float | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def create(name: str, path: str | None = None, whole_clips: bool = False) -> Embedding:
    """Make the embedding of a name; `path` is its file of weights, or the library's folder."""
    if name not in EMBEDDINGS:
        raise ValueError(f"unknown embedding {name!r}: there are {', '.join(EMBEDDINGS)}")
    make = EMBEDDINGS[name]
    if whole_clips and name.startswith("pann"):
        return make(path, clip_seconds=None)
    return make(path)


def vectors_of(
    source: str, embedding: Embedding, device: torch.device, batch_size: int, num_workers: int
) -> Vectors:
    """Get the vectors of a folder, an audio file, a .npy, or what was saved under a name."""
    path = find_source(source)
    if path.suffix == ".npy":
        return Vectors.load_npy(path, describe(embedding), embedding.dim)
    if path.suffix == SUFFIX:
        return Vectors.load(path)
    return collect(audio.find(path), embedding, device, batch_size, num_workers)


def find_source(source: str) -> Path:
    """Find what a side of a comparison names; ValueError or OSError says what is wrong."""
    path = Path(source).expanduser()
    if path.suffix not in (".npy", SUFFIX) and path.exists():
        audio.find(path)
        return path
    saved = path if path.suffix in (".npy", SUFFIX) else saved_path_or_missing(source)
    if not saved.is_file():
        raise FileNotFoundError(f"no folder, file or saved vectors called {source}")
    return saved


def saved_path_or_missing(source: str) -> Path:
    if "/" in source or source.startswith("."):
        raise FileNotFoundError(f"no such folder or file: {source}")
    return saved_path(source)


def compare(reference: Vectors, generated: Vectors, seed: int = 0) -> Score:
    """Score generated vectors against a reference of the same embedding."""
    check(reference, generated)
    a, b = reference.gaussian, generated.gaussian
    line = extrapolate(a, generated.values, generated.counts, seed)
    notes = [f"reference: {note}" for note in reference.notes]
    notes += [f"generated: {note}" for note in generated.notes]
    if warning := deficiency(a, b):
        notes.append(warning)
    if line is None:
        notes.append("too few generated vectors to extrapolate: at least 16")
    elif line.margin is None:
        notes.append("no interval for fewer than 8 generated files")
    kad = kernel_distance(reference.values, generated.values)
    if kad < 0 or (line and line.score < 0):
        notes.append("below 0: no difference that so few vectors show")
    about = reference.about
    return Score(
        measure=about["measure"],
        score=frechet(a, b),
        extrapolated=line and line.score,
        margin=line and line.margin,
        kad=kad,
        reference_files=len(reference.files),
        reference_vectors=a.count,
        generated_files=len(generated.files),
        generated_vectors=b.count,
        dim=a.dim,
        embedding=about["embedding"],
        fingerprint=about["fingerprint"] or generated.about["fingerprint"],
        settings=about["settings"],
        notes=notes,
    )


def check(reference: Vectors, generated: Vectors) -> None:
    """Refuse vectors that can't be compared."""
    ours, theirs = reference.about, generated.about
    prints = {ours["fingerprint"], theirs["fingerprint"]} - {""}
    if ours["embedding"] != theirs["embedding"] or len(prints) > 1:
        raise ValueError(
            f"the reference's vectors are of {ours['embedding']} {ours['fingerprint']}, "
            f"the generated ones of {theirs['embedding']} {theirs['fingerprint']}: "
            "embed both with the same weights and settings"
        )
    for name, side in (("reference", reference), ("generated side", generated)):
        if len(side.values) < 2:
            raise ValueError(
                f"the {name} gave 1 vector, a distance needs 2: give more or longer files"
            )


def library_score(reference: Vectors, generated: Vectors) -> float:
    """The figure frechet_audio_distance 0.3 prints for the same files.

    For PANN it joins the numbers of all clips into one long row, so that its gaussians have one
    dimension: not a distance of sounds, and kept only for comparison with published figures.
    """
    check(reference, generated)
    sides = [reference.values, generated.values]
    if reference.about["embedding"].startswith("pann"):
        sides = [side.reshape(-1, 1) for side in sides]
    return frechet(*(Gaussian.of(side) for side in sides))


def rank_files(reference: Vectors, generated: Vectors) -> list[tuple[str, float, int]]:
    """Score each generated file alone, the farthest first: (file, distance, vectors).

    The covariance of a single vector counts as 0. Files with more vectors score lower by that
    alone, so compare files of one length.
    """
    check(reference, generated)
    rows = []
    for file, part in zip(generated.files, generated.values.split(generated.counts), strict=True):
        alone = Gaussian.of(part if len(part) > 1 else part.repeat(2, 1))
        rows.append((file, frechet(reference.gaussian, alone), len(part)))
    return sorted(rows, key=lambda row: -row[1])


def table(score: Score) -> str:
    """Lay a score out for reading."""
    rows = [(score.measure, f"{score.score:.4f}")]
    if score.extrapolated is not None:
        margin = "" if score.margin is None else f" ± {score.margin:.4f} (95 %)"
        rows.append(("extrapolated to infinite size", f"{score.extrapolated:.4f}{margin}"))
    rows.append(("kernel audio distance", f"{score.kad:.4f}"))
    if score.library_score is not None:
        rows.append((f"as {LIBRARY} counts", f"{score.library_score:.7g}"))
    rows += [
        ("reference", f"{score.reference_vectors} vectors of {score.reference_files} files"),
        ("generated", f"{score.generated_vectors} vectors of {score.generated_files} files"),
        ("embedding", f"{score.embedding} {score.fingerprint}, {score.dim} numbers"),
        ("front-end", score.settings),
    ]
    rows += [("note", note) for note in score.notes]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
