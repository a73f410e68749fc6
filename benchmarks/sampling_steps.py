"""Which sampler, and how many steps, a trained model needs.

    python -m benchmarks.sampling_steps MODEL REFERENCE [--samplers "DPM steps=25" …]

Clips of the same seed by each sampler, judged beside 32 clips of REFERENCE, with the CPU seconds
that a clip took. Samplers are named as on the command line, with their options; one left out gives
the usual ones of the model's family.
"""

import argparse
import importlib
import time

import torch

import music_diffusion as md
from benchmarks.clip_judge import COLUMNS, ClipJudge
from foundation.audio_module import AudioModel
from foundation.sampler import Sampler
from jbdiff.module import JBDiff

STEPS = (6, 12, 25, 50)
LATENT = [f"{name} steps={n}" for name in ("DDIM", "DPM", "IPLMS", "Heun") for n in STEPS]
TOKENS = [f"{name} steps={n}" for name in ("Analytic", "FirstHitting") for n in (16, 45, 180, 720)]
HOMES = ("jbdiff.samplers", "sedd.samplers", "sedd.remasking", "sedd.confidence")


def named_sampler(text: str) -> Sampler:
    """Make a sampler of its name and options: "DPM steps=25 noise_scale=0.9"."""
    name, *pairs = text.split()
    options = {key: float(value) for key, value in (pair.split("=") for pair in pairs)}
    options = {key: int(value) if value.is_integer() else value for key, value in options.items()}
    for home in HOMES:
        if found := getattr(importlib.import_module(home), name, None):
            return found(**options)
    raise SystemExit(f"no sampler {name} in {', '.join(HOMES)}")


def timed_row(model: AudioModel, text: str, options: argparse.Namespace, judge: ClipJudge) -> str:
    start = time.process_time()
    audio = model.generate(
        options.seconds, count=options.count, seed=options.seed, sampler=named_sampler(text)
    )
    taken = (time.process_time() - start) / options.count
    return f"| {text} | {judge.row(audio, model.sample_rate)} | {taken:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a checkpoint, an export, base or base_sedd")
    parser.add_argument("reference", help="a folder of real music")
    parser.add_argument("--samplers", nargs="+", help="by default some of the model's family")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    model = md.load(options.model, accelerator="cpu")
    judge = ClipJudge(options.reference, options.seconds)
    print(f"| sampler | {COLUMNS} | CPU s a clip |\n|{' --- |' * 6}")
    for text in options.samplers or (LATENT if isinstance(model, JBDiff) else TOKENS):
        print(timed_row(model, text, options, judge), flush=True)


if __name__ == "__main__":
    main()
