"""SEDD's costs, side by side: python -m benchmarks.sedd [--hidden 192 --blocks 4 --length 256].

Prints a training step, and tokens per second of each sampler by its steps, in CPU time where
there is no GPU, interleaved so that a busy machine slows all alike.
"""

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial

import torch

from sedd.ddit import DDiT
from sedd.graph import Absorb, Uniform
from sedd.noise import LogLinear
from sedd.samplers import Analytic, Euler, FirstHitting


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--codes", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(0)
    graph, noise = Absorb(args.codes), LogLinear()
    uniform = Uniform(args.codes)
    net = DDiT(graph.dim, 1, args.hidden, args.blocks, 4, dropout=0.0)
    flat = DDiT(uniform.dim, 1, args.hidden, args.blocks, 4, dropout=0.0, scale_by_sigma=False)
    tokens = torch.randint(args.codes, (args.batch, 1, args.length))
    nothing = torch.zeros_like(tokens, dtype=torch.bool)

    def step() -> None:
        sigma = noise.sigma(torch.linspace(0.1, 0.9, args.batch))
        x_t = graph.perturb(tokens, sigma)
        graph.score_entropy(net(x_t, sigma), sigma, x_t, tokens).mean().backward()

    @torch.no_grad()
    def forward() -> None:
        net(tokens, noise.sigma(torch.full((args.batch,), 0.5)))

    runs: dict[str, Callable[[], object]] = {"network call": forward, "training step": step}
    for steps in (32, 128):
        for kind in (Analytic, Euler, FirstHitting):
            runs[f"{kind.__name__} {steps}"] = partial(
                kind(steps).sample, net, graph, noise, tokens, nothing
            )
        runs[f"uniform Analytic {steps}"] = partial(
            Analytic(steps).sample, flat, uniform, noise, tokens, nothing
        )
    forward()
    step()
    spent = dict.fromkeys(runs, 0.0)
    for _ in range(args.repeats):
        for name, run in runs.items():
            spent[name] += seconds(run) / args.repeats
    print(f"batch {args.batch} x {args.length} tokens, hidden {args.hidden}, {args.blocks} blocks")
    print(f"{'':22s} {'CPU s':>8s} {'in network calls':>17s} {'tokens/s':>9s}")
    for name, value in spent.items():
        rate = tokens.numel() / value
        print(f"{name:22s} {value:8.3f} {value / spent['network call']:17.1f} {rate:9.0f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
