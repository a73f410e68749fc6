"""`fad`: two sets of music compared, from Python or the command line."""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import ActionYesNo, ArgumentParser

from audio import files as audio
from foundation.checks import check_at_least, check_workers
from foundation.errors import MissingFileError, UserError
from foundation.files import user_path
from metrics.embed_files import embed_files
from metrics.embedding import Embedding
from metrics.embedding_names import (
    DEFAULT,
    SPELLINGS,
    EmbeddingChoice,
    embedding_class,
    make_embedding,
)
from metrics.embedding_set import SUFFIX, EmbeddingSet, saved_path
from metrics.fad import LIBRARY, Score, compare, library_score, rank_files
from metrics.pann import PANN
from metrics.vggish import VGGish
from music_diffusion.commands.options import call

log = logging.getLogger(__name__)
SAVED = (".npy", SUFFIX)


@dataclass(frozen=True)
class Printing:
    """How the command prints a score.

    Args:
        json: print a line of JSON, for programs, in place of the table
    """

    json: bool = False


def fad(
    reference: str | Path,
    generated: str | Path,
    embedding: EmbeddingChoice | None = None,
    per_file: bool = False,
    compat: Literal["frechet_audio_distance"] | None = None,
    save_reference: str | None = None,
    save_generated: str | None = None,
    device: str = "auto",
    batch_size: int = 64,
    num_workers: int = 2,
    seed: int = 0,
    too_loud: Literal["skip", "clip", "scale"] = "skip",
) -> Score:
    """Measure how far generated music is from a reference, by Frechet and kernel audio distance.

    Either side is a folder, an audio file, vectors saved earlier (a name or a .safetensors file),
    or a .npy that frechet_audio_distance saved. Vectors are cached by content, so a folder is
    embedded once. Two saved sides need no embedding, and no weights where one is named.

    Args:
        reference: the music to compare with
        generated: the music to judge
        embedding: a class, such as VGGish, PANN (--embedding.sample_rate 16000), mylab.MyEmbedding,
            or one of musicnn (the default), vggish, pann_8k, pann_16k, pann_32k, clap, encodec and
            logmel, a spectral distance that needs no weights
        per_file: score each generated file alone, too, the farthest from the reference first
        compat: add the figure that this library would print (vggish, pann)
        save_reference: save the reference's vectors under this name, or to this .safetensors file
        save_generated: the same for the generated side
        device: auto, cpu, or a device of this machine
        batch_size: examples embedded at once
        num_workers: threads that read files
        seed: decides which vectors the extrapolation puts into which part
        too_loud: what to do with a file of floats beyond 8, where full scale is 1: skip it, clip it
            to 1, or scale it, by the full scale of integers or by its peak

    Raises:
        UserError: for sides that aren't there, hold too little or can't be compared
    """
    check_at_least(1, batch_size=batch_size)
    check_workers(num_workers, least=1)
    where = find_device(device)
    named = {"reference": reference, "generated": generated}
    sources = [find_source(side, name) for name, side in named.items()]  # before hours may pass
    unsaved = [source for source in sources if source.suffix not in SAVED]
    choice = embedding_of(sources) if embedding is None and unsaved else embedding
    model = make_embedding(choice) if choice is not None and unsaved else None
    kind = embedding_class(choice if model is None else model)
    if compat and kind and not issubclass(kind, (VGGish, PANN)):
        raise UserError(f"compat needs --embedding vggish or pann_16k, got {kind.__name__}")
    if compat and isinstance(model, PANN):
        model = model.whole_clips()
    dim = getattr(model or kind, "dim", None)
    sides = [
        embed_source(source, model, dim, where, batch_size, num_workers, too_loud)
        for source in sources
    ]
    for side, place in zip(sides, (save_reference, save_generated), strict=True):
        if place is not None:
            side.save(saved_path(place))
            log.info("vectors saved as %s", saved_path(place))
    score = compare(sides[0], sides[1], seed)
    if compat:
        pann = kind is not None and issubclass(kind, PANN)
        score = replace(score, library_score=library_score(sides[0], sides[1], pann))
    return replace(score, files=rank_files(sides[0], sides[1])) if per_file else score


def add_options(parser: ArgumentParser) -> None:
    """Add the arguments of `fad` and `Printing`; flags stand alone or before true or false."""
    parser.add_function_arguments(fad, skip={"per_file"}, as_positional=True)
    parser.add_argument("--json", action=ActionYesNo, nargs="?", default=Printing.json)
    parser.add_argument(
        "--per_file",
        action=ActionYesNo,
        nargs="?",
        default=False,
        help="score each generated file alone, too, the farthest from the reference first",
    )


def find_source(source: str | Path, name: str) -> Path:
    """Return the path of a side: a folder, an audio file, or saved vectors by path or name."""
    path = user_path(source, name)
    if path.suffix not in SAVED and path.exists():
        audio.find(path)
        return path
    if path.suffix not in SAVED:
        if "/" in str(source) or str(source).startswith("."):
            raise MissingFileError(f"no such folder or file: {source}")
        path = saved_path(str(source))
    if not path.is_file():
        raise MissingFileError(f"no folder, file or saved vectors called {source}")
    return path


def embedding_of(sources: list[Path]) -> str:
    """Return the short spelling of the embedding that saved vectors are of; else the default."""
    saved = [EmbeddingSet.load(source) for source in sources if source.suffix == SUFFIX]
    name = saved[0].about["embedding"] if saved else DEFAULT
    if name not in SPELLINGS:  # a file names no class to import
        raise UserError(f"the saved vectors are of {name}: give its class with --embedding")
    return name


def embed_source(
    source: Path,
    model: Embedding | None,
    dim: int | None,
    device: torch.device,
    batch_size: int,
    num_workers: int,
    too_loud: audio.TooLoud,
) -> EmbeddingSet:
    """Read the saved vectors of a side, of `dim` numbers where known, or embed its files."""
    if source.suffix in SAVED:
        return EmbeddingSet.load(source, dim)
    assert model is not None
    files, workers = audio.find(source), num_workers
    found = embed_files(files, model, device, batch_size, workers, too_loud=too_loud)
    others = audio.left_out(source)
    note = [f"no known audio format, left out: {others}"] if others else []
    return replace(found, notes=[*found.notes, *note])


def find_device(name: str) -> torch.device:
    """Return the device of a name; UserError if it can't be used here."""
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split(". ")[0]
        raise UserError(f"device {name!r} can't be used on this machine: {reason}") from error


def print_score(score: Score) -> None:
    """Print a table, and the files where they are scored."""
    print(table(score))
    if score.files is not None:
        print("\n  distance  vectors  file, farthest first")
        for file in score.files:
            print(f"{file.score:10.4f}  {file.vectors:7d}  {file.file}")


def table(score: Score) -> str:
    """Lay a score out for reading."""
    rows = [(score.measure, interval(score.score, None))]
    if score.extrapolated is not None:
        extrapolated = interval(score.extrapolated, score.margin)
        rows.append(("extrapolated to infinite size", extrapolated))
    rows.append(("kernel audio distance", interval(score.kad, score.kad_margin)))
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


def interval(score: float, margin: float | None) -> str:
    """Write a score with half its interval, where that is known."""
    text = f"{round(score, 4) + 0.0:.4f}"  # no -0.0000
    return text if margin is None else f"{text} ± {margin:.4f} (95 %)"


def run(args: list[str]) -> None:
    def measure(json: bool, **options) -> tuple[Score, bool]:
        return fad(**options), json

    score, as_json = call("fad", measure, args, add_options)
    if as_json:
        print(json.dumps(score.as_dict()))
    else:
        print_score(score)
