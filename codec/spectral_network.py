"""Encoder and decoder of the spectral codec: magnitudes of frames to latents and back."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu

from audio.bands import interpolation, mixed_centres, triangles
from audio.griffin_lim import Frames
from foundation.errors import UserError

INPUT_SCALE = 0.3  # brings log bands, and latents of them, near unit variance
LATENT_SCALE = 0.2


@dataclass(frozen=True)
class SpectralConfig:
    """Sizes of the spectral codec; those of its shipped weights by default.

    Args:
        sample_rate: of the audio, in Hz
        frame_size: samples of a frame
        frame_hop: samples from frame to frame; a latent covers two frames
        per_octave: bands an octave where bins are narrower than a step of pitch
        lowest: Hz, where the lowest band begins
        floor: amplitude below which a band counts as silent
        latent_dim: D
        encoder_width: channels of the encoder
        encoder_blocks: its residual blocks
        decoder_width: channels of the decoder at the latents' rate
        decoder_blocks: its residual blocks
        frame_width: channels of the decoder at the frames' rate
        num_codebooks: K
        codebook_size: V
    """

    sample_rate: int = 44100
    frame_size: int = 4096
    frame_hop: int = 1024
    per_octave: int = 36
    lowest: float = 27.5
    floor: float = 1e-4
    latent_dim: int = 128
    encoder_width: int = 352
    encoder_blocks: int = 2
    decoder_width: int = 384
    decoder_blocks: int = 3
    frame_width: int = 320
    num_codebooks: int = 8
    codebook_size: int = 1024

    def __post_init__(self) -> None:
        if self.latent_dim > 2 * self.num_bands:
            raise UserError(
                f"latent_dim must be at most the {2 * self.num_bands} values of two frames' bands, "
                f"got {self.latent_dim}"
            )

    @property
    def frames(self) -> Frames:
        return Frames(self.frame_size, self.frame_hop)

    @property
    def hop(self) -> int:
        """Samples a latent covers."""
        return 2 * self.frame_hop

    @property
    def centres(self) -> Tensor:
        return mixed_centres(self.frames.bins, self.sample_rate, self.per_octave, self.lowest)

    @property
    def num_bands(self) -> int:
        return len(self.centres) - 2


class Residual(nn.Module):
    """x + a convolution of width 3, GELU and a pointwise one, of x over its root mean square."""

    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.wide = nn.Conv1d(width, width, 3, padding=1)
        self.point = nn.Conv1d(width, width, 1)
        zero(self.point)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, L] to [B, C, L]."""
        scale = x.square().mean(1, keepdim=True).add(1e-5).rsqrt()
        return x + self.point(gelu(self.wide(x * scale * self.gain[:, None])))


def zero(layer: nn.Conv1d) -> None:
    """Let a layer give nothing at first, so that training begins with the linear path alone."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def pair(frames: Tensor) -> Tensor:
    """Put two frames into one position: [B, C, 2L] to [B, 2C, L], the earlier one first."""
    batch, channels, count = frames.shape
    return frames.view(batch, channels, count // 2, 2).permute(0, 3, 1, 2).flatten(1, 2)


def unpair(pairs: Tensor) -> Tensor:
    """Undo `pair`: [B, 2C, L] to [B, C, 2L]."""
    return pairs.unflatten(1, (2, -1)).permute(0, 2, 3, 1).flatten(2)


class Bands(nn.Module):
    """Log root power in bands of pitch, above a floor; nothing here is learned."""

    filters: Tensor
    between: Tensor

    def __init__(self, config: SpectralConfig):
        super().__init__()
        self.floor = config.floor
        shape = (config.frames.bins, config.sample_rate)
        self.register_buffer("filters", triangles(config.centres, *shape), persistent=False)
        self.register_buffer("between", interpolation(config.centres, *shape), persistent=False)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Measure magnitudes [B, F, N] in bands [B, M, N]; silence is 0."""
        power = self.filters @ magnitudes.square()
        return (power.sqrt() + self.floor).log() - math.log(self.floor)


class Encoder(nn.Module):
    """PCA of two frames' bands, and what convolutions add to it."""

    def __init__(self, config: SpectralConfig):
        super().__init__()
        values, width = 2 * config.num_bands, config.encoder_width
        self.principal = nn.Parameter(torch.zeros(config.latent_dim, values))
        self.first = nn.Conv1d(values, width, 1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(config.encoder_blocks)))
        self.last = nn.Conv1d(width, config.latent_dim, 1)
        zero(self.last)

    def forward(self, centred: Tensor) -> Tensor:
        """Encode pairs of bands less their mean [B, 2M, L] to [B, D, L]."""
        learned = self.last(self.blocks(self.first(centred * INPUT_SCALE)))
        return self.principal @ centred + learned


class Decoder(nn.Module):
    """Bands by PCA undone, drawn out to bins, and what convolutions add to both."""

    def __init__(self, config: SpectralConfig):
        super().__init__()
        bands, width, frame_width = config.num_bands, config.decoder_width, config.frame_width
        self.principal = nn.Parameter(torch.zeros(2 * bands, config.latent_dim))
        self.first = nn.Conv1d(config.latent_dim, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(config.decoder_blocks)))
        self.to_frames = nn.Conv1d(width, 2 * frame_width, 1)
        self.from_bands = nn.Conv1d(bands, frame_width, 1)
        self.frame_block = Residual(frame_width)
        self.to_bands = nn.Conv1d(frame_width, bands, 1)
        self.to_bins = nn.Conv1d(frame_width, config.frames.bins, 1)
        zero(self.to_bands)
        zero(self.to_bins)

    def forward(self, latents: Tensor, mean: Tensor, between: Tensor) -> Tensor:
        """Decode [B, D, L] to the log of magnitudes over the floor [B, F, 2L].

        `mean` [2M] is the bands', `between` [F, M] draws bands out to bins.
        """
        bands = unpair(self.principal @ latents + mean[:, None])
        hidden = unpair(self.to_frames(self.blocks(self.first(latents * LATENT_SCALE))))
        hidden = self.frame_block(hidden + self.from_bands(bands * LATENT_SCALE))
        bands = bands + self.to_bands(hidden)
        return conv1d(bands, between[..., None]) + self.to_bins(hidden)


class SpectralNetwork(nn.Module):
    """Magnitudes [B, F, 2L] to latents [B, D, L], not yet normalised, and back."""

    mean: Tensor

    def __init__(self, config: SpectralConfig):
        super().__init__()
        self.floor = config.floor
        self.bands = Bands(config)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.register_buffer("mean", torch.zeros(2 * config.num_bands))  # of pairs of bands
        # latents on each side that a latent's code, or its two frames, depend on
        self.encoder_reach = config.encoder_blocks
        self.decoder_reach = config.decoder_blocks + 2

    def encode(self, magnitudes: Tensor) -> Tensor:
        """Encode magnitudes [B, F, 2L] to latents [B, D, L]."""
        return self.encoder(pair(self.bands(magnitudes)) - self.mean[:, None])

    def decode_log(self, latents: Tensor) -> Tensor:
        """Decode latents [B, D, L] to log(magnitude + floor) [B, F, 2L]."""
        return self.decoder(latents, self.mean, self.bands.between) + math.log(self.floor)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents [B, D, L] to magnitudes [B, F, 2L]."""
        return self.amplitudes(self.decode_log(latents))

    def amplitudes(self, log: Tensor) -> Tensor:
        """Turn log(magnitude + floor) to magnitudes."""
        return (log.exp() - self.floor).clamp(min=0)
