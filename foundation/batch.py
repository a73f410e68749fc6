"""What data modules deliver to models."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")
Batch = dict[str, Tensor]  # and "cond", a Cond, where the data has it
# Metadata of the tracks by name, a text for each example; as numbers, NaN where there is none,
# `tags` [B, tags], `tempo` [B] in beats a minute and `key` [B, 24], each key's share.
Cond = Mapping[str, Sequence[str] | Tensor]


def num_examples(batch: Batch) -> int:
    """Count the examples of a batch."""
    return next(len(value) for value in batch.values() if isinstance(value, Tensor))


def cond_of(batch: Batch) -> Cond | None:
    """Return the metadata of a batch's examples, if the data has any."""
    return cast("Cond | None", batch.get("cond"))


def take(cond: Cond, places: Sequence[int]) -> Cond:
    """Return the metadata of some examples, in this order."""
    return {
        name: values[list(places)] if isinstance(values, Tensor) else [values[i] for i in places]
        for name, values in cond.items()
    }


def beside_none(cond: Cond) -> Cond:
    """Return the metadata of B examples, followed by as many of which nothing is known."""
    return {
        name: torch.cat([values, torch.full_like(values, math.nan)])
        if isinstance(values, Tensor)
        else [*values, *[""] * len(values)]
        for name, values in cond.items()
    }


def example(batch: T, place: int) -> T:
    """Return one example of a batch as a batch of one; `place` starts again after the last.

    Besides our own batches it takes tensors [B, ...] in nested mappings and lists, and lists of B
    texts.
    """
    if isinstance(batch, Mapping):
        return cast("T", {name: example(value, place) for name, value in batch.items()})
    if isinstance(batch, Tensor):
        return cast("T", batch[[place % len(batch)]]) if batch.dim() else batch
    if isinstance(batch, list | tuple) and batch:
        nested = isinstance(batch[0], Mapping | Tensor | list | tuple)
        one = [example(part, place) for part in batch] if nested else [batch[place % len(batch)]]
        return cast("T", one)
    return batch
