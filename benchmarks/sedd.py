"""SEDD's costs beside the originals': python -m benchmarks.sedd [--hidden 192 --blocks 4].

Medians of CPU time of runs that take turns: a training step, its peak memory in a process of its
own, and the samplers at many steps, beside SEDD's and MDLM's own steps (benchmarks.sedd_originals).
The last column is the ratio to the first of its kind.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import compare, compare_memory
from benchmarks.sedd_originals import (
    OriginalNet,
    mdlm_loss,
    mdlm_sample,
    sedd_loss,
    sedd_sample,
)
from sedd.ddit import DDiT
from sedd.graph import Absorb, Graph, Uniform
from sedd.noise import LogLinear
from sedd.objective import ScoreEntropy
from sedd.samplers import Analytic, FirstHitting, TokenSampler
from sedd.score_net import Conditioned

HEADS = 4
MDLM = {"normalise": True, "time_conditioning": False}
KINDS = {  # of networks: the original's, or options of ours
    "the original": sedd_loss,
    "ours": {},
    "MDLM": mdlm_loss,
    "ours, as MDLM": MDLM,
    "ours, uniform": {"scale_by_sigma": False},
}


def losses_of(kind: str, sizes: argparse.Namespace) -> Callable[[Tensor, Tensor], Tensor]:
    """Build a network and return its mean loss as a function of tokens [B, L] and times [B]."""
    made = KINDS[kind]
    if callable(made):
        net = OriginalNet(sizes.codes + 1, sizes.hidden, sizes.blocks, HEADS, 0.1)
        return partial(made, net)
    graph: Graph = Uniform(sizes.codes) if "uniform" in kind else Absorb(sizes.codes)
    net = DDiT(graph.dim, 1, sizes.hidden, sizes.blocks, HEADS, **made)
    objective = ScoreEntropy(graph, LogLinear())
    return lambda tokens, t: objective.losses(Conditioned(net), tokens[:, None], t).mean()


def stepper(kind: str, sizes: argparse.Namespace) -> Callable[[], None]:
    torch.manual_seed(0)
    loss = losses_of(kind, sizes)
    tokens = torch.randint(sizes.codes, (sizes.batch, sizes.length))
    times = torch.linspace(0.05, 0.95, sizes.batch)
    return lambda: loss(tokens, times).backward()


def alone(kind: str, sizes: argparse.Namespace) -> None:
    step = stepper(kind, sizes)
    for _ in range(2):  # the second keeps gradients beside its activations
        step()


class Counted(Conditioned):
    """Count the network's calls."""

    calls = 0

    def at(self, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
        Counted.calls += 1
        return super().at(x, sigma, where)


def ours_sample(net: DDiT, sampler: TokenSampler, shape: tuple[int, int], codes: int) -> int:
    """Sample tokens and return the network's calls."""
    Counted.calls = 0
    empty = torch.zeros(shape, dtype=torch.long)[:, None]
    sampler.sample(Counted(net), Absorb(codes), LogLinear(), empty, empty.bool())
    return Counted.calls


def samplers(sizes: argparse.Namespace) -> None:
    """Print calls and tokens per CPU second of the samplers at many steps."""
    shape, steps = (1, sizes.tokens), sizes.steps
    original = OriginalNet(sizes.codes + 1, sizes.hidden, sizes.blocks, HEADS, 0.0).eval()
    net, masks = (
        DDiT(sizes.codes + 1, 1, sizes.hidden, sizes.blocks, HEADS, **options).eval()
        for options in ({}, MDLM)
    )
    first = FirstHitting(min(steps, sizes.tokens))
    runs = {
        "the original, analytic": partial(sedd_sample, original, shape, steps),
        "MDLM, cached": partial(mdlm_sample, original, shape, steps),
        "ours, Analytic": partial(ours_sample, net, Analytic(steps), shape, sizes.codes),
        "ours, FirstHitting": partial(ours_sample, net, first, shape, sizes.codes),
        "ours, as MDLM, Analytic": partial(ours_sample, masks, Analytic(steps), shape, sizes.codes),
    }
    calls = {name: run() for name, run in runs.items()}
    taken = compare(f"{sizes.tokens} tokens, {steps}", runs, sizes.repeats)
    for name, count in calls.items():
        print(f"{'':20s} {name:36s} {count:5d} calls {sizes.tokens / taken[name]:9.0f} tokens/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--length", type=int, default=256, help="of a training step")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--codes", type=int, default=2048)
    parser.add_argument("--tokens", type=int, default=300, help="of a sample")
    parser.add_argument("--steps", type=int, default=1024, help="of the step samplers")
    parser.add_argument("--repeats", type=int, default=3)
    sizes = parser.parse_args()
    compare_memory("memory of a step", {kind: partial(alone, kind, sizes) for kind in KINDS})
    compare("a training step", {kind: stepper(kind, sizes) for kind in KINDS}, sizes.repeats)
    samplers(sizes)


if __name__ == "__main__":
    main()
