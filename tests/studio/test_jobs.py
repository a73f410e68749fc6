"""Jobs: their order, progress, cancelling, failures, and what a later studio finds of them."""

import logging
import threading
import time

import pytest
import torch

from foundation.errors import UserError
from music_diffusion.studio.jobs import LONGEST, UNEXPECTED, Jobs

CPU = torch.device("cpu")


def wait(job, seconds=5.0):
    end = time.monotonic() + seconds
    while not job.is_over and time.monotonic() < end:
        time.sleep(0.002)
    assert job.is_over, job.state
    return job


def writes(folder, device, on_step):
    for done in range(3):
        on_step(done + 1, 3)
    (folder / "a.wav").write_bytes(b"sound")
    return [folder / "a.wav"]


def test_what_is_said_of_a_jobs_sound_is_kept_with_it_alone(tmp_path, jobs):
    says = logging.getLogger("audio.fit_in")

    def work(folder, device, on_step):
        for _ in range(2):
            says.warning("the codec is mono")
        return []

    job = wait(jobs.submit("repair", {}, work))
    says.warning("of something else")
    assert job.notes == ["the codec is mono"]
    assert not wait(jobs.submit("make", {}, writes)).notes


class Gate:
    """Work that waits within its first step until it is let go."""

    def __init__(self):
        self.entered, self.free = threading.Event(), threading.Event()

    def __call__(self, folder, device, on_step):
        on_step(1, 4)
        self.entered.set()
        assert self.free.wait(5)
        on_step(2, 4)
        return []


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path, [CPU])


def test_a_job_is_done_and_a_later_studio_knows_it(jobs, tmp_path):
    job = wait(jobs.submit("make", {"model": "base"}, writes, "ann"))
    assert (job.state, job.done, job.total, job.files) == ("done", 3, 3, ["a.wav"])
    assert (tmp_path / job.name / "a.wav").is_file()
    end = time.monotonic() + 5
    while not (tmp_path / job.name / "job.json").is_file() and time.monotonic() < end:
        time.sleep(0.002)
    again = Jobs(tmp_path, []).find(job.name)
    assert (again.state, again.settings, again.user) == ("done", {"model": "base"}, "ann")


def test_after_the_last_step_a_job_is_finishing_until_its_files_are_written(jobs):
    seen = []

    def work(folder, device, on_step):
        for done in (1, 2):
            on_step(done, 2)
            seen.append(job.is_finishing)
        return writes(folder, device, on_step)

    gate = Gate()
    blocker = jobs.submit("make", {}, gate, "")
    job = jobs.submit("make", {}, work, "")
    gate.free.set()
    wait(blocker), wait(job)
    assert seen == [False, True] and not job.is_finishing


def test_cancelling_stops_a_running_job_at_its_next_step_and_a_waiting_one_at_once(jobs):
    gate, after = Gate(), []
    running = jobs.submit("make", {}, gate)
    waiting = jobs.submit("make", {}, lambda *_: after.append(1) or [])
    last = jobs.submit("make", {}, writes)
    assert gate.entered.wait(5)
    assert jobs.ahead(last) == 2
    jobs.cancel(waiting.name)
    assert waiting.state == "cancelled"
    assert jobs.ahead(last) == 1
    jobs.cancel(running.name)
    gate.free.set()
    assert wait(running).state == "cancelled"
    assert running.done == 1
    assert wait(last).state == "done"
    assert not after


@pytest.mark.parametrize(
    ("error", "said"),
    [(UserError("give a file"), "give a file"), (KeyError("/secret/path"), UNEXPECTED)],
)
def test_a_failure_is_told_without_its_code_and_the_next_job_runs(jobs, error, said):
    def fails(*_):
        raise error

    failed, after = jobs.submit("make", {}, fails), jobs.submit("make", {}, writes)
    assert (wait(failed).state, failed.error) == ("failed", said)
    assert wait(after).state == "done"


def test_two_devices_work_at_once_and_one_does_not(tmp_path):
    jobs = Jobs(tmp_path, [CPU, CPU])
    gates = [Gate(), Gate()]
    made = [jobs.submit("make", {}, gate) for gate in gates]
    assert all(gate.entered.wait(5) for gate in gates)
    for gate in gates:
        gate.free.set()
    assert {wait(job).state for job in made} == {"done"}


def test_the_time_left_follows_from_the_steps_so_far(jobs):
    gate = Gate()
    job = jobs.submit("make", {}, gate)
    assert gate.entered.wait(5)
    assert job.seconds_left(job.started + 2) == pytest.approx(6)
    gate.free.set()
    assert wait(job).seconds_left(time.time()) is None


def test_nobody_fills_the_queue(tmp_path):
    jobs = Jobs(tmp_path, [])  # nothing runs
    for _ in range(LONGEST):
        jobs.submit("make", {}, writes, "ann")
    with pytest.raises(UserError, match="wait already"):
        jobs.submit("make", {}, writes, "ann")
    jobs.submit("make", {}, writes, "bob")


def test_damaged_records_are_left_out(tmp_path):
    for name, text in [("a", "{"), ("b", "[]"), ("c", '{"name": "d"}'), ("d", '{"x": 1}')]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.json").write_text(text)
    assert Jobs(tmp_path, []).newest(9) == []
