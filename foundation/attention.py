"""Attention with rotary positions, through PyTorch's fused kernels or the flash-attn package."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from foundation.errors import UserError

try:
    from flash_attn import flash_attn_func  # pyright: ignore[reportMissingImports]
except ImportError:  # optional, CUDA only
    flash_attn_func = None

ATTENTIONS = ("auto", "sdpa", "flash")
Turns = tuple[Tensor, Tensor]  # cosines and sines [L, 1, D / 2] of the positions' angles


class Rotary(nn.Module):
    """Turns of rotary position embedding (Su et al. 2021, arXiv:2104.09864)."""

    def __init__(self, head_dim: int, base: float = 10000.0):
        super().__init__()
        self.head_dim = head_dim
        self.base = base
        self.register_buffer("inv_freq", self._frequencies())  # published checkpoints hold it

    def _frequencies(self, device: torch.device | None = None) -> Tensor:
        exponents = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device)
        return self.base ** -(exponents / self.head_dim)

    def forward(self, x: Tensor) -> Turns:
        """Return the turns of the positions of x [B, L, ...].

        Computed in float32: a module cast to bfloat16 has rounded its buffer.
        """
        return self.at(torch.arange(x.shape[1], dtype=torch.float32, device=x.device))

    def at(self, positions: Tensor) -> Turns:
        """Return the turns of positions [L], which can be below 0: once for all blocks."""
        angles = torch.outer(positions, self._frequencies(positions.device))[:, None]
        return angles.cos(), angles.sin()


def rotate(x: Tensor, turns: Turns) -> Tensor:
    """Rotate the pairs (i, i + D / 2) of x [B, L, H, D] by the turns of L positions, in float32."""
    cos, sin = turns
    first, second = x.float().chunk(2, -1)
    rotated = torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
    return rotated.to(x.dtype)


def check_attention(attention: str) -> None:
    """Raise UserError for an unknown kernel, or flash-attn where it is not installed."""
    if attention not in ATTENTIONS:
        raise UserError(f"attention must be one of {', '.join(ATTENTIONS)}, got {attention!r}")
    if attention == "flash" and flash_attn_func is None:
        raise UserError(
            "attention 'flash' needs the flash-attn package, which is not installed; "
            "install the 'flash' extra or use attention 'auto'"
        )


def attend(q: Tensor, k: Tensor, v: Tensor, attention: str = "auto") -> Tensor:
    """Attend from every position to all: q, k, v and the result are [B, L, H, D]."""
    flash = flash_attn_func if q.is_cuda and q.dtype in (torch.float16, torch.bfloat16) else None
    if attention == "flash" and flash is None:
        raise UserError(
            f"attention 'flash' needs float16 or bfloat16 tensors on a CUDA device, got {q.dtype} "
            f"on {q.device}; train with precision bf16-mixed or use attention 'auto'"
        )
    if flash is not None and attention != "sdpa":
        return flash(q, k, v)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # [B, H, L, D]
    return scaled_dot_product_attention(q, k, v).transpose(1, 2)
