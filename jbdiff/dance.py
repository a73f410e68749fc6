"""The network of Dance Diffusion: a U-Net on the waveform, with attention at its coarse depths.

Zach Evans, Harmonai 2022 (sample-generator). The module tree carries the names of the published
checkpoints, so their `diffusion_ema.*` loads as it is.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundation.errors import UserError
from jbdiff.velocity_net import VelocityNet

CHANNELS = (128, 128, 256, 256) + (512,) * 10
HEAD_DIM = 32
TIME_FEATURES = 16
CUBIC = (-0.01171875, -0.03515625, 0.11328125, 0.43359375)  # half of the symmetric kernel


class FourierFeatures(nn.Module):
    """Times [B] to cosines and sines [B, F] at random frequencies that are trained."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features // 2, 1))

    def forward(self, t: Tensor) -> Tensor:
        angles = 2 * math.pi * t[:, None] @ self.weight.t()
        return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ResConvBlock(nn.Module):
    """Two convolutions beside a skip: [B, C, T] to [B, C', T]; the last one has no final norm."""

    def __init__(self, channels: int, mid: int, out: int, last: bool = False):
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv1d(channels, mid, 5, padding=2),
            nn.GroupNorm(1, mid),
            nn.GELU(),
            nn.Conv1d(mid, out, 5, padding=2),
        ]
        self.main = nn.Sequential(*layers, *([] if last else [nn.GroupNorm(1, out), nn.GELU()]))
        same = channels == out
        self.skip = nn.Identity() if same else nn.Conv1d(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.skip(x)


class SelfAttention(nn.Module):
    """Attention of all positions of x [B, C, T] to one another, without position embedding."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.num_heads = channels // HEAD_DIM
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.out_proj = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv_proj(self.norm(x)).unflatten(1, (3, self.num_heads, -1))
        q, k, v = qkv.transpose(-1, -2).contiguous().unbind(1)  # for the fused kernel
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.out_proj(y.transpose(-1, -2).flatten(1, 2))


class Resample(nn.Module):
    """Halve or double the length of x [B, C, T], each channel by itself, with a cubic kernel."""

    kernel: Tensor

    def __init__(self, factor: int = 1):
        super().__init__()
        half = torch.tensor(CUBIC) * factor
        self.register_buffer("kernel", torch.cat([half, half.flip(0)]))

    def rows(self, x: Tensor, pad: int) -> tuple[Tensor, Tensor]:
        """Reflect x at its ends, as rows of one channel [B * C, 1, T], beside the kernel."""
        padded = F.pad(x, (pad, pad), mode="reflect")
        return padded.flatten(0, 1).unsqueeze(1), self.kernel.to(x.dtype)[None, None]


class Downsample(Resample):
    def forward(self, x: Tensor) -> Tensor:
        rows, kernel = self.rows(x, pad=3)
        return F.conv1d(rows, kernel, stride=2).view(*x.shape[:2], -1)


class Upsample(Resample):
    def __init__(self):
        super().__init__(factor=2)

    def forward(self, x: Tensor) -> Tensor:
        rows, kernel = self.rows(x, pad=2)
        return F.conv_transpose1d(rows, kernel, stride=2, padding=7).view(*x.shape[:2], -1)


class SkipBlock(nn.Module):
    """The layers beside their own input: [B, C, T] to [B, C' + C, T]."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.main(x), x], dim=1)


class DiffusionAttnUnet1D(VelocityNet):
    """Predict the velocity of audio x [B, C, T] at times t [B], without a context.

    Args:
        depth: how many resolutions, each half of the one before
        n_attn_layers: attention is in this many of the deepest resolutions and in two more; 0 is
            none at all
        c_mults: the channels of each resolution
        io_channels: 2 for stereo
    """

    def __init__(
        self,
        depth: int = 14,
        n_attn_layers: int = 4,
        c_mults: list[int] | None = None,
        io_channels: int = 2,
    ):
        super().__init__()
        channels = list(c_mults or CHANNELS)[:depth]
        check_sizes(depth, n_attn_layers, channels)
        self.multiple = 2 ** (depth - 1)
        self.min_length = 3 * self.multiple  # the coarsest resolution is reflected by 2 positions
        self.channels = io_channels
        self.timestep_embed = FourierFeatures(TIME_FEATURES)
        first_attention = depth - n_attn_layers - 1 if n_attn_layers else depth + 1
        self.net = build(channels, first_attention, io_channels)
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter *= 0.5  # the published models were initialised so

    def forward(self, x: Tensor, t: Tensor, context: object = None) -> Tensor:
        self.check_length(x.shape[-1])
        planes = self.timestep_embed(t).to(x.dtype)[..., None].expand(-1, -1, x.shape[-1])
        return self.net(torch.cat([x, planes], dim=1))


def check_sizes(depth: int, n_attn_layers: int, channels: list[int]) -> None:
    if depth < 2:
        raise UserError(f"depth must be at least 2, got {depth}")
    if len(channels) != depth:
        raise UserError(f"c_mults must list {depth} widths, one for each depth, got {channels}")
    if not 0 <= n_attn_layers < depth:
        raise UserError(f"n_attn_layers must be 0 to {depth - 1}, got {n_attn_layers}")
    deepest = channels[max(0, depth - n_attn_layers - 3) :] if n_attn_layers else []
    if odd := [width for width in deepest if width % HEAD_DIM]:
        raise UserError(f"attention needs widths that {HEAD_DIM} divides, got {odd}")


def build(channels: list[int], first_attention: int, io_channels: int) -> nn.Sequential:
    """Nest the resolutions, from the coarsest outwards."""
    inner: nn.Module = nn.Identity()
    for depth in range(len(channels), 1, -1):
        attention = SelfAttention if depth >= first_attention else lambda _: nn.Identity()
        deepest = depth == len(channels)
        inner = SkipBlock(
            layers(channels[depth - 2], channels[depth - 1], inner, deepest, attention)
        )
    width = channels[0]
    return nn.Sequential(
        ResConvBlock(io_channels + TIME_FEATURES, width, width),
        ResConvBlock(width, width, width),
        ResConvBlock(width, width, width),
        inner,
        ResConvBlock(2 * width, width, width),
        ResConvBlock(width, width, width),
        ResConvBlock(width, width, io_channels, last=True),
    )


def layers(
    outer: int, width: int, inner: nn.Module, deepest: bool, attention: Callable[[int], nn.Module]
) -> list[nn.Module]:
    """List one resolution: down, three blocks, the coarser ones, three blocks, up."""
    down = [(outer, width), (width, width), (width, width)]
    up = [(width if deepest else 2 * width, width), (width, width), (width, outer)]
    parts: list[nn.Module] = [Downsample()]
    for blocks in (down, up):
        for channels, out in blocks:
            parts += [ResConvBlock(channels, width, out), attention(out)]
        parts.append(inner if blocks is down else Upsample())
    return parts
