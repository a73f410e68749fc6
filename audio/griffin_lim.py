"""Magnitudes of frames of audio, and audio of given magnitudes by fast Griffin-Lim.

Perraudin, Balazs and Soendergaard 2013, "A fast Griffin-Lim algorithm".
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from foundation.errors import UserError

BLOCK = 64  # frames whose starting phases are drawn at once


@dataclass(frozen=True)
class Frames:
    """How audio is cut: frame k is `size` samples around the middle of the k-th hop."""

    size: int = 4096
    hop: int = 1024

    def __post_init__(self) -> None:
        if self.hop < 1 or self.size % self.hop or self.size // self.hop < 2:
            raise UserError(
                f"a frame must be two or more whole hops long, got {self.size} and {self.hop}"
            )

    @property
    def bins(self) -> int:
        return self.size // 2 + 1

    @property
    def overlap(self) -> int:
        """Count the frames on each side that share samples with a frame."""
        return self.size // self.hop - 1

    @property
    def outside(self) -> int:
        """Count the samples of silence that the first frame begins with, and the last ends with."""
        return (self.size - self.hop) // 2

    def window(self, device: torch.device) -> Tensor:
        return torch.hann_window(self.size, device=device)

    def spectrum(self, padded: Tensor) -> Tensor:
        """Transform audio [B, N * hop + size - hop] to complex [B, N, bins]."""
        frames = padded.unfold(-1, self.size, self.hop)
        return torch.fft.rfft(frames * self.window(padded.device))

    def overlap_add(self, frames: Tensor) -> Tensor:
        """Sum frames [B, N, size] to [B, N * hop + size - hop]."""
        batch, count = frames.shape[:2]
        total = frames.new_zeros(batch, count + self.overlap, self.hop)
        for i in range(self.size // self.hop):
            total[:, i : i + count] += frames[..., i * self.hop : (i + 1) * self.hop]
        return total.flatten(1)

    def magnitudes(self, audio: Tensor) -> Tensor:
        """Measure audio [B, T] to [B, bins, ceil(T / hop)]; a sine of amplitude a peaks at a."""
        missing = -audio.shape[-1] % self.hop
        padded = pad(audio, (self.outside, self.outside + missing))
        return self.spectrum(padded).abs().mul(4 / self.size).transpose(1, 2)


class _Inverse:
    """Spectra to the audio whose own spectra are nearest to them, in least squares."""

    def __init__(self, frames: Frames, count: int, device: torch.device):
        self.frames, self.window = frames, frames.window(device)
        squares = self.window.square().expand(1, count, frames.size)
        self.weight = frames.overlap_add(squares).clamp_(min=1e-3).reciprocal_()

    def __call__(self, spectrum: Tensor) -> Tensor:
        """Invert complex [B, N, bins] to [B, N * hop + size - hop]."""
        frames = torch.fft.irfft(spectrum, self.frames.size).mul_(self.window)
        return self.frames.overlap_add(frames).mul_(self.weight)


def starting_phases(bins: int, start: int, stop: int, seed: int) -> Tensor:
    """Draw the phases [N, bins] of frames `start` to `stop`; a frame's never depend on others."""
    first, last = start // BLOCK, -(-stop // BLOCK)
    drawn = [
        torch.rand(BLOCK, bins, generator=torch.Generator().manual_seed(seed * 1_000_003 + block))
        for block in range(first, last)
    ]
    return torch.cat(drawn)[start - first * BLOCK : stop - first * BLOCK] * (2 * math.pi)


def reach(frames: Frames, iterations: int) -> int:
    """Count the frames on each side that the samples of a frame's hop depend on."""
    return frames.overlap * (iterations + 2)


@torch.no_grad()
def griffin_lim(
    magnitudes: Tensor,
    frames: Frames = Frames(),  # noqa: B008 (frozen)
    iterations: int = 24,
    momentum: float = 0.99,
    seed: int = 0,
    first: int = 0,
) -> Tensor:
    """Find audio [B, N * hop] with magnitudes near the given [B, bins, N].

    An item's audio depends on its own magnitudes alone, not on the rest of the batch.

    Args:
        momentum: alpha of the paper; 0 is plain Griffin-Lim
        seed: of the phases it starts from
        first: number of the first frame, where this is a piece of something longer
    """
    batch, bins, count = magnitudes.shape
    if bins != frames.bins:
        raise UserError(f"frames of {frames.size} have {frames.bins} bins, got {bins}")
    wanted = magnitudes.float().transpose(1, 2).mul(frames.size / 4)[..., None]
    phases = starting_phases(bins, first, first + count, seed).to(magnitudes.device)
    turned = torch.stack((phases.cos(), phases.sin()), dim=-1) * wanted  # [B, N, bins, 2]
    previous = torch.zeros_like(turned)
    inverse = _Inverse(frames, count, magnitudes.device)
    for _ in range(iterations):
        consistent = torch.view_as_real(frames.spectrum(inverse(torch.view_as_complex(turned))))
        turned = torch.sub(consistent, previous, alpha=momentum / (1 + momentum))
        previous = consistent
        scale = turned.square().sum(-1, keepdim=True).add_(1e-16).rsqrt_().mul_(wanted)
        turned = turned.mul_(scale)
    audio = inverse(torch.view_as_complex(turned))
    return audio[:, frames.outside : frames.outside + count * frames.hop]
