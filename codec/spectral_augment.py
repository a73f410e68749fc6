"""More music from the same: levels, mixtures, pitches and equalisers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpectralAugment:
    """Random changes of a batch of music, different for each item.

    Args:
        loudest: dB of the root mean square, the upper end of the levels
        quietest: the lower end
        mix: how often another item of the batch is added, up to 12 dB softer
        hiss: how often noise is added, at -75 to -45 dB
        shift: how often the pitch changes
        semitones: the most by which it changes
        equalise: how often an equaliser is applied
        equaliser: dB, standard deviation of each of its three waves over pitch
    """

    loudest: float = -11.0
    quietest: float = -34.0
    mix: float = 0.4
    hiss: float = 0.15
    shift: float = 0.6
    semitones: float = 6.0
    equalise: float = 0.6
    equaliser: float = 2.5

    def audio(self, audio: Tensor) -> Tensor:
        """Set levels of audio [B, T], mix and add noise."""
        level = audio.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-3)
        audio = audio / level * decibels(draw(audio, self.quietest, self.loudest))
        other = chosen(audio, self.mix) * decibels(draw(audio, -12, 0))
        audio = audio + other * audio.roll(1, 0)
        noise = chosen(audio, self.hiss) * decibels(draw(audio, -75, -45))
        return audio + noise * torch.randn_like(audio)

    def magnitudes(self, magnitudes: Tensor) -> Tensor:
        """Change pitch and colour of magnitudes [B, F, N]."""
        ratio = 2 ** (
            chosen(magnitudes, self.shift) * draw(magnitudes, -1, 1) * self.semitones / 12
        )
        return self.equalised(stretched(magnitudes, ratio[:, 0]))

    def equalised(self, magnitudes: Tensor) -> Tensor:
        bins = torch.arange(magnitudes.shape[1], device=magnitudes.device)
        octaves = bins.clamp(min=2).log2() / 11  # about 0 to 1
        curve = torch.zeros_like(magnitudes[..., 0])
        for waves in (0.5, 1.0, 2.0):
            turn = draw(magnitudes, 0, 2 * math.pi)
            height = self.equaliser * torch.randn_like(turn)
            curve = curve + height * torch.cos(2 * math.pi * waves * octaves + turn)
        return magnitudes * decibels(curve * chosen(magnitudes, self.equalise))[..., None]


def draw(like: Tensor, low: float, high: float) -> Tensor:
    """Draw a number [B, 1] for each item between low and high."""
    return low + (high - low) * torch.rand(len(like), 1, device=like.device)


def chosen(like: Tensor, chance: float) -> Tensor:
    """Choose items at random: [B, 1] of 1 and 0."""
    return (torch.rand(len(like), 1, device=like.device) < chance).float()


def decibels(level: Tensor) -> Tensor:
    return 10 ** (level / 20)


def stretched(magnitudes: Tensor, ratio: Tensor) -> Tensor:
    """Move magnitudes [B, F, N] up in frequency by ratios [B], with lines between the bins."""
    bins = torch.arange(magnitudes.shape[1], device=magnitudes.device)
    places = bins / ratio[:, None]  # [B, F]
    below = places.floor().long().clamp(max=len(bins) - 2)
    share = (places - below).clamp(0, 1)[..., None]
    inside = (places <= len(bins) - 1)[..., None]
    rows = below[..., None].expand_as(magnitudes)
    return inside * (
        (1 - share) * magnitudes.gather(1, rows) + share * magnitudes.gather(1, rows + 1)
    )
