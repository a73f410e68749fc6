"""DDiT, the score network of SEDD (Lou et al. 2024, arXiv:2310.16834, appendix C).

A diffusion transformer (Peebles and Xie 2022, arXiv:2212.09748) over tokens. Parameter names are
those of the published checkpoints.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu
from torch.utils.checkpoint import checkpoint

from foundation.batch import Cond
from foundation.errors import UserError
from sedd.attention import Rotary, attend, check_attention, rotate
from sedd.score_net import ScoreNet


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


class SigmaEmbedding(nn.Module):
    """Sinusoids of the noise level through a small MLP."""

    def __init__(self, cond_dim: int, num_sinusoids: int = 256):
        super().__init__()
        self.num_sinusoids = num_sinusoids
        self.mlp = nn.Sequential(
            nn.Linear(num_sinusoids, cond_dim), nn.SiLU(), nn.Linear(cond_dim, cond_dim)
        )

    def forward(self, sigma: Tensor) -> Tensor:
        """Embed sigma [B] as [B, cond_dim]."""
        half = self.num_sinusoids // 2
        exponents = torch.arange(half, dtype=torch.float32, device=sigma.device) / half
        angles = torch.outer(sigma.float(), 10000.0**-exponents)  # [B, half]
        sinusoids = torch.cat([angles.cos(), angles.sin()], -1)
        return self.mlp(sinusoids.to(next(self.mlp.parameters()).dtype))


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the noise level (adaLN-zero)."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        cond_dim: int,
        mlp_ratio: int,
        dropout: float,
        attention: str,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.attention = attention
        self.norm1 = nn.LayerNorm(hidden_size, bias=False)
        self.attn_qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.attn_out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm2 = nn.LayerNorm(hidden_size, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, mlp_ratio * hidden_size),
            nn.GELU(approximate="tanh"),
            nn.Linear(mlp_ratio * hidden_size, hidden_size),
        )
        self.dropout = nn.Dropout(dropout)
        self.adaLN_modulation = _zero(nn.Linear(cond_dim, 6 * hidden_size))

    def forward(self, h: Tensor, c: Tensor, angles: Tensor) -> Tensor:
        """Update h [B, L, D] given the condition c [B, cond_dim] and rotary angles."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c)[:, None].chunk(
            6, -1
        )
        update = self._attend(_modulate(self.norm1(h), shift1, scale1), angles)
        h = h + gate1 * self.dropout(update)
        update = self.mlp(_modulate(self.norm2(h), shift2, scale2))
        return h + gate2 * self.dropout(update)

    def _attend(self, h: Tensor, angles: Tensor) -> Tensor:
        q, k, v = self.attn_qkv(h).unflatten(-1, (3, self.num_heads, -1)).unbind(2)  # [B, L, H, d]
        out = attend(rotate(q, angles), rotate(k, angles), v, self.attention)
        return self.attn_out(out.flatten(2))


class OutputLayer(nn.Module):
    """Read the logits of every state of each codebook; float32 even under autocast."""

    def __init__(self, hidden_size: int, vocab_size: int, num_codebooks: int, cond_dim: int):
        super().__init__()
        self.num_codebooks = num_codebooks
        self.norm_final = nn.LayerNorm(hidden_size, bias=False)
        self.linear = _zero(nn.Linear(hidden_size, num_codebooks * vocab_size))
        self.adaLN_modulation = _zero(nn.Linear(cond_dim, 2 * hidden_size))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Map h [B, L, D] to logits [B, K, L, V]."""
        shift, scale = self.adaLN_modulation(c)[:, None].chunk(2, -1)
        h = _modulate(self.norm_final(h), shift, scale)
        with torch.autocast(h.device.type, enabled=False):
            logits = linear(h.float(), self.linear.weight.float(), self.linear.bias.float())
        return logits.unflatten(-1, (self.num_codebooks, -1)).transpose(1, 2)


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
        attention: auto, sdpa or flash (flash-attn)
        checkpoint_activations: recompute the blocks in the backward pass, to save memory
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
    ):
        super().__init__()
        if hidden_size % (2 * num_heads):
            raise UserError(
                f"hidden_size must be a multiple of 2 * num_heads = {2 * num_heads}, "
                f"got {hidden_size}"
            )
        check_attention(attention)
        self.vocab_size = vocab_size
        self.scale_by_sigma = self.absorbing_only = scale_by_sigma
        self.checkpoint_activations = checkpoint_activations
        self.vocab_embed = TokenEmbedding(vocab_size, num_codebooks, hidden_size)
        self.sigma_map = SigmaEmbedding(cond_dim)
        self.rotary_emb = Rotary(hidden_size // num_heads)
        self.blocks = nn.ModuleList(
            Block(hidden_size, num_heads, cond_dim, mlp_ratio, dropout, attention)
            for _ in range(num_blocks)
        )
        self.output_layer = OutputLayer(hidden_size, vocab_size, num_codebooks, cond_dim)

    def forward(self, x: Tensor, sigma: Tensor, cond: Cond | None = None) -> Tensor:
        """Return log scores [B, K, L, V] for x [B, K, L] and sigma [B]; `cond` isn't read."""
        h = self.vocab_embed(x)
        c = silu(self.sigma_map(sigma))
        angles = self.rotary_emb(h)
        for block in self.blocks:
            if self.checkpoint_activations and self.training:
                h = checkpoint(block, h, c, angles, use_reentrant=False)
            else:
                h = block(h, c, angles)
        log_score = self.output_layer(h, c)
        if self.scale_by_sigma:
            offset = torch.log(torch.expm1(sigma.float())) + math.log(self.vocab_size - 1)
            log_score = log_score - offset[:, None, None, None]
        return log_score.scatter(-1, x[..., None], 0)


def _modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return h * (1 + scale) + shift


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
