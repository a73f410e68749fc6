"""What an accelerator computes fast: bfloat16 in samplers, and where float32 has to stay exact."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def fast_dtype(device: torch.device) -> torch.dtype | None:
    """Return bfloat16 where a device computes in it itself, as GPUs do; None elsewhere."""
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    return torch.bfloat16


def sampling_precision(device: torch.device) -> torch.autocast:
    """Return the context that networks are sampled in: mixed precision where that is fast.

    Demos in training use it as `sample` does, whatever the Trainer's precision is; what samplers
    compute around the network stays in float32 and float64.
    """
    dtype = fast_dtype(device)
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


@contextmanager
def full_precision(x: torch.Tensor) -> Iterator[None]:
    """Turn mixed precision and TF32's products off: with either a codec's codes change."""
    before = torch.get_float32_matmul_precision()
    if before != "highest":
        torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(x.device.type, enabled=False):
            yield
    finally:
        if before != "highest":
            torch.set_float32_matmul_precision(before)
