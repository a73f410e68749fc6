"""Jukebox's VQ-VAE: three independent autoencoders of the waveform, at hops 8, 32 and 128.

Dhariwal et al. 2020, arXiv:2005.00341, section 3 and appendix B.1. The modules have the
names of OpenAI's `vqvae.pth.tar`, so that file loads unchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from foundation.codec import mono
from foundation.precision import full_precision

SAMPLE_RATE = 44100
HOPS = (8, 32, 128)  # of levels 0, 1, 2


@dataclass(frozen=True)
class VQVAEConfig:
    """Sizes of the network; the defaults are those of the 5b model."""

    downs: tuple[int, ...] = (3, 2, 2)  # halvings of the rate that each level adds
    emb_width: int = 64
    codebook_size: int = 2048
    width: int = 32
    depth: int = 4
    multipliers: tuple[int, ...] = (2, 1, 1)  # of width and of depth, one a level
    dilation_growth: int = 3

    @property
    def hops(self) -> tuple[int, ...]:
        return tuple(2**total for total in accumulate(self.downs))

    def dilations(self, level: int) -> list[int]:
        return [self.dilation_growth**i for i in range(self.depth * self.multipliers[level])]

    def margin(self, level: int) -> int:
        """Return the samples of context on each side, whole hops, that make a piece exact.

        This bounds the receptive field of both halves: in each halving's stack every dilation adds
        its reach at the stack's own rate, and the plain convolutions add two positions more; the
        last ones, at the coarsest rate, are covered by four hops.
        """
        rates = [2 ** (i + 1) for i in range(sum(self.downs[: level + 1]))]
        reach = sum(rate * (sum(self.dilations(level)) + 4) for rate in rates)
        hop = self.hops[level]
        return (-(-reach // hop) + 4) * hop


class ResBlock(nn.Module):
    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.model = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


class ResStack(nn.Module):
    def __init__(self, width: int, dilations: list[int]):
        super().__init__()
        self.model = nn.Sequential(*(ResBlock(width, dilation) for dilation in dilations))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Block(nn.Module):
    """One level's part of an encoder or a decoder."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def down_block(channels: int, emb: int, width: int, downs: int, dilations: list[int]) -> Block:
    layers: list[nn.Module] = []
    for i in range(downs):
        down = nn.Conv1d(channels if i == 0 else width, width, 4, stride=2, padding=1)
        layers.append(nn.Sequential(down, ResStack(width, dilations)))
    return Block([*layers, nn.Conv1d(width, emb, 3, padding=1)])


def up_block(emb: int, width: int, ups: int, dilations: list[int]) -> Block:
    layers: list[nn.Module] = [nn.Conv1d(emb, width, 3, padding=1)]
    for i in range(ups):
        up = nn.ConvTranspose1d(width, emb if i == ups - 1 else width, 4, stride=2, padding=1)
        layers.append(nn.Sequential(ResStack(width, dilations[::-1]), up))
    return Block(layers)


class Encoder(nn.Module):
    """Audio [B, 1, T] to latents [B, D, T / hop]."""

    def __init__(self, config: VQVAEConfig, level: int):
        super().__init__()
        width = config.width * config.multipliers[level]
        self.level_blocks = nn.ModuleList(
            down_block(
                1 if i == 0 else config.emb_width,
                config.emb_width,
                width,
                config.downs[i],
                config.dilations(level),
            )
            for i in range(level + 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.level_blocks:
            x = block(x)
        return x


class Decoder(nn.Module):
    """Latents [B, D, L] to audio [B, 1, L * hop]."""

    def __init__(self, config: VQVAEConfig, level: int):
        super().__init__()
        width = config.width * config.multipliers[level]
        self.level_blocks = nn.ModuleList(
            up_block(config.emb_width, width, config.downs[i], config.dilations(level))
            for i in range(level + 1)
        )
        self.out = nn.Conv1d(config.emb_width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for block in reversed(self.level_blocks):
            x = block(x)
        return self.out(x)


class Codebook(nn.Module):
    """The vectors `k` [K, D] that latents are rounded to."""

    k: Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("k", torch.zeros(size, dim))

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Round latents [B, D, L] to codes [B, L]; also return the squared distances [B, L]."""
        flat = latents.transpose(1, 2).float()  # [B, L, D]
        # |x - k|^2 less |x|^2, which is the same for every k and so can't change the winner
        with full_precision(latents):
            nearest, codes = (self.k.pow(2).sum(1) - 2 * flat @ self.k.t()).min(dim=-1)
        return codes, nearest + flat.pow(2).sum(-1)

    def look_up(self, codes: Tensor) -> Tensor:
        """Look up the latents [B, D, L] of codes [B, L]."""
        return self.k[codes].transpose(1, 2)

    def normalise(self, latents: Tensor) -> Tensor:
        """Scale latents [B, D, L] by the mean and unbiased deviation of all entries."""
        return (latents - self.k.mean()) / self.k.std()

    def denormalise(self, latents: Tensor) -> Tensor:
        """Undo `normalise` for latents [B, D, L]."""
        return latents * self.k.std() + self.k.mean()


class Bottleneck(nn.Module):
    def __init__(self, config: VQVAEConfig):
        super().__init__()
        self.level_blocks = nn.ModuleList(
            Codebook(config.codebook_size, config.emb_width) for _ in config.downs
        )


class VQVAE(nn.Module):
    """The autoencoders of all levels; level 0 is the finest."""

    def __init__(self, config: VQVAEConfig = VQVAEConfig()):  # noqa: B008 (frozen)
        super().__init__()
        self.config = config
        levels = range(len(config.downs))
        self.encoders = nn.ModuleList(Encoder(config, level) for level in levels)
        self.decoders = nn.ModuleList(Decoder(config, level) for level in levels)
        self.bottleneck = Bottleneck(config)

    def codebook(self, level: int) -> Codebook:
        codebook = self.bottleneck.level_blocks[level]
        assert isinstance(codebook, Codebook)
        return codebook

    def encode(self, audio: Tensor, level: int, piece: int = 2**18) -> Tensor:
        """Encode audio [B, C, T] to codes [B, ceil(T / hop)].

        Longer audio is encoded in pieces of `piece` samples, with `config.margin(level)` samples of
        context on each side, so that the codes are those of the whole. (At 2^18 samples the layers
        fit the processor's cache: measured 1.7 times faster than 2^20.)
        """
        hop = self.config.hops[level]
        audio = mono(audio).to(self.codebook(level).k.dtype)
        audio = nn.functional.pad(audio, (0, -audio.shape[-1] % hop))

        def codes(x: Tensor) -> Tensor:
            return self.codebook(level).quantise(self.encoders[level](x))[0]

        margin = self.config.margin(level) // hop
        with full_precision(audio):
            return in_pieces(codes, audio, piece // hop, margin, hop, 1)

    def decode(self, codes: Tensor, level: int, piece: int = 2**18) -> Tensor:
        """Decode codes [B, L] to audio [B, 1, L * hop] in [-1, 1], in pieces as `encode` does."""
        hop = self.config.hops[level]

        def audio(z: Tensor) -> Tensor:
            return self.decoders[level](self.codebook(level).look_up(z))

        margin = self.config.margin(level) // hop
        with full_precision(codes):
            whole = in_pieces(audio, codes, piece // hop, margin, 1, hop)
        return whole.clamp(-1, 1)


def in_pieces(
    fn: Callable[[Tensor], Tensor],
    x: Tensor,
    piece: int,
    margin: int,
    scale_in: int,
    scale_out: int,
) -> Tensor:
    """Apply a local function along the last axis, piece by piece with a margin that is cut off.

    `piece` and `margin` count positions; one is `scale_in` elements of x and `scale_out` of the
    result. Memory follows the piece, not the whole.
    """
    total, parts = x.shape[-1] // scale_in, []
    if total <= piece + 2 * margin:
        return fn(x)
    for start in range(0, max(total, 1), max(piece, 1)):
        left, right = max(0, start - margin), min(total, start + piece + margin)
        part = fn(x[..., left * scale_in : right * scale_in])
        keep = min(piece, total - start)
        first = (start - left) * scale_out
        parts.append(part[..., first : first + keep * scale_out])
    return torch.cat(parts, dim=-1)
