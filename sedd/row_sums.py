"""Sums over the states of a vocabulary, the largest tensors of a step, in little memory."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

PARTS = 8  # of the rows, summed in turn: a sum of exponentials makes a copy of what it sums


def log_totals(rows: Tensor) -> Tensor:
    """Compute the logsumexp [M] of rows [M, V]."""
    return torch.cat([part.logsumexp(-1) for part in rows.chunk(PARTS)])


class RowSums(torch.autograd.Function):
    """The logsumexp, the sum and two entries of each row, whose gradients are one tensor.

    Rows [..., V] and the entries' places [...] to four tensors [...]. Operation by operation the
    backward pass would hold five tensors [..., V].
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, rows: Tensor, first: Tensor, second: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        places = torch.stack([first, second], -1)
        total = log_totals(rows.flatten(0, -2)).view_as(first)
        ctx.save_for_backward(rows, total, places)
        at_first, at_second = rows.gather(-1, places).unbind(-1)
        return total, rows.sum(-1), at_first, at_second

    @staticmethod
    @once_differentiable
    def backward(ctx, *on: Tensor) -> tuple[Tensor, None, None]:
        rows, total, places = ctx.saved_tensors
        on_total, on_sum, *on_entries = (grad[..., None] for grad in on)
        grad = (rows - total[..., None]).exp_().mul_(on_total).add_(on_sum)
        return grad.scatter_add_(-1, places, torch.cat(on_entries, -1)), None, None
