"""WavTokenizer's decoder: Vocos with an attention block (Siuzdak 2023, arXiv:2306.00814)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, layer_norm, scaled_dot_product_attention, silu

INPUT, DIM, HIDDEN, BLOCKS = 512, 768, 2304, 12
BANDWIDTHS = 4  # rows of the adaptive norms
EPS = 1e-6
LOUDEST = 100.0  # the head's magnitudes are clipped here, as in training


class AdaptiveNorm(nn.Module):
    """Normalise x [B, L, D], then scale and shift by row `bandwidth_id` of two embeddings.

    The scale is used directly, without the usual 1 +.
    """

    def __init__(self, dim: int, bandwidth_id: int = 0):
        super().__init__()
        self.bandwidth_id = bandwidth_id
        self.scale = nn.Embedding(BANDWIDTHS, dim)
        self.shift = nn.Embedding(BANDWIDTHS, dim)

    def forward(self, x: Tensor) -> Tensor:
        normed = layer_norm(x, x.shape[-1:], eps=EPS)
        return normed * self.scale.weight[self.bandwidth_id] + self.shift.weight[self.bandwidth_id]


class ConvNeXt(nn.Module):
    """Depthwise convolution, then a wide layer for each frame, scaled by gamma."""

    def __init__(self, dim: int, hidden: int, bandwidth_id: int = 0):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1 / BLOCKS))
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = AdaptiveNorm(dim, bandwidth_id)
        self.pwconv1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.dwconv(x).transpose(1, 2))
        h = self.gamma * self.pwconv2(self.act(self.pwconv1(h)))
        return x + h.transpose(1, 2)


def group_norm(dim: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, dim, eps=EPS)


class Residual(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm1, self.conv1 = group_norm(dim), nn.Conv1d(dim, dim, 3, padding=1)
        self.norm2, self.conv2 = group_norm(dim), nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x)))
        return x + self.conv2(silu(self.norm2(h)))


class Attention(nn.Module):
    """One head over all frames."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = group_norm(dim)
        self.q, self.k, self.v, self.proj_out = (nn.Conv1d(dim, dim, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).transpose(1, 2)[:, None] for layer in (self.q, self.k, self.v))
        out = scaled_dot_product_attention(q, k, v)[:, 0]  # [B, L, D]
        return x + self.proj_out(out.transpose(1, 2))


class Backbone(nn.Module):
    """Map features [B, 512, L] to [B, L, 768]."""

    def __init__(self, bandwidth_id: int = 0):
        super().__init__()
        self.embed = nn.Conv1d(INPUT, DIM, 7, padding=3)
        self.norm = AdaptiveNorm(DIM, bandwidth_id)
        self.convnext = nn.ModuleList(ConvNeXt(DIM, HIDDEN, bandwidth_id) for _ in range(BLOCKS))
        self.final_layer_norm = nn.LayerNorm(DIM, eps=EPS)
        self.pos_net = nn.Sequential(
            Residual(DIM), Residual(DIM), Attention(DIM), Residual(DIM), Residual(DIM),
            group_norm(DIM),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        x = self.pos_net(self.embed(features))
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        return self.final_layer_norm(x.transpose(1, 2))


class InverseSTFT(nn.Module):
    """Overlap-add of spectra; (window - hop) / 2 samples are dropped on both sides."""

    window: Tensor

    def __init__(self, hop: int):
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(4 * hop))

    def forward(self, spectrum: Tensor) -> Tensor:
        """Turn a spectrum [B, F, L] into audio [B, 1, L * hop]."""
        size = len(self.window)
        frames = torch.fft.irfft(spectrum, size, dim=1) * self.window[:, None]
        envelope = self.window.square()[:, None].expand(size, spectrum.shape[-1])
        trim = (size - self.hop) // 2
        audio, weight = (
            self._overlap_add(x)[..., trim:-trim] for x in (frames, envelope.unsqueeze(0))
        )
        return audio / weight

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """Add frames [B, N, L] up to [B, 1, T]."""
        size = (frames.shape[-1] - 1) * self.hop + frames.shape[1]
        return fold(frames, (1, size), (1, frames.shape[1]), stride=(1, self.hop))[:, 0]


class Head(nn.Module):
    """Read magnitudes and phases of a short-time spectrum from x [B, L, 768]."""

    def __init__(self, hop: int):
        super().__init__()
        self.out = nn.Linear(DIM, 4 * hop + 2)
        self.istft = InverseSTFT(hop)

    def forward(self, x: Tensor) -> Tensor:
        magnitude, phase = self.out(x).transpose(1, 2).float().chunk(2, dim=1)
        return self.istft(torch.polar(magnitude.exp().clamp(max=LOUDEST), phase))
