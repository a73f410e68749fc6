"""Which measures rank music as they must, and which are deceived.

    python -m benchmarks.ranking MUSIC [NAME=FOLDER …] [--untrained base] [--training FOLDER]

Sets of clips against one half of those of MUSIC: the other half (held out), the spectral codec's
round trip of it, the clips of each FOLDER, such as a model's samples, a model with the weights that
training starts from, degradations of the held-out half, and noise in its colour. Three tables in
Markdown: distances, traits, and by measure which pairs it puts the wrong way round: the sets above
are in the order that a measure must find, and each degradation must be worse than what it was made
of. With --training, also how near each set lies to that music.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchaudio.functional import lowpass_biquad

from audio import files as audio
from audio.resample import resample_sinc
from codec.spectral import SpectralCodec
from foundation.audio_module import AudioModel
from jbdiff.module import JBDiff
from metrics.embedding import Embedding, MissingWeights
from metrics.logmel import LogMel
from metrics.memorisation import TrainingMusic
from metrics.musicality import RATE, noise_in_colour
from metrics.musicnn import Musicnn
from music_diffusion.checkpoints.legacy import upgrade_settings
from music_diffusion.checkpoints.load import build, read_model
from music_diffusion.checkpoints.named_classes import import_named
from music_diffusion.commands.runs import base_folder
from music_diffusion.report.clips import Clips, cut
from music_diffusion.report.judge import judge_distances, judge_pitch_classes, judge_traits

CPU = torch.device("cpu")
STEPS = 6  # of an untrained model
GRAIN = 0.25  # seconds of a note that is moved or transposed
GREATER = ("precision", "recall", "density", "coverage", "mauve_type")  # is better
Table = dict[str, dict[str, float]]  # values by measure, by set


def round_trip(clips: Tensor) -> Tensor:
    """Render clips [B, T] at RATE as the spectral codec does."""
    codec = SpectralCodec()
    wide = resample_sinc(clips[:, None], RATE, codec.sample_rate)
    made = torch.cat([codec.decode(codec.encode(part)) for part in wide.split(4)])
    return resample_sinc(made[..., : wide.shape[-1]].mean(1), codec.sample_rate, RATE)


def noisy(clips: Tensor, decibels: float = 10.0) -> Tensor:
    """Add white noise at a ratio to each clip [B, T]."""
    power = clips.square().mean(1, keepdim=True) * 10 ** (-decibels / 10)
    return clips + power.sqrt() * torch.randn(clips.shape, generator=seeded())


def low_passed(clips: Tensor) -> Tensor:
    """Filter clips [B, T] above 1 kHz, 24 dB an octave."""
    return lowpass_biquad(lowpass_biquad(clips, RATE, 1000.0), RATE, 1000.0)


def tempo_scrambled(clips: Tensor) -> Tensor:
    """Play pieces of 0.1 to 0.6 s of clips [B, T] in another order: no beat is left."""
    draw = seeded()
    lengths = (torch.rand(10 * clips.shape[1] // RATE, generator=draw) * 0.5 + 0.1) * RATE
    ends = lengths.cumsum(0).long()
    pieces = torch.tensor_split(clips, ends[ends < clips.shape[1]], dim=1)
    order = torch.randperm(len(pieces), generator=draw)
    return torch.cat([faded(pieces[i]) for i in order], 1)


def notes_shuffled(clips: Tensor) -> Tensor:
    """Transpose each quarter of a second of clips [B, T] by itself: beats stay, melody goes."""
    draw, grain = seeded(), round(GRAIN * RATE)
    made = []
    for start in range(0, clips.shape[1], grain):
        speed = 2 ** (float(torch.randint(-6, 6, (1,), generator=draw)) / 12)
        part = clips[:, start : start + round(grain * speed)]
        part = pad(part, (0, round(grain * speed) - part.shape[1]))
        made.append(faded(interpolate(part[None], grain, mode="linear")[0]))
    return torch.cat(made, 1)[:, : clips.shape[1]]


def faded(piece: Tensor, seconds: float = 0.005) -> Tensor:
    """Fade a piece [B, T] in and out, so that its ends don't click."""
    count = min(round(seconds * RATE), piece.shape[1] // 2)
    ramp = torch.ones(piece.shape[1])
    ramp[:count] = torch.linspace(0, 1, count)
    return piece * ramp * ramp.flip(0)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


DEGRADATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "noise, 10 dB": noisy,
    "low-pass, 1 kHz": low_passed,
    "tempo scrambled": tempo_scrambled,
    "notes shuffled": notes_shuffled,
}


def untrained(name: str, count: int, seconds: float) -> Tensor:
    """Generate clips [B, T] at RATE with a base model's class and settings, its weights fresh."""
    settings = upgrade_settings(read_model(base_folder(name))["hyper_parameters"])
    import_named(settings, name)
    torch.manual_seed(0)
    model = build(settings).eval()
    assert isinstance(model, AudioModel)
    if isinstance(model, JBDiff):  # more steps make nothing better
        model.sampler = replace(model.sampler, steps=STEPS)
    made = model.generate(seconds, count=count, seed=0)
    return resample_sinc(made.mean(1), model.sample_rate, RATE)


def sets_of(options: argparse.Namespace, held_out: Clips) -> dict[str, Clips]:
    """Make the sets of clips, in the order that a measure must find, then the degradations."""

    def made(samples: Tensor) -> Clips:
        return replace(held_out, audio=samples[:, : held_out.audio.shape[1]])

    sets = {"held out": held_out, "round trip": made(round_trip(held_out.audio))}
    for name, folder in options.folders:
        sets[name] = cut(audio.find(folder), held_out.seconds, len(held_out.paths))
    for name in options.untrained:
        sets[f"{name} untrained"] = made(untrained(name, len(held_out.paths), held_out.seconds))
    sets["noise in colour"] = made(noise_in_colour(held_out.audio, seeded()))
    return sets | {name: made(change(held_out.audio)) for name, change in DEGRADATIONS.items()}


def distance_table(sets: dict[str, Clips], reference: Clips) -> Table:
    """Measure all distances of each embedding whose weights are here."""
    table: Table = {name: {} for name in sets}
    for embedding in embeddings():
        for name, found in judge_distances(embedding, sets, reference, CPU).items():
            kept = {key: value for key, value in found.items() if not key.endswith("_margin")}
            table[name] |= {f"{embedding.name} {key}": value for key, value in kept.items()}
    return table


def embeddings() -> list[Embedding]:
    try:
        return [Musicnn(), LogMel()]
    except MissingWeights as error:
        print(f"{error}\n")
        return [LogMel()]


def trait_table(sets: dict[str, Clips], reference: Clips) -> tuple[Table, Table]:
    """Measure the traits of each set: their means, and their distances to the reference's."""
    means, away = {}, {}
    for name, clips in sets.items():
        found = judge_traits(clips, reference)
        means[name] = {key: one["generated"] for key, one in found.items()}
        away[name] = {key: one["distance"] for key, one in found.items()}
        away[name]["pitch_class_divergence"] = judge_pitch_classes(clips, reference)
    return means, away


def copying_table(sets: dict[str, Clips], folder: str) -> Table:
    """Measure how near each set lies to the training music, with the held-out clips as control."""
    training = TrainingMusic.of(audio.find(folder), CPU)
    near = {name: training.near(clips.audio, CPU) for name, clips in sets.items()}
    table = {}
    for name, one in near.items():
        found = training.compare(one, near["held out"])
        table[name] = {
            f"{kind} {key}": getattr(getattr(found, kind), key)
            for kind in ("notes", "sound")
            for key in ("generated", "rate", "nearer")
        }
    return table


def wrong_pairs(table: Table, ordered: list[str]) -> dict[str, list[str]]:
    """Name by measure the pairs of the order, and the degradations, that it has wrong."""
    pairs = [*combinations(ordered, 2), *(("held out", name) for name in DEGRADATIONS)]
    wrong: dict[str, list[str]] = {}
    for measure in table["held out"]:
        sign = -1 if measure.split()[-1] in GREATER else 1
        values = {name: sign * row.get(measure, float("nan")) for name, row in table.items()}
        wrong[measure] = [f"{a} > {b}" for a, b in pairs if not values[a] < values[b]]
    return wrong


def print_table(title: str, table: Table) -> None:
    names = list(dict.fromkeys(key for row in table.values() for key in row))
    print(f"\n| {title} | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")
    for name, row in table.items():
        cells = [f"{row[key]:.3g}" if row.get(key) is not None else "" for key in names]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def named(text: str) -> tuple[str, str]:
    name, sign, folder = text.partition("=")
    return (name, folder) if sign else (Path(text).name, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("music", help="a folder of real music that no model was trained on")
    parser.add_argument("folders", nargs="*", type=named, help="NAME=FOLDER, the best first")
    parser.add_argument("--untrained", nargs="*", default=[], help="base, base_sedd")
    parser.add_argument("--training", help="the folder of music that models were trained on")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--num_clips", type=int, default=32)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    real = cut(audio.find(options.music), options.seconds, 2 * options.num_clips)
    reference, held_out = (real.some(range(i, len(real.paths), 2)) for i in (0, 1))
    sets = sets_of(options, held_out)
    print(f"{len(held_out.paths)} clips of {held_out.seconds:g} s")
    means, away = trait_table(sets, reference)
    print_table("means", means)
    print_table("distances of traits, in deviations", away)
    if options.training:
        print_table("copying", copying_table(sets, options.training))
    table = distance_table(sets, reference)
    print_table("distances", table)
    ordered = [name for name in sets if name not in DEGRADATIONS]
    print("\n| measure | wrong pairs |\n| --- | --- |")
    for measure, pairs in (wrong_pairs(table, ordered) | wrong_pairs(away, ordered)).items():
        print(f"| {measure} | {'; '.join(pairs) or 'none'} |")
    print(f"\n{time.process_time():.0f} CPU seconds")


if __name__ == "__main__":
    main()
