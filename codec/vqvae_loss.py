"""Reconstruction losses of the VQ-VAE (Dhariwal et al. 2020, arXiv:2005.00341, section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

# (FFT size, hop, window) of the multi-resolution spectral distance, in samples
RESOLUTIONS = ((2048, 240, 1200), (1024, 120, 600), (512, 50, 240))


@dataclass(frozen=True)
class Bandwidth:
    """Divisors of the two distances, so that loud and quiet music weigh the same."""

    power: float | Tensor = 1.0
    spectrum: float | Tensor = 1.0

    @classmethod
    def of(cls, audio: Tensor) -> "Bandwidth":
        """Measure audio [B, 1, T]; silence counts as -80 dB."""
        power = audio.pow(2).mean().clamp(min=1e-8)
        spectrum = torch.stack([norm(magnitude(audio, r)).mean() for r in RESOLUTIONS]).mean()
        return cls(power, spectrum.clamp(min=1e-2))


def magnitude(audio: Tensor, resolution: tuple[int, int, int]) -> Tensor:
    """Return the magnitude spectrogram [B, F, N] of audio [B, 1, T]."""
    n_fft, hop, window = resolution
    hann = torch.hann_window(window, device=audio.device)
    spectrum = torch.stft(audio.squeeze(1).float(), n_fft, hop, window, hann, return_complex=True)
    # abs() has no gradient at 0; the root of a tiny floor has
    return spectrum.real.square().add(spectrum.imag.square()).clamp(min=1e-14).sqrt()


def norm(spectrogram: Tensor) -> Tensor:
    """Frobenius norm of each item of [B, F, N]."""
    return spectrogram.flatten(1).square().sum(1).add(1e-12).sqrt()


def spectral_distance(output: Tensor, target: Tensor) -> Tensor:
    """Mean over three resolutions of the norm of the magnitudes' difference."""
    distances = [norm(magnitude(target, r) - magnitude(output, r)).mean() for r in RESOLUTIONS]
    return torch.stack(distances).mean()


def largest_errors(output: Tensor, target: Tensor, count: int = 2048) -> Tensor:
    """Mean of the `count` largest squared errors of each item of [B, 1, T]."""
    errors = (output - target).square().flatten(1)
    return errors.topk(min(count, errors.shape[1]), dim=1).values.mean()


def waveform_distance(output: Tensor, target: Tensor, weight_largest: float = 0.02) -> Tensor:
    """Squared error plus the largest errors, of audio [B, 1, T]."""
    squared = (output - target).square().mean()
    return squared + weight_largest * largest_errors(output, target)


def reconstruction_loss(
    output: Tensor,
    target: Tensor,
    bandwidth: Bandwidth = Bandwidth(),  # noqa: B008 (frozen)
) -> Tensor:
    """Waveform distance and spectral distance, each over its bandwidth."""
    return (
        waveform_distance(output, target) / bandwidth.power
        + spectral_distance(output, target) / bandwidth.spectrum
    )
