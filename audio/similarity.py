"""What a copy keeps of the music: notes (chroma) and attacks (onsets). Both at 44.1 kHz."""

import torch
from torch import Tensor

RATE = 44100


def _magnitudes(audio: Tensor, size: int, hop: int) -> Tensor:
    """Measure audio [B, 1, T] to [B, F, N]."""
    window = torch.hann_window(size, device=audio.device)
    return torch.stft(audio[:, 0].float(), size, hop, window=window, return_complex=True).abs()


def chroma(audio: Tensor) -> Tensor:
    """Root energy of the pitch classes of audio [B, 1, T] from 55 to 4186 Hz, mean removed.

    Returns [B, 12, N].
    """
    spectrum = _magnitudes(audio, 8192, 2048).square()
    frequencies = torch.linspace(0, RATE / 2, spectrum.shape[1])
    inside = (frequencies > 55) & (frequencies < 4186)
    classes = (12 * torch.log2(frequencies[inside] / 440)).round().long() % 12
    folded = spectrum.new_zeros(len(spectrum), 12, spectrum.shape[2])
    folded.index_add_(1, classes.to(audio.device), spectrum[:, inside.to(audio.device)])
    folded = folded.sqrt()
    return folded - folded.mean(1, keepdim=True)


def chroma_cosine(output: Tensor, target: Tensor) -> float:
    """Mean cosine of the chroma of loud frames of audio [B, 1, T]; chance is 0."""
    a, b = chroma(output), chroma(target)
    loud = b.norm(dim=1) > 0.01 * b.norm(dim=1).max()
    return float(torch.cosine_similarity(a, b, dim=1)[loud].mean())


def onset_correlation(output: Tensor, target: Tensor) -> float:
    """Correlation of the rise of the compressed spectrum from frame to frame, audio [B, 1, T]."""

    def strength(audio: Tensor) -> Tensor:
        rise = _magnitudes(audio, 1024, 512).log1p().diff(dim=-1).clamp(min=0).sum(1)
        return rise - rise.mean(-1, keepdim=True)

    return float(torch.cosine_similarity(strength(output), strength(target), dim=-1).mean())
