"""What the levels of Jukebox Diffusion differ in: their codecs."""

from codec.jukebox import JukeboxCodec
from codec.spectral import SpectralCodec
from codec.vqvae import HOPS
from foundation.codec import LATENTS, Codec
from foundation.errors import UserError

COARSEST = len(HOPS)  # the spectral codec's; those of Jukebox's VQ-VAE come below it


def codec_of(level: int, path: str | None = None) -> Codec:
    """Return the codec of a level: the spectral codec at level 3, Jukebox's at 2, 1 and 0.

    Args:
        path: its weights; those that come with this project if null

    Raises:
        UserError: for any other level
    """
    if level not in range(COARSEST + 1):
        raise UserError(f"level must be 0 (finest), 1, 2 or 3 (coarsest), got {level}")
    return SpectralCodec(path) if level == COARSEST else JukeboxCodec(level, path)


def main_stream(codec: Codec) -> str:
    """Return the stream that a level is trained on: latents, or tokens whose codes are latents."""
    return LATENTS if codec.continuous else "tokens"
