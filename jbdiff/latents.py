"""Codes of a VQ-VAE level as latents of mean 0 and deviation 1, and back."""

from torch import Tensor

from codec.vqvae import Codebook


def normalise(codebook: Codebook, latents: Tensor) -> Tensor:
    """Scale latents [B, D, L] by mean and unbiased deviation of all the codebook's entries."""
    return codebook.normalise(latents)


def denormalise(codebook: Codebook, latents: Tensor) -> Tensor:
    return codebook.denormalise(latents)


def look_up(codebook: Codebook, codes: Tensor) -> Tensor:
    """Codes [B, L] to normalised latents [B, D, L]."""
    return codebook.normalise(codebook.look_up(codes))


def nearest_codes(codebook: Codebook, latents: Tensor) -> Tensor:
    """Normalised latents [B, D, L] to codes [B, L]."""
    return codebook.quantise(codebook.denormalise(latents))[0]
