"""The last layer of a score network, whose [B, K, L, V] is the largest tensor of a step."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import linear

from foundation.transformer import modulate, zeroed
from sedd.codebook_layers import LowRankHead
from sedd.row_sums import log_totals


class OutputLayer(nn.Module):
    """Read the logits of every state of each codebook.

    They are float32; under autocast the product's factors are of the lower precision.
    """

    def __init__(self, hidden_size: int, vocab_size: int, num_codebooks: int, cond_dim: int):
        super().__init__()
        self.num_codebooks = num_codebooks
        self.norm_final = nn.LayerNorm(hidden_size, bias=False)
        self.linear = zeroed(nn.Linear(hidden_size, num_codebooks * vocab_size))
        self.adaLN_modulation = zeroed(nn.Linear(cond_dim, 2 * hidden_size))
        self.codebooks: LowRankHead | None = None

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Map h [B, L, D] to logits [B, K, L, V]."""
        h, weight, bias = self._factors(h, c)
        logits = float_linear(h, weight, bias)
        return logits.unflatten(-1, (self.num_codebooks, -1)).transpose(1, 2)

    def at(self, h: Tensor, c: Tensor, where: Tensor, num_states: int) -> list[Tensor]:
        """Map h [B, L, D] to each codebook's logits [P_k, num_states] of the first states.

        `where` [B, K, L] says of which tokens, P_k of codebook k.
        """
        h, weights, biases = self._by_codebook(h, c, num_states)
        parts = zip(where.unbind(1), weights, biases, strict=True)
        return [float_linear(h[places], weight, bias) for places, weight, bias in parts]

    def sums(
        self, h: Tensor, c: Tensor, x0: Tensor, where: Tensor, num_states: int
    ) -> tuple[Tensor, Tensor]:
        """Return the logsumexp of the first states' logits and the logit of x0, both [B, K, L].

        Only of the tokens `where` [B, K, L] is true; what is elsewhere is finite.
        """
        h, weights, biases = self._by_codebook(h, c, num_states)
        parts = zip(x0.unbind(1), where.unbind(1), weights, biases, strict=True)
        totals, at = zip(*[logit_sums(h, *part) for part in parts], strict=True)
        return torch.stack(totals, 1), torch.stack(at, 1)

    def _by_codebook(self, h: Tensor, c: Tensor, num_states: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return h, and each codebook's weights [K, num_states, D] and biases [K, num_states]."""
        h, weight, bias = self._factors(h, c)
        shape = (self.num_codebooks, -1)
        return (
            h,
            weight.unflatten(0, shape)[:, :num_states],
            bias.unflatten(0, shape)[:, :num_states],
        )

    def _factors(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return h, the weights [K V, D] in the same precision, and the biases in float32."""
        shift, scale = self.adaLN_modulation(c)[:, None].chunk(2, -1)
        h, device = modulate(self.norm_final(h), shift, scale), h.device.type
        mixed = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else self.linear.weight.dtype
        with torch.autocast(device, enabled=False):
            weight = self.linear.weight
            if self.codebooks is not None:
                weight = weight.float() + self.codebooks()
            return h.to(dtype), weight.to(dtype), self.linear.bias.float()


def float_linear(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map h [..., D] by weight [V, D] and bias [V] to float32 [..., V]."""
    with torch.autocast(h.device.type, enabled=False):
        return (
            linear(h, weight, bias) if h.dtype == bias.dtype else FloatLinear.apply(h, weight, bias)
        )


def logit_sums(
    h: Tensor, x0: Tensor, where: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logsumexp and the logit of x0 [B, L] for h [B, L, D], of `where` at least."""
    with torch.autocast(h.device.type, enabled=False):
        if not picks_places(h):
            total, at = LogitSums.apply(h.flatten(0, 1), weight, bias, x0.flatten())
            return total.view_as(x0), at.view_as(x0)
        total, at = LogitSums.apply(h[where], weight, bias, x0[where])
        zeros = torch.zeros(x0.shape, dtype=total.dtype, device=h.device)
        return zeros.masked_scatter(where, total), zeros.masked_scatter(where, at)


def picks_places(h: Tensor) -> bool:
    """Say whether to compute some places alone, which on a CPU saves the products of the others.

    A GPU's host would wait for their number, and a graph's shapes would change.
    """
    return h.device.type == "cpu" and not torch.compiler.is_compiling()


def product(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Multiply h [M, D] and weight [V, D] of any precision, with sums in float32: [M, V]."""
    if h.dtype == torch.float32:
        return linear(h, weight, bias)
    if h.is_cuda:
        return torch.mm(h, weight.t(), out_dtype=torch.float32).add_(bias)
    return linear(h.float(), weight.float(), bias)


class FloatLinear(torch.autograd.Function):
    """A linear layer of factors in low precision whose result isn't rounded to it."""

    @staticmethod
    def forward(ctx: FunctionCtx, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        return product(h.flatten(0, -2), weight, bias).view(*h.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, weight = ctx.saved_tensors
        grad = grad.flatten(0, -2)
        low = grad.to(h.dtype)
        return (low @ weight).view_as(h), low.t() @ h.flatten(0, -2), grad.sum(0)


class LogitSums(torch.autograd.Function):
    """Logsumexp and one entry of each row of logits; the logits' gradient takes their memory."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, h: Tensor, weight: Tensor, bias: Tensor, x0: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = product(h, weight, bias)  # [M, V]
        total = log_totals(logits)
        ctx.save_for_backward(h, weight, logits, total, x0)
        return total, logits.gather(-1, x0[:, None])[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx, on_total: Tensor, on_at: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        h, weight, logits, total, x0 = ctx.saved_tensors
        if torch.compiler.is_compiling():  # a graph plans its memory itself
            logits = logits.clone()
        grad = logits.sub_(total[:, None]).exp_().mul_(on_total[:, None])
        grad.scatter_add_(-1, x0[:, None], on_at[:, None])
        low = grad.to(h.dtype)
        return low @ weight, low.t() @ h, grad.sum(0), None
