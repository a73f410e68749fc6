"""Jukebox Diffusion's costs, side by side: python -m benchmarks.jbdiff [--full --checkpoint FILE].

Prints, in CPU time and interleaved, a training step on audio against one on tokens at each level,
and a guided prediction in one call (contexts read once) against two calls that read them anew. With
a trained checkpoint also how far DDIM and DPM-Solver++ are from a 1000-step solution.
"""

import argparse
import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor

from jbdiff.module import JBDiff
from jbdiff.unet import UNet, velocity
from jbdiff.vdiffusion import ddim, dpm, falling_times, guided

TINY = dict(
    channels=(64, 96, 128),
    factors=(1, 2, 2),
    items=(1, 2, 2),
    attentions=(0, 0, 1),
    cross_attentions=(0, 1, 1),
    attention_heads=4,
    attention_features=32,
    modulation_features=256,
)


def compare(title: str, runs: dict[str, Callable[[], object]], repeats: int) -> None:
    """Run each in turn `repeats` times; print CPU seconds and ratios to the first."""
    spent = dict.fromkeys(runs, 0.0)
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.process_time()
            run()
            spent[name] += (time.process_time() - start) / repeats
    first = next(iter(spent.values()))
    for name, value in spent.items():
        print(f"{title:24s} {name:28s} {value:8.3f} s {value / first:6.2f}", flush=True)


def training_steps(level: int, net: Callable[[int, float], UNet], batch: int, repeats: int) -> None:
    module = JBDiff(level, net=net, base_tokens=256)
    window, hop = module.window, module.codec.hop
    noise = 0.1 * torch.randn(batch, 1, window.context + window.length)
    audio = {"context": noise[..., : window.context], "audio": noise[..., window.context :]}
    codes = {"tokens": torch.randint(2048, (batch, window.length // hop))}
    codes |= {"context": torch.randint(2048, (batch, window.context // hop))}
    codes |= {} if module.from_noise else {"lower": codes["tokens"].flip(1)}

    def step(given: dict[str, Tensor]) -> None:
        latents = module.latents(given)
        noise = torch.randn_like(latents["target"])
        module.losses(latents, noise, torch.rand(batch), 0.1).mean().backward()

    runs = {"on tokens": lambda: step(codes), "on audio": lambda: step(audio)}
    compare(f"level {level}, a step", runs, repeats)


@torch.no_grad()
def guidance(net: UNet, length: int, repeats: int) -> None:
    x, t = torch.randn(1, 64, length), torch.full((1,), 0.5)
    context = torch.randn(1, net.context_length, 64)
    one = guided(net, context, 3.0)

    def two() -> Tensor:
        plain = velocity(net, x, t, context)
        null = velocity(net, x, t, net.null_context(context))
        return null + 3 * (plain - null)

    compare("guided prediction", {"one call": lambda: one(x, t), "two calls": two}, repeats)


@torch.no_grad()
def solvers(path: str) -> None:
    """Relative distance to DDIM at 1000 steps, with guidance, after a real context."""
    module = JBDiff.load_from_checkpoint(path, map_location="cpu").eval()
    torch.manual_seed(0)
    tone = 0.3 * torch.sin(torch.arange(module.window.context) * 2 * torch.pi * 220 / 44100)
    context = module.encode(tone[None, None]).transpose(1, 2)
    noise = torch.randn(1, 64, module.base_tokens)
    v_fn = guided(module.net, context, module.hparams.demo_guidance)
    exact = ddim(v_fn, noise, falling_times(1000))
    for name, sampler, steps in (
        *(("DDIM", ddim, n) for n in (25, 50, 100, 250)),
        *(("DPM-Solver++(2M)", dpm, n) for n in (10, 15, 20, 25, 30)),
    ):
        error = (sampler(v_fn, noise, falling_times(steps)) - exact).norm() / exact.norm()
        print(f"{name:18s} {steps:4d} steps, distance to 1000: {error:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", help="a trained level, for the solvers")
    parser.add_argument("--full", action="store_true", help="the published size")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    sizes = {} if args.full else TINY

    def net(length: int, dropout: float) -> UNet:
        return UNet(length, dropout, **sizes)

    guidance(net(1536 if args.full else 512, 0.0).eval(), 768 if args.full else 256, args.repeats)
    for level in (2, 1, 0):
        training_steps(level, net, args.batch, args.repeats)
    if args.checkpoint:
        solvers(args.checkpoint)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
