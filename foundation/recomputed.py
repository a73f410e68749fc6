"""Layers whose cheap parts are computed again in the backward pass, in place of being kept.

In a transformer's block they free a third of what it keeps, for a hundredth of its time. A compiled
graph decides by itself what it computes twice, so there they are plain layers.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu, layer_norm, linear


def modulated_norm(norm: nn.LayerNorm, h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalise h [B, L, D] by a norm without bias, then scale and shift it by [B, 1, D]."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return norm(h) * (1 + scale) + shift
    with torch.autocast(h.device.type, enabled=False):
        return ModulatedNorm.apply(h.to(norm.weight.dtype), norm.weight, shift, scale, norm.eps)


def gelu_linear(layer: nn.Linear, u: Tensor) -> Tensor:
    """Map tanh-GELU of u [..., D] by a linear layer, in the precision of u."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return layer(gelu(u, approximate="tanh"))
    with torch.autocast(u.device.type, enabled=False):
        return GeluLinear.apply(u, layer.weight.to(u.dtype), layer.bias.to(u.dtype))


class ModulatedNorm(torch.autograd.Function):
    """Layer norm, scale and shift, of which the input alone is kept."""

    @staticmethod
    def forward(ctx, h: Tensor, weight: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        normed, mean, rstd = torch.native_layer_norm(h, h.shape[-1:], weight, None, eps)
        ctx.save_for_backward(h, weight, scale, mean, rstd)
        ctx.eps, ctx.shift_dtype = eps, shift.dtype
        return normed * (1 + scale) + shift

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        h, weight, scale, mean, rstd = ctx.saved_tensors
        normed = layer_norm(h, h.shape[-1:], weight, None, ctx.eps)
        on_scale = (grad * normed).sum(1, keepdim=True).to(scale.dtype)
        on_shift = grad.sum(1, keepdim=True).to(ctx.shift_dtype)
        on_h, on_weight, _ = torch.ops.aten.native_layer_norm_backward(
            (grad * (1 + scale)).to(h.dtype), h, h.shape[-1:], mean, rstd, weight, None,
            [True, True, False],
        )  # fmt: skip
        return on_h, on_weight, on_shift, on_scale, None


class GeluLinear(torch.autograd.Function):
    """A linear layer of a GELU, of which the GELU's input alone is kept."""

    @staticmethod
    def forward(ctx, u: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(u, weight)
        return linear(gelu(u, approximate="tanh"), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        on_weight = rows.t() @ gelu(u, approximate="tanh").flatten(0, -2)
        on_u = torch.ops.aten.gelu_backward(grad @ weight, u, approximate="tanh")
        return on_u, on_weight, rows.sum(0)
