"""Worker processes of data loaders: they ignore signals to all and end with the main process."""

import atexit
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.process import BaseProcess

from torch.utils.data import DataLoader

STOPS = (signal.SIGINT, signal.SIGTERM)


class WorkerLoader(DataLoader):
    """A loader whose workers run for as long as the main process needs them, and no longer.

    Give it `worker_init_fn=leave_signals_to_main`. A signal to the whole process group is handled
    by the main process, which writes a checkpoint and for that needs its workers alive. When it
    exits, whatever the reason, its workers are killed: Python would send them SIGTERM, which they
    ignore, and wait without limit, and torch waits 5 s for each. Workers of a main process that was
    killed notice it within 5 s.
    """

    def __iter__(self) -> Iterator:
        others = set(active_children())
        try:
            with held(*STOPS):
                return super().__iter__()
        finally:  # also where not all could be started
            for worker in set(active_children()) - others:
                atexit.register(end, worker)  # the last one registered comes first: before torch's


@contextmanager
def held(*signals: signal.Signals) -> Iterator[None]:
    """Let signals wait, also those to processes that are started within; Windows has no such."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_main(worker: int) -> None:
    """Make a loader's worker ignore SIGTERM and Ctrl-C, also those that came before this."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def end(worker: BaseProcess) -> None:
    """Kill a worker, unless it has ended."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises for a killed worker
    worker.kill()
