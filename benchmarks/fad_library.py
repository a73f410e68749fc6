"""Ours beside frechet_audio_distance: python -m benchmarks.fad_library REFERENCE GENERATED.

Needs the extra `fad`, and the package torchvggish for VGGish. Both sides read the same files of
random weights (--weights DIR takes published ones) and embed all files of both folders; each runs
in a process of its own, whose peak memory is shown. PANN is compared by the pooled figure.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

RATE = 16000


def make_weights(folder: Path) -> None:
    """Write random weights in the published files' formats, those that aren't there."""
    from metrics import pann, vggish

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if not (folder / vggish.FILE).exists():
        torch.save(spread(vggish.network()).state_dict(), folder / vggish.FILE)
    name, window, hop, highest = pann.MODELS[RATE]
    if not (folder / name).exists():
        net = spread(pann.Cnn14(RATE, window, hop, fmax=highest))
        torch.save({"model": net.state_dict()}, folder / name)


def spread(net: torch.nn.Module) -> torch.nn.Module:
    """Draw weights that keep the size of what passes through."""
    for name, weight in net.named_parameters():
        if weight.dim() > 1 and "extractor" not in name:
            torch.nn.init.kaiming_normal_(weight)
    return net


def ours(name: str, weights: Path, folders: list[Path]) -> float:
    from audio import files as audio
    from metrics.embed_files import embed_files
    from metrics.fad import library_score
    from metrics.pann import MODELS, PANN
    from metrics.vggish import FILE, VGGish

    if name == "vggish":
        model = VGGish(weights / FILE)
    else:
        model = PANN(RATE, weights / MODELS[RATE][0], clip_seconds=None)
    start = clock()
    device = torch.device("cpu")
    sides = [embed_files(audio.find(folder), model, device) for folder in folders]
    report("embedding", start)
    start = clock()
    score = library_score(sides[0], sides[1])
    report("distance", start)
    return score


def hub_model(weights: Path) -> torch.nn.Module:
    """Put together what torch.hub would fetch: the package's network behind its front-end."""
    from torchvggish.torchvggish import VGG  # pyright: ignore[reportMissingImports]
    from torchvggish.vggish_input import (  # pyright: ignore[reportMissingImports]
        waveform_to_examples,
    )

    from metrics.vggish import network

    class Hub(VGG):
        def forward(self, x, rate):
            return super().forward(waveform_to_examples(x, rate).to(self.device))

    net = Hub(network().features, postprocess=False)
    net.load_state_dict(torch.load(weights))
    return net


def library(name: str, weights: Path, folders: list[Path]) -> float:
    from frechet_audio_distance import (  # pyright: ignore[reportMissingImports]
        FrechetAudioDistance,
    )

    torch.hub.load = lambda **_: hub_model(weights / "vggish-10086976.pth")
    published = weights / "Cnn14_16k_mAP=0.438.pth"
    quoted = weights / "Cnn14_16k_mAP%3D0.438.pth"
    if published.exists() and not quoted.exists():
        os.link(published, quoted)
    fad = FrechetAudioDistance(str(weights), "vggish" if name == "vggish" else "pann")
    start = clock()
    load = fad._FrechetAudioDistance__load_audio_files
    embedded = [fad.get_embeddings(load(str(folder)), sr=RATE) for folder in folders]
    report("embedding", start)
    start = clock()
    statistics = [fad.calculate_embd_statistics(side) for side in embedded]
    if statistics[0][1].ndim == 0:  # PANN's pooled numbers, which it can't compare with SciPy 1.17
        (a, variance_a), (b, variance_b) = statistics
        score = (a - b) ** 2 + (variance_a**0.5 - variance_b**0.5) ** 2
    else:
        score = fad.calculate_frechet_distance(*statistics[0], *statistics[1])
    report("distance", start)
    return float(score)


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def report(what: str, start: tuple[float, float]) -> None:
    wall, cpu = (now - then for now, then in zip(clock(), start, strict=True))
    print(json.dumps({"what": what, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path)
    parser.add_argument("generated", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("ckpts/random"))
    parser.add_argument("--embeddings", nargs="*", default=["vggish", "pann_16k"])
    parser.add_argument("--side", choices=("ours", "library"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    folders = [args.reference, args.generated]
    if args.side:
        side = {"ours": ours, "library": library}[args.side]
        score = side(args.embeddings[0], args.weights, folders)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"score": score, "peak_MiB": round(peak)}))
        return
    make_weights(args.weights)
    for name in args.embeddings:
        for side in ("ours", "library"):
            print(name, side, flush=True)
            command = [sys.executable, "-m", "benchmarks.fad_library", *map(str, folders)]
            command += ["--weights", str(args.weights), "--embeddings", name, "--side", side]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
