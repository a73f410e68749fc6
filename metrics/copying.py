"""Are generated clips copies? Where the training music's notes fit theirs best, and how well.

A score near 1 alone proves nothing, since music resembles music: what counts is whether generated
clips lie nearer to the training music than other real music does (`metrics.control`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from metrics.notes import HOP, Notes

PIECE, STEP = 27, 6  # frames compared as one, 2.5 s, and from one to the next: any 3 s hold one
PAIRS = 2**20  # of pieces and shifts that are compared at once
LEAST = 0.1  # mean energy of a frame; pieces whose notes hardly change can't be recognised


@dataclass(frozen=True)
class Passage:
    """Where a piece of a clip fits best.

    Attributes:
        track: the name of the track
        seconds: where in the track the piece begins
        clip_seconds: where in the clip it begins
        semitones: how far the clip is above the track, -6 to 5
        score: how well its notes fit: 1 for a copy, 0.5 to 0.9 for other music
    """

    track: str
    seconds: float
    clip_seconds: float
    semitones: int
    score: float


def nearest_passages(clips: Tensor, tracks: Iterable[tuple[str, Tensor]]) -> list[Passage]:
    """Find where pieces of clips [B, 12, N] fit best into tracks, each a name and notes [12, M].

    `metrics.notes.directions` gives notes. The score is the correlation of a piece's notes with the
    track's over time, so that a chord which both merely hold counts for little; all shifts and all
    twelve transpositions are tried. Clips of less than 2.5 s are compared whole.
    """
    size = min(PIECE, clips.shape[-1])
    pieces = clips.unfold(-1, size, STEP).transpose(1, 2)  # [B, W, 12, n]
    count = pieces.shape[1]
    compare = Pieces.of(pieces.flatten(0, 1))
    best = [Passage("", 0.0, 0.0, 0, -1.0)] * len(clips)
    for name, track in tracks:
        if track.shape[-1] < size:
            continue
        scores, places = compare.best(track)
        scores, chosen = scores.view(-1, count).max(1)
        for clip in (scores > torch.tensor([one.score for one in best])).nonzero()[:, 0].tolist():
            piece = int(chosen[clip])
            shift, turn = divmod(int(places[clip * count + piece]), 12)
            times = seconds_of(shift), seconds_of(piece * STEP)
            best[clip] = Passage(name, *times, (6 - turn) % 12 - 6, float(scores[clip]))
    return best


def seconds_of(frames: int) -> float:
    return frames * HOP / Notes.sample_rate


@dataclass(frozen=True)
class Pieces:
    """Pieces of n frames, ready to be compared with tracks.

    Turning the twelve pitch classes is multiplying their spectrum, so that the sums over frames are
    made in its 6 components, once for all transpositions (the component of the mean is 0).

    Attributes:
        spectra: [6, P, n], conjugated
        energy: [P]
    """

    spectra: Tensor
    energy: Tensor

    @classmethod
    def of(cls, pieces: Tensor) -> "Pieces":
        """Prepare pieces [P, 12, n]."""
        changing = pieces - pieces.mean(-1, keepdim=True)
        return cls(spectrum(changing).transpose(0, 1).conj().resolve_conj(), energy_of(changing))

    def best(self, track: Tensor) -> tuple[Tensor, Tensor]:
        """Compare with notes [12, M]: best scores [P], and where: 12 * shift + turn, [P]."""
        size, shifts = self.spectra.shape[-1], track.shape[-1] - self.spectra.shape[-1] + 1
        windows = spectrum(track).unfold(-1, size, 1).transpose(1, 2)  # [6, n, shifts]
        energy = window_energy(track, size)
        found = []
        block = max(1, PAIRS // len(self.energy))
        for start in range(0, shifts, block):
            part = slice(start, start + block)
            products = torch.bmm(self.spectra, windows[..., part].contiguous())  # [6, P, k]
            products = torch.nn.functional.pad(products, (0, 0, 0, 0, 1, 0))
            turned = torch.fft.irfft(products, 12, dim=0)  # [12, P, k]
            scale = self.energy[:, None] * energy[part]
            scores = (turned / scale.sqrt()).permute(1, 2, 0).flatten(1)
            value, place = scores.max(1)
            found.append((value, place + 12 * start))
        values, places = (torch.stack(side) for side in zip(*found, strict=True))  # [blocks, P]
        value, block_of = values.max(0)
        return value, places.gather(0, block_of[None])[0]


def spectrum(notes: Tensor) -> Tensor:
    """Transform the pitch classes of notes [..., 12, N] to [..., 6, N], without their mean."""
    return torch.fft.rfft(notes, dim=-2)[..., 1:, :]


def energy_of(pieces: Tensor) -> Tensor:
    """Sum the squares of pieces [P, 12, n]: [P], no less than those of notes that hardly change."""
    return pieces.square().sum((1, 2)).clamp(min=LEAST * pieces.shape[-1])


def window_energy(track: Tensor, size: int) -> Tensor:
    """Return what `energy_of` does, means removed, of all windows of notes [12, M]: [M - n + 1]."""
    sums = [window_sums(track.square().sum(0), size), window_sums(track, size)]
    changing = sums[0] - sums[1].square().sum(0) / size
    return changing.clamp(min=LEAST * size).float()


def window_sums(values: Tensor, size: int) -> Tensor:
    """Sum each `size` successive values [..., M]: [..., M - size + 1] in float64."""
    sums = torch.nn.functional.pad(values.double().cumsum(-1), (1, 0))
    return sums[..., size:] - sums[..., :-size]
