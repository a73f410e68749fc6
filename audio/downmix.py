"""Channels of any loudspeakers to stereo and mono, as ITU-R BS.775 and FFmpeg mix them down."""

import torch
from torch import Tensor

HALF = 0.5**0.5  # -3 dB
# of FFmpeg's names of loudspeakers: how much goes to left and right; low frequency effects don't
WEIGHTS = {
    **{"FL": (1.0, 0.0), "FR": (0.0, 1.0), "FC": (HALF, HALF), "LFE": (0.0, 0.0)},
    **{"LFE2": (0.0, 0.0), "BL": (HALF, 0.0), "BR": (0.0, HALF), "BC": (0.5, 0.5)},
    **{"SL": (HALF, 0.0), "SR": (0.0, HALF), "FLC": (1.0, 0.0), "FRC": (0.0, 1.0)},
    **{"WL": (HALF, 0.0), "WR": (0.0, HALF), "DL": (1.0, 0.0), "DR": (0.0, 1.0)},
    **{"TFL": (HALF, 0.0), "TFR": (0.0, HALF), "TBL": (HALF, 0.0), "TBR": (0.0, HALF)},
}
USUAL = {  # the order of so many channels where a file doesn't say
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}


def mix(samples: Tensor, channels: int | None, speakers: tuple[str, ...] = ()) -> Tensor:
    """Mix samples [C, T] of named loudspeakers to [channels, T]; None or C leaves them as they are.

    One or two channels are averaged and repeated. More are mixed to stereo first, scaled so that
    nothing that was in [-1, 1] leaves it; without names, in the order that is usual for so many.
    """
    count = len(samples)
    if channels is None or channels == count:
        return samples
    if count > 2 and (matrix := stereo_matrix(count, speakers)) is not None:
        samples = matrix @ samples
        if channels == 2:
            return samples
    return samples.mean(dim=0, keepdim=True).repeat(channels, 1)


def stereo_matrix(count: int, speakers: tuple[str, ...] = ()) -> Tensor | None:
    """Return the weights [2, C] of the channels; None if it isn't known what they are."""
    names = speakers if speakers and all(name in WEIGHTS for name in speakers) else USUAL.get(count)
    if names is None or len(names) != count:
        return None
    matrix = torch.tensor([WEIGHTS[name] for name in names]).T
    return matrix / matrix.sum(dim=1).max().clamp(min=1.0)
