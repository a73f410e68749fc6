"""What is heard in clips: musicnn's vectors and tags, tempo and key; and labels by a classifier."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from foundation.musical_key import KEYS
from metrics.describe import Describer, pulse_and_key

RIDGE = 0.03  # of a vector's squared length, for the classifier's weights
AT_ONCE = 8  # clips


@dataclass(frozen=True)
class Heard:
    """Clips as the judges hear them.

    Attributes:
        vectors: musicnn's, the mean over each clip [B, D]
        tags: how probable each of `describe.TAGS` is [B, 50]
        tempo: in beats a minute [B], NaN where no beat is clear
        key: the place in KEYS of each clip's key [B], -1 for silence
    """

    vectors: Tensor
    tags: Tensor
    tempo: Tensor
    key: Tensor

    def some(self, numbers: Sequence[int]) -> "Heard":
        """Return some of the clips."""
        return Heard(*(getattr(self, one.name)[list(numbers)] for one in fields(self)))


def joined(parts: Sequence[Heard]) -> Heard:
    """Put clips one after another."""
    return Heard(*(torch.cat([getattr(p, one.name) for p in parts]) for one in fields(Heard)))


@torch.no_grad()
def hear(describer: Describer, audio: Tensor, sample_rate: int) -> Heard:
    """Judge clips [B, C, T] of 6 s and more."""
    parts = []
    for some in audio.split(AT_ONCE):
        vectors = describer.musicnn(some, sample_rate).unflatten(0, (len(some), -1))
        tags = describer.tags_of(vectors)
        pulse, keys = pulse_and_key(some, sample_rate).split([1, len(KEYS)], 1)
        key = keys.nan_to_num().argmax(1).masked_fill(keys.isnan().any(1), -1)
        parts.append(Heard(vectors.mean(1), tags, pulse[:, 0], key))
    return joined(parts)


class Classifier:
    """Least squares onto the labels of real clips, each label weighing the same.

    Args:
        vectors: of the clips [N, D]
        labels: the label of each
    """

    def __init__(self, vectors: Tensor, labels: Sequence[str]):
        self.labels = sorted(set(labels))
        rows = torch.tensor([self.labels.index(label) for label in labels])
        self.mean, self.deviation = vectors.mean(0), vectors.std(0).clamp(min=1e-6)
        x = self._with_one(vectors)
        target = torch.nn.functional.one_hot(rows, len(self.labels)).to(x)
        weighed = x / target.sum(0)[rows][:, None]
        size = RIDGE * len(self.labels) * torch.eye(x.shape[1], dtype=x.dtype)
        self.weights = torch.linalg.solve(weighed.T @ x + size, weighed.T @ target)

    def _with_one(self, vectors: Tensor) -> Tensor:
        scaled = (vectors - self.mean) / self.deviation
        return torch.cat([scaled, torch.ones(len(scaled), 1)], 1).double()

    def __call__(self, vectors: Tensor) -> list[str]:
        """Name the label of clips by their vectors [B, D]."""
        best = (self._with_one(vectors) @ self.weights).argmax(1)
        return [self.labels[row] for row in best.tolist()]
