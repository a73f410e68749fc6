"""DDiT, the score network of SEDD (Lou et al. 2024, arXiv:2310.16834, appendix C).

A diffusion transformer (Peebles and Xie 2022, arXiv:2212.09748) over tokens. Parameter names are
those of the published checkpoints.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from torch.utils.checkpoint import checkpoint

from foundation.attention import Rotary, check_attention
from foundation.batch import Cond
from foundation.errors import UserError
from foundation.transformer import Block, NoiseEmbedding, check_shape
from sedd.codebook_layers import LowRankHead, initial_embedding, standardise
from sedd.score_net import ScoreNet
from sedd.vocabulary import OutputLayer


class TokenEmbedding(nn.Module):
    """A vector for each state of each codebook; those of a position are added up."""

    def __init__(self, vocab_size: int, num_codebooks: int, hidden_size: int):
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Parameter(torch.empty(num_codebooks * vocab_size, hidden_size))
        nn.init.kaiming_uniform_(self.embedding, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Embed tokens [B, K, L] as [B, L, D]."""
        rows = x + self.vocab_size * torch.arange(x.shape[1], device=x.device)[:, None]
        return nn.functional.embedding(rows, self.embedding).sum(1)


class DDiT(ScoreNet):
    """Score network: tokens and noise level to log p(y) / p(x) for every state y.

    Args:
        vocab_size: states of the graph, the mask included
        num_codebooks: tokens at each position
        hidden_size: channels of a block
        num_blocks: how many blocks
        num_heads: heads of each attention
        cond_dim: channels of the noise level's embedding
        mlp_ratio: how much wider than a block the middle of its MLP is
        dropout: in each block
        scale_by_sigma: let the output start from the ratios of an absorbing process (appendix C.2);
            this belongs to Absorb
        conv: width of a convolution over positions before the blocks; 0 for none
        attention: auto, sdpa or flash (flash-attn)
        checkpoint_activations: recompute the blocks in the backward pass, to save memory
        time_conditioning: let the network read the noise level; without, only the scale of the
            scores knows it, as in MDLM (Sahoo et al. 2024, arXiv:2406.07524), and samplers call
            the network again only after a token has changed. This belongs to Absorb
    """

    def __init__(
        self,
        vocab_size: int,
        num_codebooks: int = 1,
        hidden_size: int = 768,
        num_blocks: int = 12,
        num_heads: int = 12,
        cond_dim: int = 128,
        mlp_ratio: int = 4,
        dropout: float = 0.1,
        scale_by_sigma: bool = True,
        attention: str = "auto",
        checkpoint_activations: bool = False,
        conv: int = 0,
        time_conditioning: bool = True,
    ):
        super().__init__()
        check_shape(hidden_size, num_blocks, num_heads, dropout)
        if conv < 0 or (conv and conv % 2 == 0):
            raise UserError(f"conv must be an odd width, or 0 for none, got {conv}")
        if not (time_conditioning or scale_by_sigma):
            raise UserError("a network without time_conditioning needs scale_by_sigma")
        check_attention(attention)
        self.vocab_size = vocab_size
        self.scale_by_sigma = self.absorbing_only = scale_by_sigma
        self.checkpoint_activations = checkpoint_activations
        self.time_independent = not time_conditioning
        self.vocab_embed = TokenEmbedding(vocab_size, num_codebooks, hidden_size)
        self.conv = nn.Conv1d(hidden_size, hidden_size, conv, padding=conv // 2) if conv else None
        self.sigma_map, self.modulation_size = NoiseEmbedding(cond_dim), cond_dim
        self.rotary_emb = Rotary(hidden_size // num_heads)
        self.blocks = nn.ModuleList(
            Block(hidden_size, num_heads, cond_dim, mlp_ratio, dropout, attention)
            for _ in range(num_blocks)
        )
        self.output_layer = OutputLayer(hidden_size, vocab_size, num_codebooks, cond_dim)

    def forward(self, x: Tensor, sigma: Tensor, cond: Cond | None = None) -> Tensor:
        """Return log scores [B, K, L, V] for x [B, K, L] and sigma [B]."""
        log_score = self._log_score(self.output_layer(*self._hidden(x, sigma, cond)), sigma)
        return log_score.scatter(-1, x[..., None], 0)

    def log_score_at(
        self, x: Tensor, sigma: Tensor, where: Tensor, cond: Cond | None = None
    ) -> Tensor:
        logits = self.output_layer.at(*self._hidden(x, sigma, cond), where, self.vocab_size)
        batch, codebook, _ = where.nonzero(as_tuple=True)
        in_order = torch.cat(logits)[codebook.argsort(stable=True).argsort()]  # [P, V]
        return self._log_score(in_order, sigma[batch]).scatter(-1, x[where][:, None], 0)

    def mask_scores(
        self, x: Tensor, sigma: Tensor, x0: Tensor, where: Tensor, cond: Cond | None = None
    ) -> tuple[Tensor, Tensor]:
        hidden = self._hidden(x, sigma, cond)
        total, at = self.output_layer.sums(*hidden, x0, where, self.vocab_size - 1)
        if not self.scale_by_sigma:
            return total, at
        offset = self._offset(sigma)[:, None, None]
        return total - offset, at - offset

    def start_from_codes(self, vectors: Tensor) -> None:
        """Start embeddings and output layer from the codes' vectors [K, N, D] in the codec."""
        hidden_size = self.vocab_embed.embedding.shape[1]
        scaled = standardise(vectors, self.vocab_size)
        with torch.no_grad():
            self.vocab_embed.embedding.copy_(initial_embedding(scaled, hidden_size))
        self.output_layer.codebooks = LowRankHead(scaled, hidden_size)

    def compile(self, *args, **kwargs) -> None:
        """Compile the blocks, which every way through the network takes."""
        for block in self.blocks:
            block.compile(*args, **kwargs)

    def _hidden(self, x: Tensor, sigma: Tensor, cond: Cond | None) -> tuple[Tensor, Tensor]:
        """Return what the last block gives [B, L, D], and what sets the norms: the noise level."""
        h = self.vocab_embed(x)
        if self.conv is not None:
            h = h + self.conv(h.transpose(1, 2)).transpose(1, 2)
        level = self.sigma_map(torch.zeros_like(sigma) if self.time_independent else sigma)
        told = self.told_by(cond, len(x))
        c = silu(level if told is None else level + told)
        turns = self.rotary_emb(h)
        for block in self.blocks:
            if self.checkpoint_activations and self.training:
                h = cast("Tensor", checkpoint(block, h, c, turns, use_reentrant=False))
            else:
                h = block(h, c, turns)
        return h, c

    def _log_score(self, logits: Tensor, sigma: Tensor) -> Tensor:
        """Turn logits [B, ..., V] at sigma [B] into log scores."""
        if not self.scale_by_sigma:
            return logits
        return logits - self._offset(sigma).reshape(-1, *(1,) * (logits.dim() - 1))

    def _offset(self, sigma: Tensor) -> Tensor:
        """Return by how much log scores lie below the logits at sigma [B]: [B]."""
        return torch.log(torch.expm1(sigma.float())) + math.log(self.vocab_size - 1)
