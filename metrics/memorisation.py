"""Is the training music in generated clips? Their nearest passages, beside a control's."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from metrics.control import Excess, excess, nearest_distance
from metrics.copying import Passage, nearest_passages
from metrics.embed_clips import embed_clips
from metrics.embed_files import embed_files
from metrics.logmel import LogMel
from metrics.notes import Notes, directions


@dataclass(frozen=True)
class Memorisation:
    """How near generated clips lie to the training music.

    Attributes:
        notes: of the score of the nearest passage (`metrics.copying`)
        sound: of the distance to the nearest second, in log-mel statistics, its sign changed
        in_key: share of generated clips whose nearest passage isn't transposed; 1 / 12 by chance,
            more where notes, or at least keys, were learned by heart
        control_in_key: the same of the control
        passages: the nearest passage of each generated clip
        control_clips: real clips that the model wasn't trained on
        training_files: that could be read
        training_seconds: how long they are, up to a second each
    """

    notes: Excess
    sound: Excess
    in_key: float
    control_in_key: float
    passages: list[Passage]
    control_clips: int
    training_files: int
    training_seconds: int


@dataclass(frozen=True)
class Nearness:
    """The nearest passage of each clip, and its distance [B] to the nearest second of sound."""

    passages: list[Passage]
    distances: Tensor

    @property
    def scores(self) -> Tensor:
        return torch.tensor([passage.score for passage in self.passages])

    @property
    def in_key(self) -> float:
        return sum(not passage.semitones for passage in self.passages) / len(self.passages)


@dataclass(frozen=True)
class TrainingMusic:
    """What is kept of the music that a model was trained on.

    Attributes:
        names: the paths of the tracks
        notes: of each track, [12, N] (`metrics.notes`)
        sound: log-mel statistics of all seconds, [M, D]
    """

    names: list[str]
    notes: list[Tensor]
    sound: Tensor

    @classmethod
    def of(cls, files: list[Path], device: torch.device, progress: bool = True) -> "TrainingMusic":
        """Read files; what each gives is cached by its content, so they are read once.

        Raises:
            UserError: where none can be read
        """
        tracks = embed_files(files, Notes(), device, progress=progress)
        notes = [directions(part) for part in tracks.values.split(tracks.counts)]
        sound = embed_files(files, LogMel(), device, progress=progress).values
        return cls(tracks.files, notes, sound)

    def near(self, clips: Tensor, device: torch.device) -> Nearness:
        """Find what is nearest to clips [B, T] at `metrics.musicality.RATE`.

        Raises:
            UserError: for clips too short to be compared
        """
        notes = directions(embed_clips(Notes(), clips, device)).cpu()
        passages = nearest_passages(notes, zip(self.names, self.notes, strict=True))
        return Nearness(
            passages, nearest_distance(embed_clips(LogMel(), clips, device), self.sound)
        )

    def compare(self, generated: Nearness, control: Nearness) -> Memorisation:
        """Say how much nearer generated clips are than held-out real ones."""
        return Memorisation(
            notes=excess(generated.scores, control.scores),
            sound=excess(-generated.distances, -control.distances),
            in_key=generated.in_key,
            control_in_key=control.in_key,
            passages=generated.passages,
            control_clips=len(control.passages),
            training_files=len(self.names),
            training_seconds=len(self.sound),
        )
