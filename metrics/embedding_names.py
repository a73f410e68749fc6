"""Embeddings by their names: short spellings, class paths, and what makes one."""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Literal

import torch

from foundation.errors import UserError
from foundation.returned import is_own
from metrics.embedding import Embedding
from metrics.library import LibraryEmbedding
from metrics.logmel import LogMel
from metrics.musicnn import Musicnn
from metrics.pann import PANN
from metrics.vggish import VGGish

DEFAULT = "musicnn"
ATTRIBUTES = ("name", "sample_rate", "dim", "shortest")  # that have no default
# Short spellings for the command line and YAML; any other embedding is named by its class.
Spelling = Literal[
    "musicnn", "vggish", "pann_8k", "pann_16k", "pann_32k", "logmel", "clap", "encodec"
]  # fmt: skip
SPELLINGS: dict[Spelling, Callable[[], Embedding]] = {
    "musicnn": Musicnn,
    "vggish": VGGish,
    "pann_8k": partial(PANN, 8000),
    "pann_16k": partial(PANN, 16000),
    "pann_32k": partial(PANN, 32000),
    "logmel": LogMel,
    "clap": partial(LibraryEmbedding, "clap"),
    "encodec": partial(LibraryEmbedding, "encodec"),
}
# A callable before a class: jsonargparse then makes what YAML names when it is needed, not before.
# Spellings before both, or it would write them as callables, which it can't.
EmbeddingChoice = Spelling | Callable[[], Embedding] | Embedding | str


def make_embedding(choice: EmbeddingChoice) -> Embedding:
    """Return the embedding, made where `choice` is a class, a function, a name or a class path.

    Raises:
        UserError: for a name that isn't known and for a class path that can't be found
        MissingFileError: where its weights aren't there
    """
    made = choice
    if not isinstance(made, Embedding):
        made = (find_class(choice) if isinstance(choice, str) else choice)()
    if not isinstance(made, Embedding):
        raise UserError(f"{type(made).__name__} is no metrics.embedding.Embedding")
    if is_own(made):
        try_embedding(made)
    return made


def try_embedding(made: Embedding) -> None:
    """Embed a moment of noise; UserError unless it gives finite vectors of `dim` numbers."""
    if lost := [name for name in ATTRIBUTES if not hasattr(made, name)]:
        raise UserError(
            f"{type(made).__name__} lacks {' and '.join(lost)}, which an embedding must say "
            "(docs/extending.md)"
        )
    noise = torch.randn(1, 1, 2 * made.shortest, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vectors = made(0.1 * noise)
    if vectors.dim() != 2 or vectors.shape[1] != made.dim or not vectors.isfinite().all():
        finite = "" if vectors.isfinite().all() else ", not all finite"
        raise UserError(
            f"{type(made).__name__}.embed must return finite vectors [N, {made.dim}], got "
            f"{list(vectors.shape)}{finite} (docs/extending.md)"
        )


def embedding_class(choice: EmbeddingChoice | None) -> type[Embedding] | None:
    """Return the class of an embedding without making it, which takes its weights.

    None for no choice, and for a function that makes one. UserError as `make_embedding`.
    """
    found = find_class(choice) if isinstance(choice, str) else choice
    if isinstance(found, Embedding):
        return type(found)
    parts = (found.func, *found.args) if isinstance(found, partial) else (found,)
    classes = (part for part in parts if isinstance(part, type) and issubclass(part, Embedding))
    return next(classes, None)  # the parser's partial holds it among its arguments


def find_class(name: str) -> Callable[[], Embedding]:
    """Find what makes an embedding by its short spelling or its class path."""
    if name in SPELLINGS:
        return SPELLINGS[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        raise UserError(
            f"unknown embedding {name!r}: there are {', '.join(SPELLINGS)}, and classes by their "
            "class path, such as mylab.MyEmbedding"
        )
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.partition(".")[0]):
            raise  # a package that the module itself needs
        places = ", ".join(path or "." for path in sys.path)
        raise UserError(f"no embedding {name}: no module {error.name} in {places}") from error
    if not hasattr(found, attribute):
        raise UserError(f"no embedding {name}: {found.__file__} has no {attribute}")
    return getattr(found, attribute)
