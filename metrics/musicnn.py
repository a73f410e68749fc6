"""musicnn embeddings (Pons and Serra 2019, arXiv:1909.06654), the default: a tagger of music."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from foundation.weights import load_strictly, read_state
from metrics.embedding import Embedding, find_weights
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
    """A convolution that keeps the number of frames, ReLU, batch norm."""

    def __init__(self, in_channels: int, channels: int, size: tuple[int, int]):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, size)
        self.norm = nn.BatchNorm2d(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, C, T, F] to [B, C', T, F - size + 1]; an even kernel pads more at the end."""
        return self.norm(self.filter(x))

    def filter(self, x: Tensor) -> Tensor:
        time = self.conv.kernel_size[0]
        x = pad(x, (0, 0, (time - 1) // 2, time // 2))
        return conv2d(x, self.conv.weight, self.conv.bias).relu_()


class FrontLayer(Layer):
    """A layer followed by the maximum over frequency."""

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, C, T, F] to [B, C', T].

        A norm with a positive factor keeps the order, one with a negative factor reverses it; so
        the norm is applied to the extremes alone, and the largest tensor is read once.
        """
        lowest, highest = self.filter(x).aminmax(dim=3)
        rising = self.norm.weight[:, None] >= 0
        return self.norm(highest.where(rising, lowest)[..., None])[..., 0]


class Network(nn.Module):
    """The published network, whose last hidden layer is the embedding; `tags` isn't used."""

    def __init__(self, tags: int = 50):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=EPS)
        self.timbral = nn.ModuleList(FrontLayer(1, TIMBRAL, (7, height)) for height in HEIGHTS)
        self.temporal = nn.ModuleList(FrontLayer(1, TEMPORAL, (length, 1)) for length in LENGTHS)
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
        front = [layer(x) for layer in (*self.timbral, *self.temporal)]
        features = [torch.cat(front, dim=1)]  # [B, C, T]
        for layer in self.middle:
            out = layer(features[-1].transpose(1, 2)[:, None])[..., 0]
            features.append(out if len(features) == 1 else out + features[-1])
        pooled = torch.cat(features, dim=1)
        both = torch.stack((pooled.amax(dim=2), pooled.mean(dim=2)), dim=2)
        return self.dense_norm(self.dense(self.pooled_norm(both.flatten(1))).relu_())


class Musicnn(Embedding):
    """One vector of 200 numbers for each 3 s of music, every 1.5 s.

    The original rounds mel power to half precision, which overflows in loud bass; ours doesn't.
    It wasn't trained to ignore the level: a gain of -12 dB moves its vectors as far as loud noise
    does. So clips are brought to one level first.

    Args:
        path: the converted weights, if they aren't in ckpts/
        net: a network with its weights, in place of the file
    """

    name = "musicnn"
    sample_rate = 16000
    dim = 200
    shortest = (PATCH - 1) * HOP
    stride = STEP * HOP
    level = -20.0
    filters: Tensor
    window: Tensor
    front_end = "power STFT 512/256, 96 Slaney mel, log10(10000 x + 1), 3 s every 1.5 s"

    def __init__(self, path: str | Path | None = None, net: Network | None = None):
        super().__init__()
        self.net = net or Network()
        if net is None:
            file = find_weights(path, FILE, "musicnn")
            state = read_state(file)
            counters = {k: v for k, v in self.net.state_dict().items() if v.dtype == torch.long}
            state = counters | state  # TensorFlow counts no batches
            load_strictly(self.net, state, f"{file} doesn't fit Musicnn")
        filters = slaney_filters(self.sample_rate, FFT, BANDS, 0.0, self.sample_rate / 2)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        self.eval().requires_grad_(False)

    def log_mel(self, audio: Tensor) -> Tensor:
        """Compute compressed mel power [B, N, 96] of audio [B, T], reflected at its ends."""
        spectrum = torch.stft(
            audio, FFT, HOP, window=self.window, pad_mode="reflect", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (10000 * (power.transpose(1, 2) @ self.filters) + 1).log10()

    def examples(self, audio: Tensor) -> Tensor:
        """Cut audio [B, T] to overlapping log mel patches [B, W, 187, 96]."""
        return self.log_mel(audio).unfold(1, PATCH, STEP).transpose(2, 3)

    def embed(self, examples: Tensor) -> Tensor:
        return self.net(examples)
