"""How well gaps in held-out music are repaired.

    python -m benchmarks.repair MUSIC [--models base_sedd base] [--gaps 0.3 1 3] [--count 8]

A row for each gap and model, and for two that know no music: silence, and spectra on a straight
line between those at the gap's edges. In the gap: cosine of the chroma (1 is best, chance is 0) and
the difference of third-octave spectra in dB. Within 50 ms of the seams: the sharpest
bend of the waveform, over the mean one of the music there (a click; its own is in the row
"original"), and the change of level at the seam, less the music's own. Means over places, stereo.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import music_diffusion as md
from audio import files as audio_files
from audio.bands import mixed_centres, triangles
from audio.griffin_lim import Frames, griffin_lim
from audio.similarity import chroma, magnitudes
from music_diffusion.commands.sample import with_steps

RATE, AROUND = 44100, 5.0
EDGE = RATE // 20  # 50 ms
Repair = Callable[[Tensor, Tensor], Tensor]  # audio [C, T], keep [T] to audio [C, T]


def places(folder: str, gap: float, count: int) -> list[tuple[Tensor, Tensor]]:
    """Cut so many passages [2, T] with a gap in the middle, keep [T] says where."""
    draw, files, length = np.random.default_rng(0), audio_files.find(folder), gap + 2 * AROUND
    cut = []
    for index in range(count):
        file = files[index % len(files)]
        total, wanted = audio_files.probe(file).num_samples_at(RATE), round(length * RATE)
        start = int(draw.integers(RATE, max(RATE + 1, total - wanted - RATE)))
        keep = torch.ones(wanted, dtype=torch.bool)
        keep[round(AROUND * RATE) : wanted - round(AROUND * RATE)] = False
        cut.append((audio_files.read(file, start, wanted, RATE, 2), keep))
    return cut


def straight_line(audio: Tensor, keep: Tensor) -> Tensor:
    """Draw log spectra straight from edge to edge of the gap, each the mean of 100 ms."""
    from audio.fit_in import fit_in  # here, so that the rest also runs on versions before it

    frames = Frames(2048, 512)
    spectrum = frames.magnitudes(audio).clamp(min=1e-5).log()  # [C, F, N]
    gap = (~keep).nonzero()[[0, -1], 0] // frames.hop
    first, last = int(gap[0]) - 1, int(gap[1]) + 2
    before, after = (
        spectrum[..., first - 9 : first].mean(-1),
        spectrum[..., last:][..., :9].mean(-1),
    )
    share = torch.linspace(0, 1, last - first)
    spectrum[..., first:last] = before[..., None].lerp(after[..., None], share)
    made = griffin_lim(spectrum.exp(), frames)[:, : audio.shape[-1]]
    return fit_in(audio, made[None], keep, RATE)[0]


def by_model(name: str, steps: int | None) -> Repair:
    model = md.load(name, accelerator="cpu")
    sampler = getattr(model, "sampler", None)
    if steps is not None:
        sampler = with_steps(sampler, steps)

    def repair(audio: Tensor, keep: Tensor) -> Tensor:
        damaged = torch.where(keep, audio, 0.0)
        made = model.generate(prompt=damaged, keep=keep, sampler=sampler, seed=1)[0]
        return made.expand(2, -1)

    return repair


def measures(made: Tensor, audio: Tensor, keep: Tensor) -> list[float]:
    """Return chroma cosine, spectral difference, click and level jump of made [C, T]."""
    start, stop = (~keep).nonzero()[[0, -1], 0].tolist()
    notes = [chroma(x.mean(0)[None, None])[0] for x in (made, audio)]
    inside = slice(start // 2048, stop // 2048 + 1)
    cosine = torch.cosine_similarity(*(x[:, inside] for x in notes), dim=0).mean()
    bands = triangles(mixed_centres(1025, RATE, per_octave=3, lowest=55.0), 1025, RATE)
    levels = [
        10 * torch.log10((bands @ magnitudes(x[:, start:stop], 2048, 512).square()) + 1e-4)
        for x in (made, audio)
    ]
    seams = [slice(seam - EDGE, seam + EDGE) for seam in (start, stop + 1)]
    clicks = [decibels(bend(made[:, part]).max(), rms(bend(audio[:, part]))) for part in seams]
    jumps = [abs(step(made[:, part]) - step(audio[:, part])) for part in seams]
    spectral = float((levels[0] - levels[1]).abs().mean())
    return [float(cosine), spectral, sum(clicks) / 2, sum(jumps) / 2]


def bend(audio: Tensor) -> Tensor:
    return audio.diff(n=2).abs()


def rms(audio: Tensor) -> Tensor:
    return audio.square().mean().sqrt()


def decibels(amplitude: Tensor, other: Tensor) -> float:
    return float(20 * torch.log10((amplitude + 1e-5) / (other + 1e-5)))


def step(audio: Tensor) -> float:
    """Measure the change of level in the middle of audio in dB."""
    return decibels(rms(audio[:, EDGE:]), rms(audio[:, :EDGE]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("music", help="a folder of music that the models never heard")
    parser.add_argument("--models", nargs="*", default=["base_sedd", "base"])
    parser.add_argument("--gaps", type=float, nargs="+", default=[0.3, 1.0, 3.0], help="seconds")
    parser.add_argument("--count", type=int, default=8, help="places")
    parser.add_argument("--steps", type=int, help="the sampler's, if not the model's own")
    parser.add_argument("--no_baselines", action="store_true")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    repairs: dict[str, Repair] = {}
    if not options.no_baselines:
        repairs |= {"original": lambda audio, keep: audio, "straight line": straight_line}
        repairs |= {"silence": lambda audio, keep: torch.where(keep, audio, 0.0)}
    repairs |= {name: by_model(name, options.steps) for name in options.models}
    print("| gap, s | | chroma | spectral, dB | click, dB | level jump, dB |\n|" + " --- |" * 6)
    for gap in options.gaps:
        cut = places(options.music, gap, options.count)
        for name, repair in repairs.items():
            rows = torch.tensor([measures(repair(*place), *place) for place in cut])
            cells = " | ".join(f"{value:.2f}" for value in rows.mean(0).tolist())
            print(f"| {gap:g} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
