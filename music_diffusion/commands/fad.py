"""`cli.py fad`: folders of music against each other."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from metrics.embedding_set import SUFFIX, Vectors, saved_path
from metrics.fad import (
    DEFAULT,
    LIBRARY,
    compare,
    create,
    find_source,
    library_score,
    rank_files,
    table,
    vectors_of,
)


def fad(
    reference: str,
    generated: str,
    embedding: str | None = None,
    path: str | None = None,
    per_file: bool = False,
    compat: str | None = None,
    save_reference: str | None = None,
    save_generated: str | None = None,
    device: str = "auto",
    batch_size: int = 64,
    num_workers: int = 2,
    seed: int = 0,
) -> None:
    """Measure how far generated music is from a reference; print a table, then one line of JSON.

    Either side is a folder, an audio file, vectors saved earlier (a name or a .safetensors file),
    or a .npy that frechet_audio_distance saved. Vectors are kept by content, so a folder is
    embedded once.

    Args:
        reference: the music to compare with
        generated: the music to judge
        embedding: musicnn (the default), vggish, pann_8k, pann_16k, pann_32k, clap, encodec,
            or logmel, a spectral distance that needs no weights
        path: the embedding's file of weights; the default is where download_ckpts.py puts it
        per_file: list the generated files too, the farthest from the reference first
        compat: frechet_audio_distance adds the figure that library would print (vggish, pann)
        save_reference: keep the reference's vectors under this name, or in this .safetensors file
        save_generated: the same for the generated side
        device: auto, cpu, or a device of this machine
        batch_size: examples embedded at once
        num_workers: threads that read files
        seed: which vectors the extrapolation deals into which part
    """
    if compat not in (None, LIBRARY):
        raise ValueError(f"compat knows {LIBRARY} only, got {compat!r}")
    name = embedding or embedding_of(reference) or DEFAULT
    if compat and not name.startswith(("vggish", "pann")):
        raise ValueError(f"compat needs --embedding vggish or pann_16k, got {name}")
    if batch_size < 1 or num_workers < 1:
        raise ValueError("batch_size and num_workers must be at least 1")
    where = find_device(device)
    for source in (reference, generated):
        find_source(source)  # both, before hours may pass with the first
    model = create(name, path, whole_clips=compat is not None)
    sides = [
        vectors_of(source, model, where, batch_size, num_workers)
        for source in (reference, generated)
    ]
    for side, place in zip(sides, (save_reference, save_generated), strict=True):
        if place:
            side.save(saved_path(place))
            print(f"saved as {saved_path(place)}")
    score = compare(*sides, seed)
    if compat:
        score = replace(score, library_score=library_score(*sides))
    print(table(score))
    result = score.as_dict()
    if per_file:
        rows = rank_files(*sides)
        result["files"] = [
            {"file": file, "score": value, "vectors": count} for file, value, count in rows
        ]
        print("\n  distance  vectors  file, farthest first")
        print("\n".join(f"{value:10.4f}  {count:7d}  {file}" for file, value, count in rows))
    print(json.dumps(result))


def embedding_of(source: str) -> str | None:
    """Name the embedding of saved vectors."""
    saved = Path(source).expanduser()
    if not saved.exists() and "/" not in source and not source.startswith("."):
        saved = saved_path(source)
    if saved.suffix != SUFFIX or not saved.is_file():
        return None
    return Vectors.load(saved).about["embedding"]


def find_device(name: str) -> torch.device:
    """Find a device that works here; ValueError if there is none of that name."""
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split(". ")[0]
        raise ValueError(f"device {name!r} can't be used on this machine: {reason}") from error


def spell_out(args: list[str]) -> list[str]:
    """Let --per_file (or --per-file) stand alone for --per_file true."""
    spelled = []
    for arg, after in zip(args, [*args[1:], ""], strict=True):
        if arg in ("--per_file", "--per-file"):
            arg = "--per_file" if after in ("true", "false") else "--per_file=true"
        spelled.append(arg)
    return spelled
