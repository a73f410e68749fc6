"""CPU seconds of runs that take turns, and the memory of one run in a process of its own."""

import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(
    title: str, runs: Mapping[str, Callable[[], object]], repeats: int = 3
) -> dict[str, float]:
    """Run each once, then all in turn `repeats` times; print median CPU seconds and ratios."""
    for run in runs.values():
        run()
    taken = [{name: seconds(run) for name, run in runs.items()} for _ in range(repeats)]
    medians = {name: statistics.median(round_[name] for round_ in taken) for name in runs}
    first = next(iter(medians.values()))
    for name, value in medians.items():
        print(f"{title:20s} {name:36s} {value:8.3f} s {value / first:7.2f}", flush=True)
    return medians


def compare_memory(title: str, runs: Mapping[str, Callable[[], object]]) -> None:
    """Print by how much each run lifts the peak of a process's resident memory, in MiB.

    The runs must be picklable. They build their models too, so the weights are in the figure.
    """
    peaks = {name: growth(run) for name, run in runs.items()}
    first = next(iter(peaks.values()))
    for name, peak in peaks.items():
        print(f"{title:20s} {name:36s} {peak:6.0f} MiB {peak / first:7.2f}", flush=True)


def kept(run: Callable[[], object], weights: Iterable[Tensor]) -> float:
    """Return how much a forward pass keeps for the backward pass, without the weights, in MiB."""
    own = {weight.untyped_storage().data_ptr() for weight in weights}
    held: list[Tensor] = []  # so that no memory is counted twice that was freed in between
    with saved_tensors_hooks(lambda x: held.append(x) or x, lambda x: x):
        result = run()
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in held}
    del result
    return sum(size for place, size in storages.items() if place not in own) / 2**20


def growth(run: Callable[[], object]) -> float:
    # a spawned process would inherit this one's peak; a fork server's child begins at its own size
    # glibc would keep what large tensors leave, in pieces that no other fits: that isn't the run's
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**18))
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        return pool.apply(_growth, (run,))


def _growth(run: Callable[[], object]) -> float:
    before = peak()
    run()
    return peak() - before


def peak() -> float:
    """The largest resident memory of this process so far, in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
