"""musicnn embeddings (Pons and Serra 2019, arXiv:1909.06654), the default: a tagger of music."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from foundation.weights import read_state
from metrics.embedding import Embedding, fill, find_weights
from metrics.mel import slaney_filters

FILE = "musicnn.safetensors"
FFT, HOP, BANDS = 512, 256, 96
PATCH = 187  # frames the network was trained on, 3 s
STEP = 94  # frames from patch to patch: half a patch overlaps
EPS = 1e-3  # TensorFlow's batch norm
TIMBRAL, TEMPORAL, MIDDLE = 204, 51, 64  # filters
HEIGHTS = (38, 67)  # bands that timbral filters span: 0.4 and 0.7 of all
LENGTHS = (128, 64, 32)  # frames that temporal filters span


class Layer(nn.Module):
    """Convolution that keeps the time, ReLU, batch norm."""

    def __init__(self, before: int, after: int, size: tuple[int, int]):
        super().__init__()
        self.conv = nn.Conv2d(before, after, size)
        self.norm = nn.BatchNorm2d(after, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, C, T, F] to [B, C', T, F - size + 1]; an even kernel looks further ahead."""
        return self.norm(self.filter(x))

    def filter(self, x: Tensor) -> Tensor:
        time = self.conv.kernel_size[0]
        x = pad(x, (0, 0, (time - 1) // 2, time // 2))
        return conv2d(x, self.conv.weight, self.conv.bias).relu_()

    def highest(self, x: Tensor) -> Tensor:
        """Filter and take the maximum over frequency, [B, C', T], before the norm where it may.

        A norm with a positive factor keeps the order, one with a negative factor turns it round;
        so the norm needs only the extremes, and the largest tensor is passed over once.
        """
        lowest, highest = self.filter(x).aminmax(dim=3)
        rising = self.norm.weight[:, None] >= 0
        return self.norm(highest.where(rising, lowest)[..., None])[..., 0]


class Network(nn.Module):
    """From log mel to the 200 numbers before the tags."""

    def __init__(self, tags: int = 50):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=EPS)
        self.timbral = nn.ModuleList(Layer(1, TIMBRAL, (7, height)) for height in HEIGHTS)
        self.temporal = nn.ModuleList(Layer(1, TEMPORAL, (length, 1)) for length in LENGTHS)
        front = 2 * TIMBRAL + 3 * TEMPORAL
        widths = (front, MIDDLE, MIDDLE)
        self.middle = nn.ModuleList(Layer(1, MIDDLE, (7, width)) for width in widths)
        channels = front + 3 * MIDDLE
        self.pooled_norm = nn.BatchNorm1d(2 * channels, eps=EPS)
        self.dense = nn.Linear(2 * channels, 200)
        self.dense_norm = nn.BatchNorm1d(200, eps=EPS)
        self.tags = nn.Linear(200, tags)

    def forward(self, mel: Tensor) -> Tensor:
        """Embed log mel [B, T, 96] to [B, 200]."""
        x = self.norm(mel[:, None])
        front = [layer.highest(x) for layer in (*self.timbral, *self.temporal)]
        features = [torch.cat(front, dim=1)]  # [B, C, T]
        for layer in self.middle:
            out = layer(features[-1].transpose(1, 2)[:, None])[..., 0]
            features.append(out if len(features) == 1 else out + features[-1])
        pooled = torch.cat(features, dim=1)
        both = torch.stack((pooled.amax(dim=2), pooled.mean(dim=2)), dim=2)
        return self.dense_norm(self.dense(self.pooled_norm(both.flatten(1))).relu_())

    def classify(self, vectors: Tensor) -> Tensor:
        """Probabilities [B, 50] of the tags of MagnaTagATune, of embeddings [B, 200]."""
        return self.tags(vectors).sigmoid()


class Musicnn(Embedding):
    """One vector of 200 numbers for each 3 s of music, every 1.5 s.

    The original rounds mel power to half precision, which overflows in loud bass; ours doesn't.
    It wasn't trained to ignore the level: a gain of -12 dB moves its vectors as far as much noise.
    So clips are brought to one level first.
    """

    name = "musicnn"
    sample_rate = 16000
    dim = 200
    shortest = (PATCH - 1) * HOP
    level = -20.0
    front_end = "power STFT 512/256, 96 Slaney mel, log10(10000 x + 1), 3 s every 1.5 s"

    def __init__(self, path: str | Path | None = None, net: Network | None = None):
        super().__init__()
        self.net = net or Network()
        if net is None:
            file = find_weights(path, FILE, "musicnn")
            state = read_state(file)
            counters = {k: v for k, v in self.net.state_dict().items() if v.dtype == torch.long}
            fill(self.net, counters | state, file)  # TensorFlow counts no batches
        filters = slaney_filters(self.sample_rate, FFT, BANDS, 0.0, self.sample_rate / 2)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        self.eval().requires_grad_(False)

    def log_mel(self, audio: Tensor) -> Tensor:
        """Compressed mel power [B, N, 96] of audio [B, T], mirrored at its ends."""
        spectrum = torch.stft(
            audio, FFT, HOP, window=self.window, pad_mode="reflect", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (10000 * (power.transpose(1, 2) @ self.filters) + 1).log10()

    def examples(self, audio: Tensor) -> Tensor:
        """Patches [B, W, 187, 96]."""
        return self.log_mel(audio).unfold(1, PATCH, STEP).transpose(2, 3)

    def embed(self, examples: Tensor) -> Tensor:
        return self.net(examples)
