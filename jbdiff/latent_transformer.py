"""A diffusion transformer over latents, with local convolutions: the network of level 3.

A latent of the spectral codec is 46 ms of music; what matters is chords, bars and phrases, hundreds
of latents apart, so that every layer attends to the whole window (Peebles & Xie 2022,
arXiv:2212.09748), and to what came before it.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from foundation.attention import Rotary, check_attention
from foundation.errors import UserError
from foundation.transformer import Block, NoiseEmbedding, check_shape, modulate, zeroed
from jbdiff.velocity_net import VelocityNet

TIME_SCALE = 1000.0  # times from 0 to 1 become angles as fine as those of step numbers


class ContextEmbedding(nn.Module):
    """The latents before a window as tokens: one each where they are near, one for `patch` earlier.

    The near ones let the window go on without a break, the far ones tell what is played.
    """

    def __init__(self, channels: int, hidden_size: int, length: int, near: int, patch: int):
        super().__init__()
        self.near = min(near, length) + max(0, length - near) % patch
        self.patch = patch
        self.near_in = nn.Linear(channels, hidden_size)
        self.far_in = nn.Linear(patch * channels, hidden_size)
        self.null = nn.Parameter(torch.zeros(channels))

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Embed latents [B, D, M] as [B, N, H]; also their places [N], below 0."""
        far, near = context.split([context.shape[-1] - self.near, self.near], -1)
        patches = far.unflatten(-1, (-1, self.patch)).permute(0, 2, 3, 1).flatten(2)
        h = torch.cat([self.far_in(patches), self.near_in(near.transpose(1, 2))], 1)
        places = torch.arange(-context.shape[-1], 0, dtype=torch.float32, device=context.device)
        middles = places[: far.shape[-1]].unflatten(0, (-1, self.patch)).mean(-1)
        return h, torch.cat([middles, places[far.shape[-1] :]])


class LatentDiT(VelocityNet):
    """Predict the velocity of a window of latents from it and from the latents before it.

    Args:
        context_length: latents before the window
        dropout: in each block
        channels: D, of the latents
        hidden_size: channels of a block
        num_blocks: how many blocks
        num_heads: heads of each attention
        cond_dim: channels of the noise level's embedding
        kernel: width of each block's convolution over time, one for each channel; odd
        near: latents of the context that are a token each
        patch: how many of the earlier ones share a token
        attention: auto, sdpa or flash (flash-attn)
    """

    def __init__(
        self,
        context_length: int = 192,
        dropout: float = 0.0,
        channels: int = 128,
        hidden_size: int = 256,
        num_blocks: int = 6,
        num_heads: int = 4,
        cond_dim: int = 128,
        kernel: int = 5,
        near: int = 32,
        patch: int = 4,
        attention: str = "auto",
    ):
        super().__init__()
        check_shape(hidden_size, num_blocks, num_heads, dropout)
        if kernel % 2 == 0 or min(kernel, near, patch) < 1:
            raise UserError(
                f"kernel must be odd, near and patch at least 1, got {kernel}, {near} and {patch}"
            )
        check_attention(attention)
        self.channels, self.modulation_size = channels, cond_dim
        self.latent_in = nn.Conv1d(channels, hidden_size, 3, padding=1)
        self.context_in = ContextEmbedding(channels, hidden_size, context_length, near, patch)
        self.time_embed = NoiseEmbedding(cond_dim)
        self.rotary = Rotary(hidden_size // num_heads)
        self.convs = nn.ModuleList(
            nn.Conv1d(hidden_size, hidden_size, kernel, padding=kernel // 2, groups=hidden_size)
            for _ in range(num_blocks)
        )
        self.blocks = nn.ModuleList(
            Block(hidden_size, num_heads, cond_dim, 4, dropout, attention)
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(hidden_size, bias=False)
        self.modulation = zeroed(nn.Linear(cond_dim, 2 * hidden_size))
        self.latent_out = zeroed(nn.Linear(hidden_size, channels))

    def prepare(self, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.context_in(context)

    def null_context(self, context: Tensor) -> Tensor:
        """Return a learned latent, in place of each of a context [B, D, M]."""
        return self.context_in.null[:, None].expand_as(context)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: tuple[Tensor, Tensor] | None = None,
        told: Tensor | None = None,
    ) -> Tensor:
        h = self.latent_in(x).transpose(1, 2)  # [B, L, H]
        places = torch.arange(x.shape[-1], dtype=torch.float32, device=x.device)
        before = 0
        if context is not None:
            h = torch.cat([context[0].to(h.dtype), h], 1)
            places, before = torch.cat([context[1], places]), len(context[1])
        turns = self.rotary.at(places)
        level = self.time_embed(TIME_SCALE * t)
        c = silu(level if told is None else level + told)
        for conv, block in zip(self.convs, self.blocks, strict=True):
            h = block(h + conv(h.transpose(1, 2)).transpose(1, 2), c, turns)
        shift, scale = self.modulation(c)[:, None].chunk(2, -1)
        return self.latent_out(modulate(self.norm(h[:, before:]), shift, scale)).transpose(1, 2)
