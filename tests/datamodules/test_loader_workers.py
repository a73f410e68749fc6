import atexit
import multiprocessing
import os
import select
import signal
import sys
import time

import pytest
import torch
from torch.utils.data import Dataset

from datamodules.loader_workers import LEAVE, TO_ALL, WorkerLoader, end, leave_signals_to_main


def loader(num_workers: int, **options) -> WorkerLoader:
    options = {"worker_init_fn": leave_signals_to_main} | options
    options |= {"multiprocessing_context": "fork"}
    dataset = options.pop("dataset", torch.arange(8))
    return WorkerLoader(dataset, num_workers=num_workers, **options)


@pytest.fixture
def at_exit(monkeypatch):
    """What would be done when Python exits, in that order."""
    work = []
    monkeypatch.setattr(atexit, "register", lambda *call: work.insert(0, call))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGCHLD, *TO_ALL)}
    yield work
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_worker_outlives_a_signal_to_all(number, at_exit):
    batches = iter(loader(1))
    next(batches)
    os.kill(batches._workers[0].pid, number)
    assert len(list(batches)) == 7


class Failing(Dataset):
    """Its item 0 fails as the thread does that sends batches to a process that has gone."""

    def __init__(self, error: Exception):
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        sys.excepthook(type(self.error), self.error, None)
        return index


@pytest.mark.parametrize(("error", "told"), [(ConnectionResetError(104), 0), (ValueError("x"), 1)])
def test_a_worker_doesnt_tell_that_the_main_process_has_gone(error, told, at_exit, capfd):
    assert list(loader(1, dataset=Failing(error)))
    assert capfd.readouterr().err.count("Error") == told


def test_workers_end_with_the_main_process_before_anything_waits_for_them(at_exit):
    batches = iter(loader(2, persistent_workers=True))
    next(batches), next(batches)  # of each
    workers = batches._workers
    function, *arguments = at_exit[0]
    function(*arguments, grace=60)  # however busy the machine is
    assert [worker.exitcode for worker in workers] == [0, 0]  # in peace


class Stuck(Dataset):
    """Reads for ever, as on a disk that has gone away, and tells a pipe that it has begun."""

    def __init__(self, begun: int):
        self.begun = begun

    def __len__(self):
        return 2

    def __getitem__(self, index):
        signal.signal(LEAVE, signal.SIG_IGN)
        os.write(self.begun, b".")
        time.sleep(60)


def test_stuck_workers_are_killed_within_the_grace_of_all(at_exit):
    here, there = os.pipe()
    batches = iter(loader(2, dataset=Stuck(there)))
    assert os.read(here, 1) + os.read(here, 1) == b".."
    start = time.monotonic()
    end(batches._workers, grace=0.1)
    for worker in batches._workers:
        worker.join(60)
        assert worker.exitcode == -signal.SIGKILL
    assert time.monotonic() - start < 50  # they would read for a minute


def test_a_second_signal_doesnt_disturb_the_end(at_exit):
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    end([])
    os.kill(os.getpid(), signal.SIGTERM)
    assert not told


def test_workers_of_a_main_process_that_is_killed_while_they_start_end_too():
    here, there = os.pipe()

    def slow(worker: int) -> None:
        leave_signals_to_main(worker)
        os.write(there, b".")
        time.sleep(0.5)

    def run() -> None:
        next(iter(loader(2, worker_init_fn=slow)))

    main = multiprocessing.get_context("fork").Process(target=run)
    main.start()
    os.close(there)
    assert os.read(here, 1) + os.read(here, 1) == b".."
    main.kill()
    main.join()
    assert select.select([here], [], [], 8)[0] and os.read(here, 2) == b""  # all of them closed it


def test_a_worker_ends_also_where_another_could_not_be_started(at_exit, monkeypatch):
    started, start = [], multiprocessing.context.ForkProcess.start

    def start_one(process):
        if started:
            raise OSError(24, "Too many open files")
        started.append(process)
        start(process)

    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", start_one)
    with pytest.raises(OSError):
        iter(loader(2))
    assert started
    for function, *arguments in at_exit:
        function(*arguments)
    started[0].join(60)
    assert not started[0].is_alive()


def test_signals_wait_until_the_workers_ignore_them(monkeypatch):
    blocked = []
    make = torch.utils.data.DataLoader.__iter__

    def spy(self):
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        return make(self)

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", spy)
    iter(loader(1))
    assert blocked[0] >= {signal.SIGTERM, signal.SIGINT}
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGINT}
