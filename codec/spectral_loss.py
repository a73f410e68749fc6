"""How far decoded magnitudes are from those of the music."""

import torch
from torch import Tensor, nn

from audio.bands import mel_centres, triangles
from codec.spectral_network import SpectralConfig

QUIET = 1e-9  # power added to wide bands: -90 dB


class SpectralLoss(nn.Module):
    """Five distances, each for a fault that the others miss.

    - logarithmic: quiet partials and the shape of noise count as much as loud ones
    - linear: the loudest partials of 30 Hz to 5 kHz, which carry the harmony
    - root: the loud partials; this one and the last are relative to the item's own level
    - wide: the power of broad bands, which the median of a logarithm underrates
    - change: the same from frame to frame, for attacks

    Bins below 350 Hz weigh three times as much: a semitone is narrower than a bin there, and only
    exact magnitudes tell one from the next. Without that, nine tenths of the chroma's error were
    theirs.

    Args:
        linear_weight: of the distance of magnitudes
        root_weight: of the distance of square roots
        wide_weight: of the distance of wide bands
        change_weight: of the distance of their changes
        low: how much more bins below 350 Hz weigh
        even: share of a bin's weight that is alike for all; the rest follows the ear's bandwidths
            (Glasberg and Moore 1990)
        wide_bands: how many wide bands
    """

    weight: Tensor
    filters: Tensor

    def __init__(
        self,
        config: SpectralConfig,
        linear_weight: float = 3.0,
        root_weight: float = 5.0,
        wide_weight: float = 0.5,
        change_weight: float = 1.0,
        low: float = 2.0,
        even: float = 0.25,
        wide_bands: int = 96,
    ):
        super().__init__()
        self.floor = config.floor
        self.linear_weight, self.root_weight = linear_weight, root_weight
        self.wide_weight, self.change_weight = wide_weight, change_weight
        bins = config.frames.bins
        frequencies = torch.linspace(0, config.sample_rate / 2, bins)
        narrow = 1 / (24.7 * (4.37e-3 * frequencies + 1))
        weight = (1 - even) * narrow / narrow.mean() + even
        weight = weight * (1 + low * torch.sigmoid((350 - frequencies) / 40))
        step = config.sample_rate / config.frame_size
        self.tonal = slice(round(30 / step), round(5000 / step) + 1)
        centres = mel_centres(wide_bands, highest=min(20000.0, config.sample_rate / 2))
        filters = triangles(centres, bins, config.sample_rate)
        self.register_buffer("weight", weight[:, None], persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, log: Tensor, magnitudes: Tensor) -> Tensor:
        """Compare log(magnitude + floor) [B, F, N] with magnitudes [B, F, N]: losses [B]."""
        target = (magnitudes + self.floor).log()
        decoded = (log.exp() - self.floor).clamp(min=0)
        got, wanted = self.wide(decoded), self.wide(magnitudes)
        wide = (got - wanted).abs().mean((1, 2))
        change = (got.diff(dim=-1) - wanted.diff(dim=-1)).abs().mean((1, 2))
        return (
            (self.weight * (log - target).abs()).mean((1, 2))
            + self.linear_weight * self.linear_distance(decoded, magnitudes)
            + self.root_weight * self.root_distance(log, target)
            + self.wide_weight * wide
            + self.change_weight * change
        )

    def linear_distance(self, decoded: Tensor, magnitudes: Tensor) -> Tensor:
        """Squared difference of magnitudes over the target's own square, at most 2: [B]."""
        wanted = magnitudes[:, self.tonal]
        error = (decoded[:, self.tonal] - wanted).square().mean((1, 2))
        return (error / wanted.square().mean((1, 2)).add(1e-9)).clamp(max=2)

    def root_distance(self, log: Tensor, target: Tensor) -> Tensor:
        """Squared difference of root magnitudes over the target's own square: [B]."""
        got, wanted = (log / 2).exp(), (target / 2).exp()
        error = (self.weight * (got - wanted).square()).mean((1, 2))
        return error / (self.weight * (wanted - self.floor**0.5).square()).mean((1, 2)).add(1e-4)

    def wide(self, magnitudes: Tensor) -> Tensor:
        """Log root power of wide bands [B, M, N]."""
        return (self.filters @ magnitudes.square() + QUIET).log() / 2
