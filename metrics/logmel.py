"""Statistics of log mel bands: no weights, and no claim to hear music."""

import torch
from torch import Tensor

from metrics.embedding import Embedding
from metrics.mel import slaney_filters

FFT, HOP, BANDS = 1024, 512, 64
PATCH = 32  # frames of an example, 1 s


class LogMel(Embedding):
    """Mean and standard deviation of 64 mel bands over each second: a spectral distance.

    It ranks degradations, but places other music of the same kind as far away as music of another
    kind; so its measure is called a spectral distance.
    """

    name = "logmel"
    sample_rate = 16000
    dim = 2 * BANDS
    shortest = (PATCH - 1) * HOP
    stride = PATCH * HOP
    level = -20.0
    filters: Tensor
    window: Tensor
    front_end = "power STFT 1024/512, 64 Slaney mel, dB, mean and deviation of each second"
    measure = "spectral distance (log-mel statistics)"

    def __init__(self) -> None:
        super().__init__()
        filters = slaney_filters(self.sample_rate, FFT, BANDS, 0.0, self.sample_rate / 2)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)

    def examples(self, audio: Tensor) -> Tensor:
        """Cut audio [B, T] to mel bands [B, W, 32, 64] in dB."""
        spectrum = torch.stft(
            audio, FFT, HOP, window=self.window, pad_mode="reflect", return_complex=True
        )
        power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)
        mel = 10 * (power @ self.filters).clamp(min=1e-8).log10()
        return mel.unfold(1, PATCH, PATCH).transpose(2, 3)

    def embed(self, examples: Tensor) -> Tensor:
        return torch.cat((examples.mean(dim=1), examples.std(dim=1)), dim=1)
