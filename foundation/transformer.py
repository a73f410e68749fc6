"""Blocks of a diffusion transformer, modulated by the noise level (Peebles & Xie 2022, 2212.09748).

Parameter names are those of SEDD's published checkpoints.
"""

from typing import cast

import torch
from torch import Tensor, nn

from foundation.attention import Turns, attend, rotate
from foundation.checks import check_at_least, check_fraction
from foundation.errors import UserError
from foundation.recomputed import gelu_linear, modulated_norm


def check_shape(hidden_size: int, num_blocks: int, num_heads: int, dropout: float) -> None:
    """Raise UserError for sizes of which no transformer with rotary positions can be built."""
    check_at_least(1, hidden_size=hidden_size, num_blocks=num_blocks, num_heads=num_heads)
    check_fraction(dropout=dropout)
    if hidden_size % (2 * num_heads):
        raise UserError(
            f"hidden_size must be a multiple of 2 * num_heads = {2 * num_heads}, got {hidden_size}"
        )


class NoiseEmbedding(nn.Module):
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
        self.adaLN_modulation = zeroed(nn.Linear(cond_dim, 6 * hidden_size))

    def forward(self, h: Tensor, c: Tensor, turns: Turns) -> Tensor:
        """Update h [B, L, D] given the condition c [B, cond_dim] and the positions' turns."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c)[:, None].chunk(
            6, -1
        )
        update = self._attend(modulated_norm(self.norm1, h, shift1, scale1), turns)
        h = h + gate1 * self.dropout(update)
        update = self.mlp[0](modulated_norm(self.norm2, h, shift2, scale2))
        return h + gate2 * self.dropout(gelu_linear(cast(nn.Linear, self.mlp[2]), update))

    def _attend(self, h: Tensor, turns: Turns) -> Tensor:
        q, k, v = self.attn_qkv(h).unflatten(-1, (3, self.num_heads, -1)).unbind(2)  # [B, L, H, d]
        v = v.contiguous()  # a view of all three would keep all three until the backward pass
        out = attend(rotate(q, turns), rotate(k, turns), v, self.attention)
        return self.attn_out(out.flatten(2))


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift h [B, L, D] by [B, 1, D]."""
    return h * (1 + scale) + shift


def zeroed(layer: nn.Linear) -> nn.Linear:
    """Let a layer start from zeros, so that what it feeds starts as if it weren't there."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
