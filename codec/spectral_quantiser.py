"""Latents to K codes each: residual quantisation of what the past doesn't predict.

Residual quantisation: Zeghidour et al. 2021, arXiv:2107.03312, section III-C. Prediction from the
quantised past, as in differential pulse-code modulation: latents of music change slowly (the
correlation of neighbours is 0.8 to 0.96), so that what is new of them needs half the codebooks.
"""

import torch
from torch import Tensor, nn

from codec.vqvae import Codebook


class PredictiveQuantiser(nn.Module):
    """q_t = leak * q_(t-1) + the sum of the K codes' vectors; a code's error fades as leak^n.

    Leaks are at most 0.7: more saves little, and a wrong code is heard for longer.
    """

    leak: Tensor

    def __init__(self, num_codebooks: int, codebook_size: int, dim: int):
        super().__init__()
        self.stages = nn.ModuleList(Codebook(codebook_size, dim) for _ in range(num_codebooks))
        self.register_buffer("leak", torch.zeros(dim))

    @property
    def codebooks(self) -> list[Codebook]:
        """The stages, coarsest first."""
        return [stage for stage in self.stages if isinstance(stage, Codebook)]

    def encode(self, latents: Tensor, depth: int | None = None, beam: int = 4) -> Tensor:
        """Quantise latents [B, D, L] to codes [B, depth, L] of the first `depth` codebooks.

        At each position the `beam` best partial sums are followed from stage to stage: with 4 the
        squared error is a tenth less than by rounding at each stage.
        """
        batch, dim, length = latents.shape
        books = [stage.k for stage in self.codebooks][:depth]
        squares = [book.square().sum(1) for book in books]
        past = latents.new_zeros(batch, dim)
        codes = latents.new_zeros(batch, len(books), length, dtype=torch.int64)
        for i, new in enumerate(latents.unbind(-1)):
            codes[..., i], residual = _search(new - self.leak * past, books, squares, beam)
            past = new - residual
        return codes

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise latents [B, D, L] to codes [B, K, L]; also what each stage was given.

        The second is [K, B, D, L]: the residual that stage k rounded, from which codebooks learn.
        """
        batch, dim, length = latents.shape
        past = latents.new_zeros(batch, dim)
        codes = latents.new_zeros(batch, len(self.stages), length, dtype=torch.int64)
        given = latents.new_zeros(len(self.stages), batch, dim, length)
        for i, new in enumerate(latents.unbind(-1)):
            predicted = self.leak * past
            rounded, codes[..., i], given[..., i] = self._round(new - predicted)
            past = predicted + rounded
        return codes, given

    def _round(self, new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Round [B, D] by all stages: the sum [B, D], codes [B, K], each one's input [K, B, D]."""
        residual, codes, given = new, [], []
        for stage in self.codebooks:
            given.append(residual)
            code, _ = stage.quantise(residual[..., None])
            codes.append(code[:, 0])
            residual = residual - stage.k[code[:, 0]]
        return new - residual, torch.stack(codes, 1), torch.stack(given)

    def decode(self, codes: Tensor) -> Tensor:
        """Look up the latents [B, D, L] of codes [B, K', L], the first K' of the K codebooks."""
        new = self.leak.new_zeros(len(codes), codes.shape[-1], len(self.leak))
        for stage, row in zip(self.codebooks, codes.unbind(1), strict=False):
            new = new + stage.k[row]
        return self._accumulate(new.transpose(1, 2))

    def decode_to(self, codes: Tensor, depths: Tensor) -> Tensor:
        """Look up the latents of codes [B, K, L], of item b by its first depths[b] codebooks."""
        rows = zip(self.codebooks, codes.unbind(1), strict=True)
        vectors = torch.stack([stage.k[row] for stage, row in rows], 1)  # [B, K, L, D]
        used = torch.arange(len(self.stages), device=codes.device) < depths[:, None]
        new = (vectors * used[..., None, None]).sum(1)
        return self._accumulate(new.transpose(1, 2))

    def _accumulate(self, new: Tensor) -> Tensor:
        """Add what is new [B, D, L] to the fading past."""
        past, latents = new.new_zeros(new.shape[:2]), torch.empty_like(new)
        for i, step in enumerate(new.unbind(-1)):
            past = self.leak * past + step
            latents[..., i] = past
        return latents


def _search(
    new: Tensor, books: list[Tensor], squares: list[Tensor], beam: int
) -> tuple[Tensor, Tensor]:
    """Find the codes [B, K] whose vectors' sum is nearest to [B, D], and what is left of it.

    `books` are [V, D] each, `squares` [V] the squared lengths of their vectors.
    """
    residuals = new[:, None]  # [B, beam, D]
    codes = new.new_zeros(len(new), 1, 0, dtype=torch.int64)  # [B, beam, stages so far]
    for book, square in zip(books, squares, strict=True):
        size = len(book)
        # |r - k|^2 of each sum so far and each vector: [B, beam, V]
        distances = torch.addmm(square, residuals.flatten(0, 1), book.T, alpha=-2)
        distances = distances.view(len(new), -1, size) + residuals.square().sum(-1, keepdim=True)
        best = distances.flatten(1).topk(min(beam, distances[0].numel()), largest=False).indices
        source, code = best // size, best % size
        codes = torch.cat([_rows(codes, source), code[..., None]], -1)
        residuals = _rows(residuals, source) - book[code]
    return codes[:, 0], residuals[:, 0]


def _rows(values: Tensor, rows: Tensor) -> Tensor:
    """Take rows [B, N] of values [B, M, D]: [B, N, D]."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[-1]))
