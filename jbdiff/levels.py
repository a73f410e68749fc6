"""What the levels of Jukebox Diffusion differ in: codecs, and the defaults of their models."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from codec.jukebox import JukeboxCodec
from codec.spectral import SpectralCodec
from codec.vqvae import HOPS
from foundation.codec import LATENTS, Codec
from foundation.errors import UserError
from jbdiff.latent_transformer import LatentDiT
from jbdiff.objective import LatentObjective, RectifiedFlow, VDiffusion
from jbdiff.unet import UNet
from jbdiff.velocity_net import VelocityNet

BASE_FOLDER = Path(__file__).with_name("base")  # the exported model that comes with level 3
COARSEST = len(HOPS)  # the spectral codec's; those of Jukebox's VQ-VAE come below it
JOIN = 1024  # samples over which windows are crossfaded, rounded up to whole latents


Value = TypeVar("Value")


@dataclass(frozen=True)
class LevelDefaults:
    """What a level's model takes where an option is null; `JBDiff` says what each one is."""

    net: Callable[[int, float], VelocityNet] = UNet
    objective: LatentObjective = VDiffusion()
    base_tokens: int = 768
    context_mult: int = 2
    learning_rate: float = 4e-5
    warmup_steps: int = 0
    dropout: float = 0.0
    guidance: float = 3.66


PUBLISHED = LevelDefaults()
DEFAULTS = (
    PUBLISHED,
    PUBLISHED,
    replace(PUBLISHED, dropout=0.05),
    LevelDefaults(LatentDiT, RectifiedFlow(1.5, 1.5), 192, 1, 1e-3, 200, 0.0, 1.5),
)


def defaults_of(level: int) -> LevelDefaults:
    """Return a level's defaults; UserError for a level that doesn't exist."""
    if level not in range(COARSEST + 1):
        raise UserError(f"level must be 0 (finest), 1, 2 or 3 (coarsest), got {level}")
    return DEFAULTS[level]


def given(value: Value | None, default: Value) -> Value:
    """Return an option's value, or its default where it is null."""
    return default if value is None else value


def codec_of(
    level: int, path: str | None = None, codec: Codec | None = None, coarser: Codec | None = None
) -> Codec:
    """Return the codec of a level: the spectral codec at level 3, Jukebox's at 2, 1 and 0.

    Args:
        path: its weights; those that come with this project if null
        codec: at level 3, another codec with continuous latents
        coarser: at level 2, the codec of the level whose audio it refines

    Raises:
        UserError: for any other level, and for options of another level's
    """
    defaults_of(level)
    if level < COARSEST:
        if codec is not None:
            raise UserError(f"codec is for level 3, level {level} takes codec_path")
        return JukeboxCodec(level, path, coarser)
    if coarser is not None:
        raise UserError(f"coarser is for level 2, nothing is coarser than level {level}")
    if codec is None:
        return SpectralCodec(path)
    if path:
        raise UserError("codec_path is for the spectral codec: give the path as --model.codec.path")
    if not codec.continuous:
        raise UserError(f"{type(codec).__name__} has no stream of continuous latents")
    return codec


def main_stream(codec: Codec) -> str:
    """Return the stream that a level is trained on: latents, or tokens whose codes are latents."""
    return LATENTS if codec.continuous else "tokens"


def join_length(hop: int) -> int:
    """Count the samples over which windows are crossfaded, whole latents of `hop` samples."""
    return -(-JOIN // hop) * hop


def check_channels(net: VelocityNet, codec: Codec) -> None:
    """Raise UserError for a network of another number of channels than the latents have."""
    if net.channels != codec.latent_dim:
        raise UserError(
            f"{type(net).__name__} is of {net.channels} channels, the latents of "
            f"{type(codec).__name__} have {codec.latent_dim}: give the network as many"
        )


def align_of(codec: Codec) -> int:
    """Return where windows start, in samples: where the coarser level has its latents too."""
    return codec.coarser_hop if isinstance(codec, JukeboxCodec) else codec.hop
