"""Jukebox Diffusion's U-Net over latents, from a-unet's parts.

The parts that differ from a-unet's are here: ResNet blocks with a dilated first convolution, a
second one of width 1 and dropout, and attention through the fused kernel, over a context that is
normalised once for many calls.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from a_unet.apex import DownsampleItem, ModulationItem, SkipModulate, UpsampleItem, XBlock, XUNet
from a_unet.blocks import NumberEmbedder, Packed
from a_unet.blocks import Sequential as Stack
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from foundation.errors import UserError
from jbdiff.velocity_net import VelocityNet

Contexts = list[Tensor]  # as each cross-attention normalises it, [B, M, E]
WIDE = 1536  # the longest context of the published models
Make = Callable[..., nn.Module]  # makes a part of the network, as a-unet calls it


class ResnetItem(nn.Module):
    """Two normalised convolutions beside a residual; only the first is wide and dilated."""

    def __init__(self, channels: int, groups: int, dilation: int, dropout: float):
        super().__init__()

        def half(kernel: int, dilation: int) -> nn.Sequential:
            padding = dilation * (kernel // 2)
            conv = nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation)
            return nn.Sequential(
                nn.GroupNorm(groups, channels), nn.SiLU(), nn.Dropout(dropout), conv
            )

        self.block = Stack(Stack(half(3, dilation), half(1, 1)))

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return x + self.block(x)


class Attention(nn.Module):
    """Attention of [B, N, D] over itself; both norms read the same raw input; no positions."""

    def __init__(self, features: int, heads: int, head_features: int, context: int | None = None):
        super().__init__()
        self.heads, width = heads, heads * head_features
        self.norm = nn.LayerNorm(features)
        self.norm_context = nn.LayerNorm(context or features)
        self.to_q = nn.Linear(features, width, bias=False)
        self.to_kv = nn.Linear(context or features, 2 * width, bias=False)
        self.attention = Stack(nn.Linear(width, features, bias=False))

    def split(self, x: Tensor) -> Tensor:
        """[B, N, heads * F] to [B, heads, N, F]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        keys, values = self.to_kv(self.norm_context(x)).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(
            self.split(self.to_q(self.norm(x))), self.split(keys), self.split(values)
        )
        return x + self.attention(attended.transpose(1, 2).flatten(2))


class ContextAttention(Attention):
    """Attention of [B, N, D] over a normalised context [B, M, E], which is long but narrow.

    The weights that make keys and values go to the queries and to what is attended instead, by
    q . (W c) = (W^T q) . c and sum a (W c) = W sum a c: so no keys and values are computed or kept.
    """

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        to_keys, to_values = self.to_kv.weight.unflatten(0, (2, self.heads, -1))  # [heads, F, E]
        queries = self.split(self.to_q(self.norm(x)))
        queries = torch.einsum("bhnf,hfe->bhne", queries, to_keys)
        seen = context.to(queries.dtype)[:, None].expand(-1, self.heads, -1, -1)
        scale = to_keys.shape[1] ** -0.5  # the kernel's own would be E's
        attended = F.scaled_dot_product_attention(queries, seen, seen, scale=scale)
        attended = torch.einsum("bhne,hfe->bhnf", attended, to_values)
        return x + self.attention(attended.transpose(1, 2).flatten(2))


class SelfAttention(nn.Module):
    def __init__(self, attention: Attention):
        super().__init__()
        self.block = attention

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return self.block(x)


class CrossAttention(nn.Module):
    """The number-th cross-attention of the network reads the number-th normalised context."""

    def __init__(self, attention: ContextAttention, number: int):
        super().__init__()
        self.block, self.number = attention, number

    def forward(self, x: Tensor, features: Tensor, contexts: Contexts, *_: object) -> Tensor:
        return self.block(x, contexts[self.number])


class Checkpointed(nn.Module):
    """Compute a module again in the backward pass instead of keeping what it computed."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *args: object) -> Tensor:
        if not self.training:
            return self.module(*args)
        result = checkpoint(self.module, *args, use_reentrant=False)
        assert isinstance(result, Tensor)
        return result


@dataclass
class Parts:
    """Makes the blocks of the network; `crossings` lists the cross-attentions in their order."""

    heads: int
    head_features: int
    context_features: int
    groups: int
    dilation_factor: int
    dropout: float
    recompute: bool
    crossings: list[CrossAttention] = field(default_factory=list)

    def block(self, channels: int, factor: int, items: int, attention: int, crossing: int) -> Make:
        """Make one depth: `items` ResNet blocks, each with its modulation and attentions."""
        parts: list[Make] = []
        for number in range(items):
            parts += [self.resnet(number), ModulationItem]
            parts += [self.self_attention] * attention
            parts += [self.cross_attention] * crossing
        return XBlock(channels=channels, factor=factor, items=parts)

    def resnet(self, number: int) -> Make:
        def make(channels: int, **_: object) -> nn.Module:
            dilation = self.dilation_factor**number
            item = ResnetItem(channels, self.groups, dilation, self.dropout)
            return Checkpointed(item) if self.recompute else item

        return make

    def self_attention(self, channels: int, **_: object) -> nn.Module:
        return Packed(SelfAttention(Attention(channels, self.heads, self.head_features)))

    def cross_attention(self, channels: int, **_: object) -> nn.Module:
        attention = ContextAttention(
            channels, self.heads, self.head_features, self.context_features
        )
        self.crossings.append(CrossAttention(attention, len(self.crossings)))
        return Packed(self.crossings[-1])


class UNet(VelocityNet):
    """Velocity [B, D, L] of noised latents x [B, D, L] at times t [B], given a context [B, E, M].

    Args:
        context_length: M, the latents of the context
        dropout: in each ResNet block
        in_channels: D, the channels of the latents
        channels: an entry for each depth, as in all lists
        factors: how much shorter a depth is than the previous one
        items: ResNet blocks before, and again after, the deeper ones
        attentions: 1 where a depth has self-attention
        cross_attentions: 1 where a depth attends to the context
        attention_heads: heads of each attention
        attention_features: channels of a head
        context_features: E, the channels of the context
        modulation_features: channels of the time's embedding
        resnet_groups: groups of each norm
        dilation_factor: the n-th ResNet block of a depth is dilated by its n-th power, counted from
            0 again in the decoder
        checkpoint_activations: recompute the ResNet blocks in the backward pass, to save memory
    """

    def __init__(
        self,
        context_length: int = WIDE,
        dropout: float = 0.0,
        in_channels: int = 64,
        channels: Sequence[int] = (64, 128, 128, 256, 256, 512, 512, 1024, 1024),
        factors: Sequence[int] = (1, 2, 1, 2, 1, 2, 1, 2, 1),
        items: Sequence[int] = (1, 3, 3, 3, 3, 3, 3, 3, 1),
        attentions: Sequence[int] = (0, 0, 0, 0, 1, 0, 1, 0, 0),
        cross_attentions: Sequence[int] = (0, 1, 0, 1, 0, 1, 0, 1, 1),
        attention_heads: int = 8,
        attention_features: int = 64,
        context_features: int = 64,
        modulation_features: int = 1024,
        resnet_groups: int = 8,
        dilation_factor: int = 3,
        checkpoint_activations: bool = False,
    ):
        super().__init__()
        lists = (factors, items, attentions, cross_attentions)
        if any(len(part) != len(channels) for part in lists):
            raise UserError(
                f"channels, factors, items, attentions and cross_attentions must have an entry "
                f"for each depth, got {[len(channels), *map(len, lists)]}"
            )
        self.channels, self.multiple = in_channels, math.prod(factors)
        self.context_length, self.modulation_size = context_length, modulation_features
        self.time = NumberEmbedder(features=modulation_features)
        self.mlp = nn.Sequential(nn.Linear(modulation_features, modulation_features), nn.GELU())
        self.null = nn.Embedding(context_length, context_features)
        parts = Parts(
            attention_heads, attention_features, context_features, resnet_groups,
            dilation_factor, dropout, checkpoint_activations,
        )  # fmt: skip
        self.net = XUNet(
            in_channels,
            [parts.block(*sizes) for sizes in zip(channels, *lists, strict=True)],
            dim=1,
            skip_t=SkipModulate,
            downsample_t=DownsampleItem,
            upsample_t=UpsampleItem,
            modulation_features=modulation_features,
        )
        # a tuple is not registered: the modules belong to the net
        self._crossings = tuple(parts.crossings)

    def prepare(self, context: Tensor) -> Contexts:
        """Normalise the context [B, E, M] for each cross-attention."""
        rows = context.transpose(1, 2)
        return [item.block.norm_context(rows) for item in self._crossings]

    def null_context(self, context: Tensor) -> Tensor:
        """Return the learned embedding of no context, of the shape of a context [B, E, M]."""
        length = context.shape[-1]
        if length > self.context_length:
            raise UserError(
                f"this model's contexts have at most {self.context_length} positions, got {length}"
            )
        return self.null.weight[:length].t().expand(len(context), -1, -1)

    def forward(
        self, x: Tensor, t: Tensor, context: Contexts, told: Tensor | None = None
    ) -> Tensor:
        self.check_length(x.shape[-1])
        features = self.mlp(self.mlp(F.gelu(self.time(t))))  # one layer twice, as published
        features = features if told is None else features + told
        return self.net(x, features=features, embedding=context)
