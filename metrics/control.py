"""Generated clips against a control: do they lie nearer to the training music than real music?"""

from dataclasses import dataclass

import torch
from torch import Tensor

PERCENTILE = 0.99


@dataclass(frozen=True)
class Excess:
    """How scores of generated clips exceed those of held-out real clips.

    Attributes:
        generated: median score of the generated clips
        control: median score of the held-out real clips
        threshold: the 99th percentile of the control
        rate: share of generated clips above it; 0.01 without any copying
        nearer: probability that a generated clip scores higher than a real one; 0.5 without any
            copying, where both are equally far from the training music
    """

    generated: float
    control: float
    threshold: float
    rate: float
    nearer: float


def excess(generated: Tensor, control: Tensor) -> Excess:
    """Compare scores [B] of generated clips with scores [C] of the control, higher being nearer."""
    difference = generated.double()[:, None] - control.double()
    threshold = torch.quantile(control.double(), PERCENTILE)
    return Excess(
        generated=float(generated.median()),
        control=float(control.median()),
        threshold=float(threshold),
        rate=float((generated > threshold).double().mean()),
        nearer=float((difference > 0).double().mean() + (difference == 0).double().mean() / 2),
    )


def nearest_distance(clips: Tensor, training: Tensor, block: int = 1024) -> Tensor:
    """Return how near any vector of clips [B, W, D] lies to one of the training music [N, D]: [B].

    The distance counts each number in units of its deviation over the training music.
    """
    mean, deviation = training.mean(0), training.std(0).clamp(min=1e-6)
    known = (training - mean) / deviation
    vectors = ((clips - mean) / deviation).flatten(0, 1)
    parts = [torch.cdist(vectors, part).amin(1) for part in known.split(block)]
    return torch.stack(parts).amin(0).view(len(clips), -1).amin(1)
