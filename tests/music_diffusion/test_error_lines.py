"""What the machine lacks, in a line."""

import errno
import shutil
from types import SimpleNamespace

import pytest

from music_diffusion.commands.error_lines import explain


def stopping(error: Exception) -> RuntimeError:
    """Lightning's error on stopping where the data workers could not start."""
    shown = RuntimeError("Please call `iter(combined_loader)` first.")
    shown.__context__ = error
    return shown


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left"),
        RuntimeError("DataLoader worker (pid 5) is killed by signal: Bus error. It is possible …"),
        OSError(errno.ENOSPC, "No space left on device"),
        stopping(OSError(errno.ENOSPC, "No space left on device")),
    ],
    ids=["worker", "bus error", "semaphore", "on stopping"],
)
def test_too_little_shared_memory_is_not_a_full_disk(monkeypatch, error):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    message, status = explain(error)
    assert "/dev/shm" in message and "--data.num_workers 0" in message and status == 1


def test_a_full_disk_is_one_whatever_shared_memory_has(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    message, _ = explain(OSError(errno.ENOSPC, "No space left on device", "runs/last.ckpt"))
    assert "the disk is full, runs/last.ckpt" in message


def test_too_few_file_handles_are_named():
    message, status = explain(stopping(OSError(errno.EMFILE, "Too many open files")))
    assert "ulimit -n" in message and status == 1
