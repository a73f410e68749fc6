"""Where training of the spectral codec starts: PCA of the bands, k-means of what is new."""

from collections.abc import Iterable

import torch
from torch import Tensor

from codec.spectral_network import SpectralNetwork, pair
from codec.spectral_quantiser import PredictiveQuantiser

MOST_LEAK = 0.7


@torch.no_grad()
def start(
    network: SpectralNetwork,
    quantiser: PredictiveQuantiser,
    magnitudes: Iterable[Tensor],
    generator: torch.Generator | None = None,
) -> None:
    """Set the linear path and the codebooks from batches of magnitudes [B, F, 2L]."""
    pairs = torch.cat([pair(network.bands(batch)) for batch in magnitudes])  # [B, 2M, L]
    mean, axes = principal_axes(pairs.transpose(1, 2).flatten(0, 1), len(quantiser.leak))
    network.mean.copy_(mean)
    network.encoder.principal.copy_(axes)
    network.decoder.principal.copy_(axes.T)
    latents = axes @ (pairs - mean[:, None])  # [B, D, L]
    quantiser.leak.copy_(correlation(latents).clamp(0, MOST_LEAK))
    new = latents[..., 1:] - quantiser.leak[:, None] * latents[..., :-1]
    residual = new.transpose(1, 2).flatten(0, 1)
    for stage in quantiser.codebooks:
        stage.k.copy_(k_means(residual, len(stage.k), generator=generator))
        residual = residual - stage.k[nearest(residual, stage.k)]


def principal_axes(vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean [C] of vectors [N, C] and the `count` axes [count, C] of most variance."""
    mean = vectors.mean(0)
    centred = vectors - mean
    covariance = (centred.T @ centred / len(centred)).double()
    _, axes = torch.linalg.eigh(covariance)
    return mean, axes.flip(1)[:, :count].T.to(vectors)


def correlation(latents: Tensor) -> Tensor:
    """Correlate each channel of [B, D, L] with itself one step later: [D]."""
    product = (latents[..., 1:] * latents[..., :-1]).mean((0, 2))
    return product / latents.square().mean((0, 2)).clamp(min=1e-12)


def k_means(
    vectors: Tensor, count: int, rounds: int = 6, generator: torch.Generator | None = None
) -> Tensor:
    """Find `count` centres [count, D] of vectors [N, D] by Lloyd's algorithm.

    An empty centre moves to a random vector. More centres than vectors repeat them, with noise.
    """
    centres = draw(vectors, count, generator)
    for _ in range(rounds):
        owner = nearest(vectors, centres)
        sums = torch.zeros_like(centres).index_add_(0, owner, vectors)
        counts = torch.bincount(owner, minlength=count)
        centres = sums / counts.clamp(min=1)[:, None]
        empty = counts == 0
        centres[empty] = draw(vectors, count, generator)[empty]
    return centres


def draw(vectors: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    if len(vectors) >= count:
        order = torch.randperm(len(vectors), generator=generator)[:count]
        return vectors[order.to(vectors.device)].clone()
    order = torch.randint(len(vectors), (count,), generator=generator).to(vectors.device)
    noise = torch.randn(count, vectors.shape[1], generator=generator).to(vectors.device)
    return vectors[order] + 0.01 * vectors.std() * noise


def nearest(vectors: Tensor, centres: Tensor) -> Tensor:
    """Number [N] the centre [V, D] nearest to each vector [N, D]."""
    squares = centres.square().sum(1)
    return torch.cat([(squares - 2 * part @ centres.T).argmin(1) for part in vectors.split(8192)])
