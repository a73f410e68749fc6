"""What the distances say about damaged music: python -m benchmarks.fad MUSIC [--other DIR].

The reference is random crops of half of the tracks; the rows are crops of the other half (held
out), the same crops as the reference's after each damage, other crops of the same tracks, and other
folders. With --speed it prints the CPU time of a distance of 2048 dimensions instead, beside that
of SciPy's square root of a matrix where SciPy is installed.
"""

import argparse
import math
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torchaudio.functional import lowpass_biquad

from audio import files as audio
from codec.jukebox import JukeboxCodec
from metrics.embedding import Embedding
from metrics.embedding_names import make_embedding
from metrics.extrapolate import extrapolate
from metrics.frechet import Gaussian, frechet
from metrics.kernel import kernel_distance

RATE = 44100


def crops(files: list[Path], count: int, seconds: float, seed: int) -> Tensor:
    """Cut crops [count, 1, T], each file in turn, at random places."""
    draw, found = random.Random(seed), []
    for number in range(count):
        path = files[number % len(files)]
        length = round(seconds * RATE)
        last = audio.probe(path).num_samples_at(RATE) - length
        start = draw.randrange(max(1, last))
        crop = audio.read(path, start, length, RATE, channels=1)
        found.append(torch.nn.functional.pad(crop, (0, length - crop.shape[-1])))
    return torch.stack(found)


def noisy(clips: Tensor, decibels: float) -> Tensor:
    power = clips.square().mean(dim=-1, keepdim=True).sqrt()
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(clips.shape, generator=generator)
    return clips + noise * power * 10 ** (-decibels / 20)


def low_pass(clips: Tensor, frequency: float) -> Tensor:
    for _ in range(4):
        clips = lowpass_biquad(clips, RATE, frequency)
    return clips


def round_trip(clips: Tensor, level: int) -> Tensor:
    codec = JukeboxCodec(level)
    return torch.cat(
        [codec.decode(codec.encode(clip))[..., : clip.shape[-1]] for clip in clips.split(1)]
    )


def table(args: argparse.Namespace) -> None:
    files = audio.find(args.music)
    random.Random(0).shuffle(files)
    half = len(files) // 2
    model = make_embedding(args.embedding)
    clean = crops(files[:half], args.crops, args.seconds, seed=0)
    reference = model(clean, RATE, batch_size=4)
    gaussian = Gaussian.of(reference)
    damages: dict[str, Callable[[], Tensor]] = {
        "other crops of the same tracks": lambda: crops(files[:half], args.crops, args.seconds, 1),
        "held-out half of the tracks": lambda: crops(files[half:], args.crops, args.seconds, 0),
        "gain -12 dB": lambda: clean / 4,
    }
    damages |= {f"noise {db} dB": partial(noisy, clean, db) for db in (20, 10, 0)}
    damages |= {f"low-pass {hz} Hz": partial(low_pass, clean, hz) for hz in (4000, 2000, 1000)}
    damages |= {f"codec level {level}": partial(round_trip, clean, level) for level in range(3)}
    for folder in args.other:
        found = audio.find(folder)
        damages[Path(folder).name] = partial(crops, found, args.crops, args.seconds, 0)
    print(f"{model.name} {model.fingerprint}, {len(reference)} vectors of {args.crops} crops")
    print(f"{'':32} {'FAD':>9} {'extrapolated':>18} {'KAD':>9}")
    for name, make in damages.items():
        show(name, model, gaussian, reference, make())


def show(name: str, model: Embedding, gaussian: Gaussian, reference: Tensor, clips: Tensor) -> None:
    vectors = model(clips, RATE, batch_size=4)
    score = frechet(gaussian, Gaussian.of(vectors))
    line = extrapolate(gaussian, vectors, [len(vectors) // len(clips)] * len(clips))
    kad = kernel_distance(reference, vectors)
    extrapolated = f"{line.score:.2f} ± {line.margin or math.nan:.2f}" if line else "-"
    print(f"{name:32} {score:9.2f} {extrapolated:>18} {kad:9.3f}", flush=True)


def speed(dim: int) -> None:
    """Time one distance of full-rank covariances."""
    generator = torch.Generator().manual_seed(0)
    sides = [
        Gaussian.of(torch.randn(2 * dim, dim, generator=generator, dtype=torch.float64) * scale)
        for scale in torch.linspace(0.1, 2, 2 * dim)[:, None].reshape(2, dim)
    ]
    start = time.process_time()
    value = frechet(*sides)
    print(f"ours: {value:.9g} in {time.process_time() - start:.2f} s")
    try:
        from scipy.linalg import sqrtm  # pyright: ignore[reportMissingImports]
    except ImportError:
        return
    a, b = (side.covariance.numpy() for side in sides)
    start = time.process_time()
    root = sqrtm((a @ b).astype(complex))
    means = (sides[0].mean - sides[1].mean).square().sum().item()
    value = means + a.trace() + b.trace() - 2 * root.trace().real
    print(f"SciPy: {value:.9g} in {time.process_time() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("music", nargs="?")
    parser.add_argument("--other", nargs="*", default=[])
    parser.add_argument("--embedding", default="musicnn")
    parser.add_argument("--crops", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--dim", type=int, default=2048)
    args = parser.parse_args()
    if args.speed:
        return speed(args.dim)
    if not args.music:
        parser.error("give a folder of music, or --speed")
    with torch.no_grad():
        table(args)


if __name__ == "__main__":
    main()
