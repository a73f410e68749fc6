"""Locks between programs, which the operating system holds: a killed program leaves none."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def wait_silently() -> None:
    pass


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = wait_silently) -> Iterator[None]:
    """Hold the lock of a file, which is made for it; `waiting` is called where another holds it.

    On a file system without locks the work is done without.
    """
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
    try:
        yield
    finally:
        lock.release()
