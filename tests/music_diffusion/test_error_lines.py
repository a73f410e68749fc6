"""What the machine lacks, in a line."""

import errno
import os
import shutil
import threading
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from music_diffusion.commands import launched
from music_diffusion.commands.error_lines import explain, innermost


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


@pytest.mark.parametrize(
    ("number", "words", "status"),
    [
        (errno.EDQUOT, "your quota of the disk is used up, x/y can't be written", 1),
        (errno.EFBIG, "ulimit -f", 1),
        (errno.EEXIST, "x/y: File exists", 2),
        (errno.ENAMETOOLONG, "x/y: File name too long", 2),
    ],
)
def test_files_that_cannot_be_written_are_named(number, words, status):
    message, said = explain(OSError(number, os.strerror(number), "x/y"))
    assert words in message and said == status


def test_options_that_an_optimizer_refuses_are_a_users_mistake():
    with pytest.raises(ValueError) as found:
        torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=-1.0)
    assert explain(found.value) == ("an option of the optimizer: Invalid learning rate: -1.0", 2)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried")])
def test_memory_that_is_used_up_is_a_line(error):
    message, status = explain(error)
    assert message.startswith("out of memory: make less at once") and status == 1


def test_too_few_file_handles_are_named():
    message, status = explain(stopping(OSError(errno.EMFILE, "Too many open files")))
    assert "ulimit -n" in message and status == 1


def test_a_process_that_is_gone_is_told_by_the_others():
    lost = (
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [1]:9"
    )
    message, status = explain(RuntimeError(lost))
    assert message.startswith("another process of this training is gone (Connection closed by peer")
    assert status == 1


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_launched_process_ends_after_the_first_one(rank, monkeypatch):
    """The parent here is the one that runs the tests, and is gone at the second look."""
    started, parents, left = [], iter([5, 5, 1]), []
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setenv(launched.VARIABLE, "5")
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr(threading, "Thread", lambda **how: started.append(how) or Mock())
    launched.watch_first_process()
    assert bool(started) == (rank == "1")
    if started:
        started[0]["target"](*started[0]["args"], grace=0.01)
        assert left == [1]
    else:
        assert os.environ[launched.VARIABLE] == str(os.getpid())


def test_a_wrong_option_of_a_class_names_the_help_of_the_class():
    inside = 'Parser key "steps": needs a whole number, got x'
    reason = f"Parser key \"sampler\": Problem with given class_path 'mylab.DPM': {inside}"
    assert innermost(reason)[1] == "--sampler.help mylab.DPM"
