"""DDiT, the score network of SEDD (Lou et al. 2024, arXiv:2310.16834, appendix C).

A diffusion transformer (Peebles and Xie 2022, arXiv:2212.09748) over tokens. Parameter names are
those of the published checkpoints.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu
from torch.utils.checkpoint import checkpoint

from foundation.attention import Rotary, check_attention
from foundation.batch import Cond
from foundation.errors import UserError
from foundation.transformer import Block, NoiseEmbedding, modulate, zeroed
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


class OutputLayer(nn.Module):
    """Read the logits of every state of each codebook; float32 even under autocast."""

    def __init__(self, hidden_size: int, vocab_size: int, num_codebooks: int, cond_dim: int):
        super().__init__()
        self.num_codebooks = num_codebooks
        self.norm_final = nn.LayerNorm(hidden_size, bias=False)
        self.linear = zeroed(nn.Linear(hidden_size, num_codebooks * vocab_size))
        self.adaLN_modulation = zeroed(nn.Linear(cond_dim, 2 * hidden_size))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Map h [B, L, D] to logits [B, K, L, V]."""
        shift, scale = self.adaLN_modulation(c)[:, None].chunk(2, -1)
        h = modulate(self.norm_final(h), shift, scale)
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
        self.sigma_map = NoiseEmbedding(cond_dim)
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
