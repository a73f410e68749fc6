"""How near each sampler comes to a law that is known exactly, by its steps.

    python -m benchmarks.oracle [--picture docs/img/oracle.png] [--count 2000] [--length 12]

Tokens are those of a hidden Markov model and of a language of two words, latents those of a mixture
of normal laws; the network is replaced by the exact conditionals, so all errors are the samplers'.
Prints a table of the total variation of triples of tokens and draws all curves.
"""

import argparse
from functools import partial

import torch

from benchmarks import known_mixture
from benchmarks.known_laws import HiddenMarkov, distance, sampled, sticky, two_words
from jbdiff.samplers import DDIM, DPM, IPLMS, Heun
from sedd.confidence import ConfidenceOrder
from sedd.graph import Absorb, Uniform
from sedd.hybrid import Hybrid
from sedd.noise import Geometric, LogLinear
from sedd.remasking import ReMDM
from sedd.samplers import Analytic, Euler, FirstHitting

EVEN = LogLinear()
TOKENS = {
    "FirstHitting": (FirstHitting, Absorb, EVEN),
    "ConfidenceOrder, noise 0": (partial(ConfidenceOrder, order_noise=0.0), Absorb, EVEN),
    "ConfidenceOrder": (ConfidenceOrder, Absorb, EVEN),
    "Analytic": (Analytic, Absorb, EVEN),
    "Analytic, cosine": (partial(Analytic, cosine=True), Absorb, EVEN),
    "Euler": (Euler, Absorb, EVEN),
    "ReMDM, cap 0.02": (ReMDM, Absorb, EVEN),
    "ReMDM, rescale 0.1": (partial(ReMDM, cap=1.0, rescale=0.1), Absorb, EVEN),
    "ReMDM, loop 0.5": (partial(ReMDM, cap=0.05, loop=0.5), Absorb, EVEN),
    "Analytic, uniform": (Analytic, Uniform, Geometric(1e-3, 6.0)),
    "Analytic, hybrid": (Analytic, Hybrid, Geometric(1e-3, 6.0)),
}
LATENTS = {"DDIM": DDIM, "DDIM, eta 1": partial(DDIM, eta=1.0), "Heun": Heun, "DPM": DPM}
LATENTS |= {"IPLMS": IPLMS}
LANGUAGES = {"hidden Markov model": sticky(), "two words": two_words()}
STEPS = (1, 2, 3, 6, 12, 24, 48, 96)
LATENT_STEPS = (4, 8, 16, 32, 64, 128)


def curve(name: str, language: HiddenMarkov, options: argparse.Namespace) -> list[list[float]]:
    """Measure single tokens, pairs and triples of a sampler at each number of steps."""
    sampler, kind, noise = TOKENS[name]
    graph, shape = kind(language.codebook_size), (options.count, 1, options.length)
    rows = []
    for steps in STEPS:
        generator = torch.Generator().manual_seed(steps)
        x = sampled(sampler(steps), language, graph, noise, shape, generator)[:, 0]
        rows.append([distance(x, language, length) for length in (1, 2, 3)])
    return rows


def chance(language: HiddenMarkov, options: argparse.Namespace) -> float:
    """Return the error of triples of as many true texts: what counting alone leaves."""
    draw = torch.Generator().manual_seed(0)
    return distance(language.texts(options.count, options.length, draw), language, 3)


def table(title: str, curves: dict[str, list[list[float]]], floor: float) -> None:
    """Print how far triples are off at each number of steps, and all runs at few of them."""
    print(f"\n{title}; true texts have {floor:.3f}\n")
    print(f"| steps | {' | '.join(map(str, STEPS))} |\n|" + " --- |" * (1 + len(STEPS)))
    for name, rows in curves.items():
        print(f"| {name} | {' | '.join(f'{row[2]:.3f}' for row in rows)} |", flush=True)
    print(f"\nsingle tokens, pairs and triples at {STEPS[2]} steps\n")
    for name, rows in curves.items():
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in rows[2])} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", default="docs/img/oracle.png")
    parser.add_argument("--count", type=int, default=2000, help="texts")
    parser.add_argument("--length", type=int, default=12, help="tokens of a text")
    options = parser.parse_args()
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for place, (title, language) in zip(axes, LANGUAGES.items(), strict=False):
        curves = {name: curve(name, language, options) for name in TOKENS}
        floor = chance(language, options)
        table(title, curves, floor)
        for number, (name, rows) in enumerate(curves.items()):
            style = ("-", "--", ":")[number // 4]
            place.loglog(STEPS, [row[2] for row in rows], style, marker=".", label=name)
        place.axhline(floor, color="grey", linewidth=0.8)
        place.axvline(options.length, color="grey", linewidth=0.8, linestyle=":")
        place.set_title(f"{title}, {options.length} tokens", loc="left")
        place.set_ylabel("triples: total variation from the law")
    print("\nmixture of normal laws: distance of quantiles\n")
    for name, sampler in LATENTS.items():
        errors = [known_mixture.distance(sampler(steps)) for steps in LATENT_STEPS]
        print(f"| {name} | {' | '.join(f'{error:.4f}' for error in errors)} |")
        calls = [2 * steps - 1 if name == "Heun" else steps for steps in LATENT_STEPS]
        axes[2].loglog(calls, errors, marker=".", label=name)
    axes[2].set_title("mixture of normal laws, by network calls", loc="left")
    axes[2].set_ylabel("distance of quantiles, deviations")
    for place in axes:
        place.set_xlabel("steps" if place is not axes[2] else "network calls")
        place.legend(fontsize=7)
    figure.savefig(options.picture, dpi=90)


if __name__ == "__main__":
    main()
