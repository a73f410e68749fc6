"""What a Trainer gets for accelerators: TF32, a bar that rarely waits, gradients in one place."""

from typing import Literal

import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy

MatmulPrecision = Literal["highest", "high", "medium"]
REFRESH = 20  # batches between two looks of the progress bar at a loss on an accelerator


def device_of(accelerator: object) -> torch.device:
    """Return the kind of device that a Trainer's accelerator means."""
    if accelerator in ("auto", "gpu", "cuda", "mps"):
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    return torch.device("cpu")


def set_matmul_precision(precision: MatmulPrecision | None, device: torch.device) -> None:
    """Set how float32 matrices are multiplied: as asked for, else by TF32 on CUDA (`high`).

    Codecs go on in full float32.
    """
    if precision is None and device.type != "cuda":
        return
    torch.set_float32_matmul_precision(precision or "high")


def with_bucket_views(
    strategy: str | Strategy, device: torch.device, devices: object, num_nodes: int = 1
) -> str | Strategy:
    """Let DDP keep gradients where it reduces them, in place of a copy of all of them.

    Where "auto" leads to DDP: on several devices of the accelerator, or on several machines.
    """
    several = num_nodes > 1
    if isinstance(devices, int) and not isinstance(devices, bool):
        several = several or devices > 1 or (devices < 0 and torch.accelerator.device_count() > 1)
    elif devices == "auto" and device.type != "cpu":
        several = several or torch.accelerator.device_count() > 1
    if strategy == "ddp" or (strategy == "auto" and several and device.type in ("cpu", "cuda")):
        return DDPStrategy(gradient_as_bucket_view=True)
    return strategy
