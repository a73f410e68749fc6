"""All distances between two sets of vectors, and why one is missing."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from foundation.errors import UserError
from metrics.extrapolate import extrapolate
from metrics.frechet import Gaussian, frechet
from metrics.kernel import kernel_interval
from metrics.mauve_type import mauve_type
from metrics.neighbours import neighbours

Made = TypeVar("Made")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Distances:
    """How far generated vectors are from a reference's; None for what too few clips don't tell.

    `fad_margin` and `kad_margin` are half the 95 % intervals of `fad_extrapolated` and `kad`. The
    names are those of `metrics.extrapolate`, `metrics.kernel`, `metrics.neighbours` and
    `metrics.mauve_type`.
    """

    fad: float
    fad_extrapolated: float | None
    fad_margin: float | None
    kad: float
    kad_margin: float | None
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    mauve_type: float | None


def distances(reference: Tensor, generated: Tensor, counts: list[int]) -> Distances:
    """Compare vectors [N, D] and [M, D], of which each generated clip gave `counts`.

    Raises:
        UserError: for fewer than two vectors of a side, and for vectors of different dimensions
    """
    gaussian = Gaussian.of(reference)
    kad = kernel_interval(reference, generated, counts)
    line = extrapolate(gaussian, generated, counts)
    overlap = where_possible(lambda: neighbours(reference, generated))
    return Distances(
        fad=frechet(gaussian, Gaussian.of(generated)),
        fad_extrapolated=line and line.score,
        fad_margin=line and line.margin,
        kad=kad.score,
        kad_margin=kad.margin,
        precision=overlap and overlap.precision,
        recall=overlap and overlap.recall,
        density=overlap and overlap.density,
        coverage=overlap and overlap.coverage,
        mauve_type=where_possible(lambda: mauve_type(reference, generated)),
    )


def where_possible(measure: Callable[[], Made]) -> Made | None:
    """Return a measure; None, and a line in the log, where there are too few vectors for it."""
    try:
        return measure()
    except UserError as error:
        log.info("left out: %s", error)
        return None
