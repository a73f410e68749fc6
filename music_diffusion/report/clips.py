"""The clips that a report judges: of one length, from a run, a folder or a file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from audio import files as audio
from audio.page.sections import LEFT_OUT
from audio.segments import spread_segments
from foundation.errors import UserError
from metrics.digest import digest_of
from metrics.musicality import RATE

LONGEST = 10.0  # seconds of a clip, where none are asked for
STEP = re.compile(r"step_\d+")
SAMPLE = re.compile(r"sample(_\d+)?")


@dataclass(frozen=True)
class Clips:
    """Clips of one length.

    Attributes:
        audio: [B, T] mono at RATE
        paths: the file of each
        starts: where in it each begins, in seconds
        notes: what was left out
    """

    audio: Tensor
    paths: list[Path]
    starts: list[float]
    notes: list[str]

    @property
    def seconds(self) -> float:
        return self.audio.shape[1] / RATE

    def some(self, numbers: Sequence[int]) -> "Clips":
        """Return some of the clips."""
        paths, starts = [self.paths[i] for i in numbers], [self.starts[i] for i in numbers]
        return Clips(self.audio[list(numbers)], paths, starts, self.notes)


def generated_files(source: Path) -> list[Path]:
    """List the audio of a folder, or of a run the samples among its newest demos."""
    if (steps := source / "demos").is_dir():
        folders = sorted(path for path in steps.iterdir() if STEP.fullmatch(path.name))
        samples = [
            path for path in (audio.find(folders[-1]) if folders else []) if is_sample(path.stem)
        ]
        if not samples:
            raise UserError(f"{source} has no demos yet: sample from its checkpoint first")
        return samples
    found = audio.find(source)
    inside = [path for path in found if not is_left_out(path.relative_to(source).parts[:-1])]
    if not inside:
        raise UserError(f"no audio files in {source} but those of pages and runs")
    return inside


def is_sample(stem: str) -> bool:
    return SAMPLE.fullmatch(stem) is not None


def is_left_out(folders: tuple[str, ...]) -> bool:
    return any(LEFT_OUT.fullmatch(name) for name in folders)


def length_of(files: list[Path]) -> float:
    """Return the seconds that clips of files have: the median file's, 10 at most."""
    seconds = sorted(info.num_samples / info.sample_rate for info in map(audio.probe, files))
    return min(LONGEST, seconds[len(seconds) // 2])


def cut(files: list[Path], seconds: float, most: int) -> Clips:
    """Cut at most so many clips of a length, evenly spread over files.

    Raises:
        UserError: where there are fewer than two
    """
    length = round(seconds * RATE)
    total = sum(audio.probe(file).num_samples_at(RATE) for file in files)
    count = min(most, max(1, round(total / length)))
    found = list(spread_segments(files, RATE, length, count, range(count)))
    whole = [one for one in found if one.samples.shape[-1] >= length - RATE // 100]
    if len(whole) < 2:
        raise UserError(
            f"{files[0].parent} holds {len(whole)} clips of {seconds:.2f} s, a report needs 2 or "
            "more: give more music, or shorter clips with --seconds"
        )
    shorter = len(found) - len(whole)
    notes = [f"{shorter} clips shorter than {seconds:.2f} s are left out"] if shorter else []
    length = min(one.samples.shape[-1] for one in whole)
    samples = torch.cat([one.samples[:, :length] for one in whole])
    return Clips(samples, [one.path for one in whole], [one.start / RATE for one in whole], notes)


def unseen(clips: Clips, training: list[Path]) -> Clips:
    """Return the clips of files that aren't among the training music: a control.

    Raises:
        UserError: where there are fewer than two
    """
    known = {digest_of(path) for path in training}
    kept = [i for i, path in enumerate(clips.paths) if digest_of(path) not in known]
    if len(kept) < 2:
        raise UserError(
            "all of the reference is among the training music: give --reference other music, "
            "which shows how near real music comes"
        )
    return clips.some(kept)
