"""Say whether clips are music.

    python -m benchmarks.music_quality NAME=FOLDER … --reference NAME=FOLDER [--copies_of FOLDER]

A row for each folder, in the same 8 s clips of up to 32 files: tonal peak and beat clarity (see
metrics/musicality.py), the Frechet distance of musicnn's vectors to each reference, the level. The
references stand first, other clips of them than those that distances are to; then noise in their
colour. With --copies_of FOLDER also how near each clip lies to that music: the median and greatest
score of the nearest passage (metrics/copying.py), of the reference's clips too, as the control.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio import files as audio_files
from foundation.errors import UserError
from metrics.copying import nearest_passage, notes_of
from metrics.frechet import Gaussian, frechet
from metrics.musicality import RATE, beat_clarity, noise_in_colour, tonal_peak
from metrics.musicnn import Musicnn

MOST = 32  # clips of a folder


def clips_of(folder: str, seconds: float, seed: int = 0) -> Tensor:
    """Read up to MOST clips [N, T] at RATE: files as often as it takes, from drawn places."""
    files, draw = audio_files.find(folder), np.random.default_rng(seed)
    length = round(seconds * RATE)
    count = len(files) if len(files) >= MOST // 2 else MOST
    clips = []
    for index in range(min(count, MOST)):
        file = files[index % len(files)]
        total = audio_files.probe(file).num_samples_at(RATE)
        if total < 0.9 * length:
            continue
        start = int(draw.integers(0, max(1, total - length + 1)))
        part = audio_files.read(file, start, length, sample_rate=RATE, channels=1)[0]
        clips.append(torch.nn.functional.pad(part, (0, length - len(part))))
    if not clips:
        raise UserError(f"no file in {folder} has {seconds:g} s")
    return torch.stack(clips)


def measures(clips: Tensor, embedding: Musicnn, references: dict[str, Gaussian]) -> str:
    """Measure clips [N, T] at RATE: the columns of a row."""
    audio = clips[:, None]
    vectors = Gaussian.of(embedding(audio, RATE, batch_size=8))
    level = 20 * math.log10(float(clips.square().mean().sqrt()) + 1e-9)
    peak, beat = tonal_peak(audio, RATE).nanmean(), beat_clarity(audio, RATE).nanmean()
    distances = " | ".join(f"{frechet(vectors, other):.1f}" for other in references.values())
    return f"{len(clips)} | {peak:.3f} | {beat:.3f} | {distances} | {level:.1f}"


def music_of(folder: str) -> list[tuple[str, Tensor]]:
    """Read the notes of all music in a folder, for `copies`."""
    return [
        (path.name, notes_of(audio_files.read(path, sample_rate=RATE, channels=1)[0]))
        for path in audio_files.find(folder)
    ]


def copies(clips: Tensor, music: list[tuple[str, Tensor]]) -> str:
    """Say how near clips [N, T] lie to their nearest passages of music."""
    scores = torch.tensor([nearest_passage(notes_of(clip), music).score for clip in clips])
    return f" | {scores.median():.3f} | {scores.max():.3f}"


def named(text: str) -> tuple[str, str]:
    name, sign, folder = text.partition("=")
    return (name, folder) if sign else (Path(text).name, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=named, help="NAME=FOLDER of clips to judge")
    parser.add_argument("--reference", action="append", type=named, required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--copies_of", help="the folder of music that models were trained on")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    embedding, seconds = Musicnn(), options.seconds
    known = {name: clips_of(folder, seconds) for name, folder in options.reference}
    references = {
        name: Gaussian.of(embedding(c[:, None], RATE, batch_size=8)) for name, c in known.items()
    }
    rows = {f"{n} itself": clips_of(f, seconds, seed=1) for n, f in options.reference}
    draw = torch.Generator().manual_seed(0)
    rows |= {f"noise in {n}'s colour": noise_in_colour(c, draw) for n, c in known.items()}
    rows |= {name: clips_of(folder, seconds) for name, folder in options.folders}
    music = music_of(options.copies_of) if options.copies_of else []
    copying = " | nearest passage, median | greatest" if music else ""
    print(f"| | clips | peak | beat | {' | '.join(f'FAD {n}' for n in known)} | dB{copying} |")
    print("|" + " --- |" * (6 + len(known) - 1 + (2 if copying else 0)))
    for name, clips in rows.items():
        near = copies(clips, music) if music else ""
        print(f"| {name} | {measures(clips, embedding, references)}{near} |", flush=True)


if __name__ == "__main__":
    main()
