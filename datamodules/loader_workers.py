"""Worker processes of data loaders: they ignore signals to all and end with the main process."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children, parent_process
from multiprocessing.process import BaseProcess
from types import TracebackType

from torch.utils.data import DataLoader

FOR_MAIN = ("SIGINT", "SIGTERM", "SIGUSR1")  # Ctrl-C, and how clusters announce the end
TO_ALL = tuple(getattr(signal, name) for name in FOR_MAIN if hasattr(signal, name))
LEAVE = getattr(signal, "SIGRTMAX", None) or getattr(signal, "SIGUSR2", signal.SIGTERM)
GRACE = 1.5  # seconds for workers to leave; after that they are killed


class WorkerLoader(DataLoader):
    """A loader whose workers run for as long as the main process needs them, and no longer.

    Give it `worker_init_fn=leave_signals_to_main`. A signal to the whole process group is handled
    by the main process, which writes a checkpoint and for that needs its workers alive. When it
    exits, whatever the reason, its workers are told to leave, by a signal that nobody else sends:
    Python would send them SIGTERM, which they ignore, and wait without limit, and torch waits 5 s
    for each. Workers of a main process that was killed leave, too: torch alone takes 5 s to notice,
    and never does where it was killed before they asked for its number.
    """

    def __iter__(self) -> Iterator:
        others = set(active_children())
        try:
            with held(*TO_ALL):
                return super().__iter__()
        finally:  # also where not all could be started
            if workers := set(active_children()) - others:
                atexit.register(end, tuple(workers))  # the last one comes first: before torch's


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
    """Make a loader's worker ignore signals to all, also those that came before this."""
    for number in TO_ALL:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(LEAVE, lambda *_: sys.exit())  # which removes the worker's temporary files
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_ALL)
    sys.excepthook = tell_all_but_lost_connections
    threading.Thread(target=leave_after_main, daemon=True).start()


def tell_all_but_lost_connections(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an exception, but none of a main process that goes while it is sent a batch.

    multiprocessing's thread that sends it calls this hook.
    """
    if not issubclass(kind, ConnectionError):
        sys.__excepthook__(kind, error, trace)


def leave_after_main(grace: float = GRACE) -> None:
    """Wait for the end of the main process, and end this one."""
    if main := parent_process():
        main.join()
        os.kill(os.getpid(), LEAVE)
        time.sleep(grace)
        os._exit(1)


def end(workers: Sequence[BaseProcess], grace: float = GRACE) -> None:
    """Tell workers to leave, and kill those that stay beyond `grace` seconds; Python is exiting."""
    for number in TO_ALL:  # a second Ctrl-C would leave some, and print where it came
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises for a killed worker
    for worker in workers:
        if worker.is_alive() and worker.pid:
            os.kill(worker.pid, LEAVE)
    deadline = time.monotonic() + grace
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            worker.kill()
