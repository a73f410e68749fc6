"""Music against music: how far generated vectors are from a reference's."""

from dataclasses import asdict, dataclass

from torch import Tensor

from foundation.errors import UserError
from metrics.embedding_set import UNKNOWN, EmbeddingSet
from metrics.extrapolate import Extrapolation, extrapolate
from metrics.frechet import Gaussian, deficiency, frechet
from metrics.kernel import kernel_interval

LIBRARY = "frechet_audio_distance"


@dataclass(frozen=True)
class FileScore:
    """The distance of one generated file from the reference, and how many vectors it has."""

    file: str
    score: float
    vectors: int


@dataclass(frozen=True)
class Score:
    """How far generated music is from a reference.

    Attributes:
        measure: what `score` is called
        score: Frechet distance of the embeddings, in squared units of the vectors
        extrapolated: the score that endlessly many generated vectors would have, where known
        margin: half the 95 % interval of `extrapolated`, where known
        kad: kernel audio distance, around 0 for music that can't be told from the reference
        kad_margin: half its 95 % interval, where known
        dim: numbers in a vector
        embedding: its name; `fingerprint` and `settings` are of its weights and front-end
        notes: what a reader should know about these figures
        library_score: what frechet_audio_distance prints for the same files, where asked for
        files: each generated file alone, the farthest first, where asked for
    """

    measure: str
    score: float
    extrapolated: float | None
    margin: float | None
    kad: float
    kad_margin: float | None
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
    files: list[FileScore] | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the fields as JSON takes them; `files` only where it was asked for."""
        fields = asdict(self)
        if self.files is None:
            del fields["files"]
        return fields


def compare(reference: EmbeddingSet, generated: EmbeddingSet, seed: int = 0) -> Score:
    """Score generated vectors against a reference of the same embedding.

    `seed` decides which vectors the extrapolation puts into which part.

    Raises:
        UserError: for vectors of two embeddings, or fewer than two of a side
    """
    check(reference, generated)
    a, b = reference.gaussian, generated.gaussian
    notes = [f"reference: {note}" for note in reference.notes]
    notes += [f"generated: {note}" for note in generated.notes]
    if warning := deficiency(a, b):
        notes.append(warning)
    line = None
    if shared := count_shared(reference.values, generated.values):
        notes.append(
            f"{shared} of {b.count} generated vectors are the reference's own: "
            "the score is too low, and not extrapolated"
        )
    else:
        line = extrapolate(a, generated.values, generated.counts, seed)
        notes += line_notes(line)
    kad = kernel_interval(reference.values, generated.values, generated.counts)
    if round(kad.score, 4) < 0 or (line and line.score < 0):
        notes.append("below 0: no difference that so few vectors show")
    about = generated.about if reference.about == UNKNOWN else reference.about
    return Score(
        measure=about["measure"],
        score=frechet(a, b),
        extrapolated=line and line.score,
        margin=line and line.margin,
        kad=kad.score,
        kad_margin=kad.margin,
        reference_files=len(reference.files),
        reference_vectors=a.count,
        generated_files=len(generated.files),
        generated_vectors=b.count,
        dim=a.dim,
        embedding=about["embedding"],
        fingerprint=about["fingerprint"],
        settings=about["settings"],
        notes=notes,
    )


def count_shared(reference: Tensor, generated: Tensor) -> int:
    """Count the generated vectors [M, D] that are among the reference's [N, D]."""
    known = {row.tobytes() for row in reference.numpy()}
    return sum(row.tobytes() in known for row in generated.numpy())


def line_notes(line: Extrapolation | None) -> list[str]:
    """Say what of an extrapolation is missing, and why."""
    if line is None:
        return ["too few generated vectors to extrapolate: at least 16"]
    return ["no interval for fewer than 8 generated files"] if line.margin is None else []


def check(reference: EmbeddingSet, generated: EmbeddingSet) -> None:
    """Raise UserError for vectors that can't be compared."""
    ours, theirs = reference.about, generated.about
    known = UNKNOWN not in (ours, theirs)
    if known and any(ours[key] != theirs[key] for key in ("embedding", "fingerprint")):
        raise UserError(
            f"the reference's vectors are of {ours['embedding']} {ours['fingerprint']}, "
            f"the generated ones of {theirs['embedding']} {theirs['fingerprint']}: "
            "embed both with the same weights, settings and version of this program"
        )
    for name, side in (("reference", reference), ("generated side", generated)):
        if len(side.values) < 2:
            raise UserError(
                f"the {name} gave 1 vector, a distance needs 2: give more or longer files"
            )


def library_score(reference: EmbeddingSet, generated: EmbeddingSet, pann: bool = False) -> float:
    """Return the figure that frechet_audio_distance 0.3 prints for the same files.

    For PANN it joins the numbers of all clips into one long row, so that its gaussians have one
    dimension: not a distance of sounds, and kept only for comparison with published figures.
    `pann` says that the vectors are PANN's where they don't.
    """
    check(reference, generated)
    sides = [reference.values, generated.values]
    if pann or any(side.about["embedding"].startswith("pann") for side in (reference, generated)):
        sides = [side.reshape(-1, 1) for side in sides]
    return frechet(*(Gaussian.of(side) for side in sides))


def rank_files(reference: EmbeddingSet, generated: EmbeddingSet) -> list[FileScore]:
    """Score each generated file alone, the farthest first.

    The covariance of a single vector counts as 0. Files with more vectors score lower by that
    alone, so compare files of one length.
    """
    check(reference, generated)
    scores = []
    for file, part in zip(generated.files, generated.values.split(generated.counts), strict=True):
        alone = Gaussian.of(part if len(part) > 1 else part.repeat(2, 1))
        scores.append(FileScore(file, frechet(reference.gaussian, alone), len(part)))
    return sorted(scores, key=lambda file: -file.score)
