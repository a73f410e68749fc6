"""What a copy keeps of the music: notes (chroma) and attacks (onsets), at 44.1 kHz."""

import torch
from torch import Tensor

RATE = 44100
LOWEST, HIGHEST = 55.0, 4186.0  # Hz, of the notes


def magnitudes(mono: Tensor, size: int, hop: int) -> Tensor:
    """Measure audio [B, T] to [B, F, N]."""
    window = torch.hann_window(size, device=mono.device)
    return torch.stft(mono.float(), size, hop, window=window, return_complex=True).abs()


def pitch_classes(power: Tensor, sample_rate: int) -> Tensor:
    """Sum power [B, F, N] of even frequencies, from A1 to the piano's highest C: [B, 12, N]."""
    frequencies = torch.linspace(0, sample_rate / 2, power.shape[1])
    inside = (frequencies > LOWEST) & (frequencies < HIGHEST)
    classes = (12 * torch.log2(frequencies[inside] / 440)).round().long() % 12
    folded = power.new_zeros(len(power), 12, power.shape[2])
    return folded.index_add_(1, classes.to(power.device), power[:, inside.to(power.device)])


def chroma(audio: Tensor) -> Tensor:
    """Root energy of the pitch classes of audio [B, 1, T] from 55 to 4186 Hz, mean removed.

    Returns [B, 12, N].
    """
    folded = pitch_classes(magnitudes(audio[:, 0], 8192, 2048).square(), RATE).sqrt()
    return folded - folded.mean(1, keepdim=True)


def chroma_cosine(output: Tensor, target: Tensor) -> float:
    """Mean cosine of the chroma of loud frames of audio [B, 1, T]; chance is 0."""
    a, b = chroma(output), chroma(target)
    loud = b.norm(dim=1) > 0.01 * b.norm(dim=1).max()
    return float(torch.cosine_similarity(a, b, dim=1)[loud].mean())


def onset_correlation(output: Tensor, target: Tensor) -> float:
    """Correlation of the rise of the compressed spectrum from frame to frame, audio [B, 1, T]."""

    def strength(audio: Tensor) -> Tensor:
        rise = magnitudes(audio[:, 0], 1024, 512).log1p().diff(dim=-1).clamp(min=0).sum(1)
        return rise - rise.mean(-1, keepdim=True)

    return float(torch.cosine_similarity(strength(output), strength(target), dim=-1).mean())
