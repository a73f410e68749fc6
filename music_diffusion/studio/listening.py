"""Listening tests as the browser goes through them: of folders, or of models' new clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from secrets import token_hex

from audio.files import probe, read, write
from foundation.errors import UserError
from music_diffusion.studio.jobs import Job, Jobs
from music_diffusion.studio.library import OWN, Library, audio_in
from music_diffusion.studio.votes import ListeningTest, ListeningTests, result

HEARD = 60  # seconds by which loudness is compared
ALIKE = 0.005  # seconds by which lengths may differ and no player shows it
CLIPS = 8  # that a model makes for a test at most


@dataclass
class Planned:
    """A test that waits for the clips of models: a job for each source that is one."""

    kind: str
    sources: tuple[str, str]
    jobs: tuple[Job | None, Job | None]
    count: int
    user: str


class Listening:
    """The listening tests of a studio, those included that wait for clips."""

    def __init__(self, library: Library, jobs: Jobs):
        self.library, self.jobs = library, jobs
        self.tests = ListeningTests(library.roots[OWN] / "votes")
        self.planned: dict[str, Planned] = {}

    def plan(
        self,
        kind: str,
        sources: tuple[str, str],
        made: tuple[Job | None, Job | None],
        count: int,
        user: str,
    ) -> str:
        """Start a test when the jobs of its models are done; return its name."""
        if sources[0] == sources[1]:
            raise UserError("choose two different folders or models")
        name = token_hex(8)
        self.planned[name] = Planned(kind, sources, made, count, user)
        if not any(made):
            return self._begin(name).name
        return name

    def _begin(self, name: str) -> ListeningTest:
        plan = self.planned[name]
        clips = [self._clips(s, job) for s, job in zip(plan.sources, plan.jobs, strict=True)]
        test = self.tests.start(
            plan.kind, plan.sources, (clips[0], clips[1]), plan.count, plan.user
        )
        self.tests.tests[name] = test  # also by the name that the browser knows
        del self.planned[name]
        return test

    def _clips(self, source: str, job: Job | None) -> list[str]:
        if job is not None:
            return [f"{OWN}/{job.name}/{file}" for file in job.files]
        folder = self.library.find(source)
        return [self.library.reference(path) for path in audio_in(folder)]

    def state(self, name: str) -> dict:
        """Return what the browser shows next: how far the clips are, a trial, or the result."""
        if (plan := self.planned.get(name)) is not None:
            jobs = [job for job in plan.jobs if job]
            if failed := [job for job in jobs if job.state in ("failed", "cancelled")]:
                raise UserError(f"the clips of a model {failed[0].state}: {failed[0].error}")
            if not all(job.is_over for job in jobs):
                done = sum(job.done / max(1, job.total) for job in jobs) / len(jobs)
                return {"state": "waiting", "part": done}
            self._begin(name)
        test = self.tests.find(name)
        if test.is_over:
            return {"state": "over", "kind": test.kind, "result": result(test)}
        number = len(test.choices)
        paths = [self.library.file(clip) for clip in test.trials[number].clips]
        cut = common_length(paths)
        clips = [
            {"url": f"studio/tests/{name}/{number}/{side}", "volume": volume}
            for side, volume in enumerate(volumes(paths, cut))
        ]
        of = len(test.trials)
        about = {"kind": test.kind, "number": number, "of": of, "cut": cut}
        return {"state": "trial", "clips": clips, **about}

    def clip(self, name: str, trial: int, side: int) -> Path:
        """Return a clip of a trial that has come up, as long as the other; UserError for another.

        Else a length, which a player shows, would tell which is which.
        """
        test = self.tests.find(name)
        if not 0 <= trial <= len(test.choices) or trial >= len(test.trials):
            raise UserError("this trial hasn't come up")
        clips = test.trials[trial].clips
        if not 0 <= side < len(clips):
            raise UserError("a trial has no such clip")
        paths = [self.library.file(clip) for clip in clips]
        cut = common_length(paths)
        return paths[side] if cut is None else self._cut(paths[side], cut, (test.name, trial, side))

    def _cut(self, path: Path, seconds: float, place: tuple[str, int, int]) -> Path:
        """Write the beginning of a clip, where it isn't yet; those of earlier trials go."""
        test, trial, side = place
        folder = self.tests.folder / ".cut"
        out = folder / f"{test}_{trial}_{side}.wav"
        if not out.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            for old in set(folder.glob(f"{test}_*")) - set(folder.glob(f"{test}_{trial}_*")):
                old.unlink(missing_ok=True)
            rate = probe(path).sample_rate
            made = folder / f"{token_hex(8)}.wav"  # two requests may write it at once
            write(made, read(path, 0, max(1, round(seconds * rate)), too_loud="clip"), rate)
            made.replace(out)
        return out


def common_length(paths: Sequence[Path]) -> float | None:
    """Return the length in seconds of the shortest of clips; None where they are equally long."""
    infos = [probe(path) for path in paths]
    lengths = [info.num_samples / info.sample_rate for info in infos]
    return min(lengths) if max(lengths) - min(lengths) > ALIKE else None


def volumes(paths: Sequence[Path], seconds: float | None = None) -> list[float]:
    """Return the volumes at which clips are as loud as the quietest of them, so far as heard.

    The louder of two is preferred, whatever else they differ in.
    """
    heard_for = min(HEARD, seconds or HEARD)
    levels = [level(path, path.stat().st_mtime, heard_for) for path in paths]
    heard = [one for one in levels if one > 0]
    return [round(min(heard) / one, 4) if one > 0 else 1.0 for one in levels]


@lru_cache(maxsize=1024)
def level(path: Path, modified: float, seconds: float = HEARD) -> float:
    """Return the root mean square of so many seconds from a file's start."""
    rate = probe(path).sample_rate
    samples = read(path, 0, max(1, round(seconds * rate)), too_loud="clip")
    return float(samples.square().mean().sqrt())
