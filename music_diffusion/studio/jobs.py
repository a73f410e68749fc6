"""Work that the studio queues: a worker for each device, progress, cancelling, records."""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from foundation.errors import UserError
from foundation.files import read_json, write_json
from foundation.sampler import OnStep
from music_diffusion.studio.notices import notices

RECORD = "job.json"  # in a job's folder
LONGEST = 50  # jobs of a user that may wait
STATES = ("waiting", "running", "done", "failed", "cancelled")
STOPPED = "the studio was closed while it ran"
UNEXPECTED = "an error in the program; the studio's log says where"

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Raised in a job's work by its `on_step`, once somebody has cancelled it."""


@dataclass
class Job:
    """A piece of work: what was asked for, how far it is, and what came out.

    Attributes:
        name: of its folder, and what the browser knows it by
        kind: make, repair, continue or song
        settings: what was asked for, as JSON; files in it are references, never paths
        user: who asked, where the studio has users
        done: steps of the sampler so far, of `total`
        files: names of what it made, in its folder
        error: why it failed, for people
        notes: what is to be known of how it sounds
    """

    name: str
    kind: str
    settings: dict
    user: str = ""
    state: str = "waiting"
    done: int = 0
    total: int = 0
    created: float = field(default_factory=time.time)
    started: float = 0.0
    ended: float = 0.0
    files: list[str] = field(default_factory=list)
    error: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @property
    def is_finishing(self) -> bool:
        """Whether all steps are done, and what they made is decoded and written."""
        return self.state == "running" and 0 < self.total <= self.done

    def seconds_left(self, now: float) -> float | None:
        """Estimate from the steps so far how long the rest take; None before the first one.

        What comes after the last step, the decoding, isn't counted.
        """
        if self.state != "running" or not self.done or not self.started:
            return None
        return (now - self.started) * (self.total - self.done) / self.done


Work = Callable[[Path, torch.device, OnStep], Sequence[Path]]


class Jobs:
    """The studio's jobs: those that wait, run, and lie in its folder.

    Args:
        folder: gets a folder for each job
        devices: each has a thread that takes the next job
    """

    def __init__(self, folder: Path, devices: Sequence[torch.device]):
        self.folder = folder
        self.lock = threading.Lock()
        self.jobs = {job.name: job for job in stored_jobs(folder)}
        self.works: dict[str, Work] = {}
        self.cancelled: set[str] = set()
        self.waiting: queue.Queue[str] = queue.Queue()
        for device in devices:
            threading.Thread(target=self._serve, args=(device,), daemon=True).start()

    def submit(self, kind: str, settings: Mapping, work: Work, user: str = "") -> Job:
        """Queue work, which gets the job's folder, a device and `on_step`, and returns files.

        Raises:
            UserError: if too many jobs of this user wait already
        """
        name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"
        job = Job(name, kind, dict(settings), user)
        with self.lock:
            theirs = [j for j in self.jobs.values() if j.user == user and j.state == "waiting"]
            if len(theirs) >= LONGEST:
                raise UserError(f"{LONGEST} of your jobs wait already: cancel some, or wait")
            self.jobs[name], self.works[name] = job, work
        self.waiting.put(name)
        return job

    def find(self, name: str) -> Job:
        """Return the job of this name; UserError if there is none."""
        if name not in self.jobs:
            raise UserError(f"there is no job {name}")
        return self.jobs[name]

    def newest(self, count: int) -> list[Job]:
        with self.lock:
            return sorted(self.jobs.values(), key=lambda job: job.created, reverse=True)[:count]

    def ahead(self, job: Job) -> int:
        """Count the jobs that wait or run before this one."""
        with self.lock:
            return sum(not j.is_over and j.created < job.created for j in self.jobs.values())

    def cancel(self, name: str) -> None:
        """Stop a job: at once where it waits, at its next step where it runs."""
        job = self.find(name)
        with self.lock:
            self.cancelled.add(name)
            if job.state == "waiting":
                job.state, job.ended = "cancelled", time.time()

    def _serve(self, device: torch.device) -> None:
        while True:
            job = self.jobs[self.waiting.get()]
            with self.lock:
                work = self.works.pop(job.name)
                if job.state != "waiting":
                    continue
                job.state = "running"
            self._run(job, work, device)

    def _run(self, job: Job, work: Work, device: torch.device) -> None:
        def advance(done: int, total: int) -> None:
            if job.name in self.cancelled:
                raise Cancelled
            job.started = job.started or time.time()
            job.done, job.total = done, total

        folder = self.folder / job.name
        try:
            folder.mkdir(parents=True)
            with notices(job.notes):
                files = work(folder, device, advance)
            job.files = [path.relative_to(folder).as_posix() for path in files]
            state = "done"
        except Cancelled:
            state = "cancelled"
        except Exception as error:  # whatever a model does, the next job runs
            state, job.error = "failed", message_of(error)
        job.state, job.ended = state, time.time()
        self._keep(job, folder)

    def _keep(self, job: Job, folder: Path) -> None:
        try:
            write_json(folder / RECORD, asdict(job))
        except OSError as error:
            log.warning("%s will be forgotten: %s", job.name, error)


def message_of(error: Exception) -> str:
    """Return what a user may read of an error: paths and code stay in the log."""
    if isinstance(error, UserError):
        return str(error)
    log.error("a job failed", exc_info=error)
    return UNEXPECTED


def stored_jobs(folder: Path) -> list[Job]:
    """Read the jobs that earlier studios left in a folder; damaged records are left out."""
    jobs = []
    for path in sorted(folder.glob(f"*/{RECORD}")):
        try:
            job = Job(**read_json(path))
            if job.name != path.parent.name or job.state not in STATES:
                raise UserError("it is of another job")
        except (UserError, TypeError, OSError) as error:
            log.warning("%s is left out: %s", path, error)
            continue
        jobs.append(job)
    return jobs
