"""What this machine is and how fast, as far as training needs to know."""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

SIZE = 512  # of the square matrices that are multiplied
PROBE = 0.1  # seconds
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


@dataclass(frozen=True)
class Machine:
    """A machine that trains.

    Attributes:
        name: of its accelerator, "" if it has none
        cores: processor cores this program may use
        memory: bytes, of the accelerator if there is one
        gflops: measured products of matrices, in 10^9 operations a second
    """

    name: str
    cores: int
    memory: int
    gflops: float

    @property
    def is_laptop(self) -> bool:
        """Whether the small configs are the ones to use."""
        return not self.name or self.memory < 12e9

    def __str__(self) -> str:
        device = self.name or "no GPU"
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores}, {self.memory / 1e9:.0f} GB, {device}, {self.gflops:.0f} GFLOP/s"


@cache
def this_machine() -> Machine:
    """Measure this machine, in a fifth of a second."""
    device = torch.accelerator.current_accelerator(check_available=True)
    memory, name = main_memory(), "" if device is None else device.type
    if device is not None and device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        memory, name = found.total_memory, found.name
    return Machine(name, cores(), memory, speed(device or torch.device("cpu")))


def cores() -> int:
    """Count the cores that this program may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main_memory() -> int:
    """Return the bytes of memory that this program may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return total


def speed(device: torch.device) -> float:
    """Multiply matrices for a tenth of a second, as training on this device does it.

    What it says is of an idle machine: the best product counts, and of a processor the time that
    this program had it, for while others are busy all products wait.
    """
    kind, size = (torch.float32, SIZE) if device.type == "cpu" else (torch.bfloat16, 8 * SIZE)
    clock, threads = time.perf_counter, 1
    if device.type == "cpu":
        clock, threads = time.process_time, torch.get_num_threads()
    matrix = torch.ones(size, size, device=device, dtype=kind)
    best, end = float("inf"), time.perf_counter() + PROBE
    while time.perf_counter() < end or best == float("inf"):
        begin = clock()
        (matrix @ matrix)[0, 0].item()  # waits for the device
        best = min(best, (clock() - begin) / threads)
    return 2e-9 * size**3 / best
