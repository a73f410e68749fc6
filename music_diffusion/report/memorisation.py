"""Is the training music in the generated clips? Their nearest passages, beside a control's."""

from dataclasses import dataclass
from pathlib import Path

import torch

from foundation.errors import UserError
from foundation.files import printable
from metrics.control import Excess, excess, nearest_distance
from metrics.copying import Passage, nearest_passages
from metrics.digest import digest_of
from metrics.embed_files import embed_files
from metrics.logmel import LogMel
from metrics.notes import Notes, directions
from music_diffusion.report.clips import Clips
from music_diffusion.report.judge import embed_clips


@dataclass(frozen=True)
class Memorisation:
    """How near generated clips lie to the training music.

    Attributes:
        notes: of the score of the nearest passage (`metrics.copying`)
        sound: of the distance to the nearest second, in log-mel statistics, its sign changed
        passages: the nearest passage of each generated clip
        files: the files of the clips
        control_clips: real clips that the model wasn't trained on
        training_files: that could be read
        training_seconds: how long they are, up to a second each
    """

    notes: Excess
    sound: Excess
    passages: list[Passage]
    files: list[str]
    control_clips: int
    training_files: int
    training_seconds: int


def find_copies(
    generated: Clips, control: Clips, training: list[Path], device: torch.device
) -> Memorisation:
    """Compare generated and held-out real clips with the files that a model was trained on.

    What a file gives is cached by its content, so that only the first report reads them all.
    """
    tracks = embed_files(training, Notes(), device)
    parts = [directions(part) for part in tracks.values.split(tracks.counts)]
    sides = [directions(embed_clips(Notes(), one.audio, device)) for one in (generated, control)]
    both = nearest_passages(torch.cat(sides), zip(tracks.files, parts, strict=True))
    scores = torch.tensor([one.score for one in both]).split([len(side) for side in sides])
    known = embed_files(training, LogMel(), device)
    away = [
        -nearest_distance(embed_clips(LogMel(), one.audio, device), known.values)
        for one in (generated, control)
    ]
    return Memorisation(
        notes=excess(*scores),
        sound=excess(*away),
        passages=both[: len(generated.paths)],
        files=[printable(path) for path in generated.paths],
        control_clips=len(control.paths),
        training_files=len(tracks.files),
        training_seconds=len(known.values),
    )


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
