"""What data modules deliver to models."""

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor

Batch = dict[str, Tensor]  # and "cond", a Cond, where the data has it
Cond = Mapping[str, Sequence[str]]  # metadata of the tracks by name, a value for each example


def num_examples(batch: Batch) -> int:
    """Count the examples of a batch."""
    return next(len(value) for value in batch.values() if isinstance(value, Tensor))


def cond_of(batch: Batch) -> Cond | None:
    """Return the metadata of a batch's examples, if the data has any."""
    return cast("Cond | None", batch.get("cond"))
