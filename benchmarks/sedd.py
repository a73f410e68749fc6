"""SEDD's costs beside the originals': python -m benchmarks.sedd [--hidden 192 --blocks 4].

What a training step keeps for its backward pass, and its peak memory in a process of its own; then
medians of CPU time of runs that take turns: the step, and the samplers at many steps, beside SEDD's
and MDLM's own (benchmarks.sedd_originals).
The last column is the ratio to the first of its kind.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.measure import compare, compare_memory, kept
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
from sedd.objective import Objective, ScoreEntropy, Subs
from sedd.samplers import Analytic, FirstHitting, TokenSampler
from sedd.score_net import Conditioned, ScoreFn

HEADS = 4
ORIGINALS: dict[str, Callable[[OriginalNet, Tensor, Tensor], Tensor]] = {
    "the original": sedd_loss,
    "MDLM": mdlm_loss,
}
OURS: dict[str, tuple[type[Graph], type[Objective]]] = {
    "ours": (Absorb, ScoreEntropy),
    "ours, Subs": (Absorb, Subs),
    "ours, uniform": (Uniform, ScoreEntropy),
}
KINDS = ("the original", "ours", "MDLM", "ours, Subs", "ours, uniform")


Loss = Callable[[Tensor, Tensor], Tensor]


def losses_of(kind: str, sizes: argparse.Namespace) -> tuple[nn.Module, Loss]:
    """Build a network; return it and its mean loss as a function of tokens [B, L], times [B]."""
    if kind in ORIGINALS:
        net = OriginalNet(sizes.codes + 1, sizes.hidden, sizes.blocks, HEADS, 0.1)
        return net, partial(ORIGINALS[kind], net)
    graph_type, objective_type = OURS[kind]
    graph = graph_type(sizes.codes)  # pyright: ignore[reportCallIssue]
    objective = objective_type(graph, LogLinear())
    net = network(sizes, graph, time_conditioning=kind != "ours, Subs")
    return net, lambda tokens, t: objective.losses(Conditioned(net), tokens[:, None], t).mean()


def network(sizes: argparse.Namespace, graph: Graph, time_conditioning: bool = True) -> DDiT:
    return DDiT(
        graph.dim, 1, sizes.hidden, sizes.blocks, HEADS, scale_by_sigma=graph.mask_id is not None,
        time_conditioning=time_conditioning,
    )  # fmt: skip


def stepper(kind: str, sizes: argparse.Namespace) -> tuple[nn.Module, Callable[[], Tensor]]:
    """Return a network and its loss on tokens that are the same for all kinds."""
    torch.manual_seed(0)
    net, loss = losses_of(kind, sizes)
    tokens = torch.randint(sizes.codes, (sizes.batch, sizes.length))
    times = torch.linspace(0.05, 0.95, sizes.batch)
    return net, partial(loss, tokens, times)


def step_of(kind: str, sizes: argparse.Namespace) -> Callable[[], None]:
    _, loss = stepper(kind, sizes)
    return lambda: loss().backward()


def kept_by(kind: str, sizes: argparse.Namespace) -> float:
    """Return what a step keeps for its backward pass, in MiB."""
    net, loss = stepper(kind, sizes)
    return kept(loss, net.parameters())


def alone(kind: str, sizes: argparse.Namespace) -> None:
    step = step_of(kind, sizes)
    for _ in range(2):  # the second has gradients beside its activations
        step()


class Counted(Conditioned):
    """Count the network's calls."""

    calls = 0

    def at(self, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
        Counted.calls += 1
        return super().at(x, sigma, where)


def ours_sample(score_fn: ScoreFn, graph: Graph, sampler: TokenSampler, tokens: int) -> int:
    """Sample tokens and return the network's calls."""
    Counted.calls = 0
    empty = torch.zeros(1, 1, tokens, dtype=torch.long)
    sampler.sample(score_fn, graph, LogLinear(), empty, empty.bool())
    return Counted.calls


def samplers(sizes: argparse.Namespace) -> None:
    """Print calls and tokens per CPU second of the samplers at many steps."""
    shape, steps = (1, sizes.tokens), sizes.steps
    original = OriginalNet(sizes.codes + 1, sizes.hidden, sizes.blocks, HEADS, 0.0).eval()
    graph = Absorb(sizes.codes)
    plain = Counted(network(sizes, graph).eval())
    timeless = Counted(network(sizes, graph, time_conditioning=False).eval())
    subs = Subs(graph, LogLinear()).log_score(plain)
    ours = {
        "ours, Analytic": (plain, Analytic(steps)),
        "ours, Analytic, no time": (timeless, Analytic(steps)),
        "ours, Subs, Analytic": (subs, Analytic(steps)),
        "ours, FirstHitting (default)": (plain, FirstHitting(min(steps, sizes.tokens))),
    }
    runs = {
        "the original, analytic": partial(sedd_sample, original, shape, steps),
        "MDLM, cached": partial(mdlm_sample, original, shape, steps),
    }
    for name, (score_fn, sampler) in ours.items():
        runs[name] = partial(ours_sample, score_fn, graph, sampler, sizes.tokens)
    calls = {name: run() for name, run in runs.items()}
    taken = compare(f"{sizes.tokens} tokens, {steps}", runs, sizes.repeats)
    for name, count in calls.items():
        print(f"{'':20s} {name:36s} {count:5d} calls {sizes.tokens / taken[name]:9.0f} tokens/s")


def memory(sizes: argparse.Namespace) -> None:
    """Print what a step keeps for its backward pass, and its peak with weights and gradients."""
    first = kept_by(KINDS[0], sizes)
    for kind in KINDS:
        value = kept_by(kind, sizes)
        print(
            f"{'kept of a step':20s} {kind:36s} {value:6.1f} MiB {value / first:7.2f}", flush=True
        )
    compare_memory("memory of a step", {kind: partial(alone, kind, sizes) for kind in KINDS})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--length", type=int, default=256, help="of a training step")
    parser.add_argument("--memory-length", type=int, default=1024, help="of a step weighed")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--codes", type=int, default=2048)
    parser.add_argument("--tokens", type=int, default=300, help="of a sample")
    parser.add_argument("--steps", type=int, default=1024, help="of the step samplers")
    parser.add_argument("--repeats", type=int, default=3)
    sizes = parser.parse_args()
    memory(argparse.Namespace(**vars(sizes) | {"length": sizes.memory_length}))
    compare("a training step", {kind: step_of(kind, sizes) for kind in KINDS}, sizes.repeats)
    samplers(sizes)


if __name__ == "__main__":
    main()
