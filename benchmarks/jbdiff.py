"""Jukebox Diffusion's costs, side by side: python -m benchmarks.jbdiff [--checkpoint FILE].

Prints medians of CPU time of runs that take turns, and the peak memory of each in a process of its
own, weights included: the U-Net's training step and guided call beside those of the packages'
blocks, a training step on audio beside one on tokens at each level, and Dance Diffusion's calls per
second of audio beside the original's. The last column is the ratio to the first of its kind. With a
trained checkpoint of a level also how far DDIM and DPM-Solver++ are from a 1000-step solution.
Networks have the published sizes, or with --small those of configs/jbdiff_tiny.yaml.
"""

import argparse
from functools import partial

import torch
from torch import Tensor

from benchmarks import jbdiff_unet
from benchmarks.jbdiff_unet import Sizes, published_sizes
from benchmarks.measure import compare, compare_memory
from jbdiff.dance import DiffusionAttnUnet1D
from jbdiff.dance_module import Dance
from jbdiff.dance_pass import DancePass
from jbdiff.guidance import guided
from jbdiff.level_pass import Noise, Sampling
from jbdiff.module import JBDiff
from jbdiff.samplers import DDIM, DPM, LatentSampler, sample_from
from jbdiff.song_settings import DanceSettings
from jbdiff.unet import UNet
from jbdiff.vdiffusion import even_times
from music_diffusion.checkpoints.load import load_model

TINY: Sizes = dict(
    context_length=512,
    channels=(64, 96, 128),
    factors=(1, 2, 2),
    items=(1, 2, 2),
    attentions=(0, 0, 1),
    cross_attentions=(0, 1, 1),
    attention_heads=4,
    attention_features=32,
    modulation_features=256,
)
TINY_DANCE = dict(depth=6, n_attn_layers=0, c_mults=[32, 32, 64, 64, 128, 128])
ORIGINAL_HOP = 12288  # samples by which the original's Dance windows move on: 2 * 768 codes of 8
TOKENS, AUDIO = "on tokens", "on audio"


def level_module(level: int, sizes: Sizes) -> JBDiff:
    rest = {name: size for name, size in sizes.items() if name not in ("context_length", "dropout")}
    net = partial(UNet, **rest)
    return JBDiff(level, net=net, base_tokens=sizes["context_length"] // 2)


def level_batch(module: JBDiff, kind: str) -> dict[str, Tensor]:
    """One example of audio [1, 1, T], or of the tokens [1, 1, L] that training stores of it."""
    window, hop = module.window, module.codec.hop
    if kind == AUDIO:
        noise = 0.1 * torch.randn(1, 1, window.context + window.length)
        return {"context": noise[..., : window.context], "audio": noise[..., window.context :]}
    lengths = {"tokens": window.length // hop, "context": window.context // hop}
    codes = {name: torch.randint(2048, (1, 1, length)) for name, length in lengths.items()}
    return codes | ({} if module.from_noise else {"coarser": codes["tokens"].flip(-1)})


def level_step(module: JBDiff, batch: dict[str, Tensor]) -> None:
    module.zero_grad()
    module.losses(batch, torch.rand(1)).mean().backward()


def level_alone(level: int, kind: str, sizes: Sizes) -> None:
    module = level_module(level, sizes)
    for _ in range(2):
        level_step(module, level_batch(module, kind))


def levels(sizes: Sizes, repeats: int) -> None:
    for level in (2, 1, 0):
        module = level_module(level, sizes)
        runs = {
            kind: partial(level_step, module, level_batch(module, kind)) for kind in (TOKENS, AUDIO)
        }
        taken = compare(f"level {level}, a step", runs, repeats)
        share = 1 - taken[TOKENS] / taken[AUDIO]
        print(f"{'':20s} of a step on audio, {share:.0%} is encoding")


def levels_memory(sizes: Sizes) -> None:
    for level in (2, 1, 0):
        runs = {kind: partial(level_alone, level, kind, sizes) for kind in (TOKENS, AUDIO)}
        compare_memory(f"level {level}, a step", runs)


def dance_model(small: bool) -> Dance:
    net = partial(DiffusionAttnUnet1D, **TINY_DANCE) if small else DiffusionAttnUnet1D
    return Dance(net).eval()


@torch.no_grad()
def dance_call(model: Dance) -> None:
    model.velocity(torch.randn(1, 2, model.window.length), torch.full((1,), 0.5))


def dance_alone(small: bool) -> None:
    dance_call(dance_model(small))


def dance(small: bool, repeats: int, seconds: float) -> None:
    """Count and time network calls, for a song of so many seconds at the settings by default."""
    model, settings = dance_model(small), DanceSettings()
    sampling = Sampling(settings.sampler, settings.init_strength)
    num_samples = round(seconds * model.sample_rate)
    # it is only asked how many windows there are, and reads nothing
    ours = DancePass(model, sampling, num_samples, torch.zeros, Noise(), settings.crossfade)
    windows = {"ours": ours.windows, "the original": -(-num_samples // ORIGINAL_HOP)}
    call = compare("Dance, a call", {"1.49 s in stereo": partial(dance_call, model)}, repeats)
    (spent,) = call.values()
    print(f"Dance, {seconds:.0f} s of song, per second of audio:")
    for name, count in windows.items():
        rate = count * ours.calls / seconds
        print(
            f"{'':20s} {name:12s} {count:4d} windows of {ours.calls} calls: "
            f"{rate:5.1f} calls, {rate * spent:6.0f} CPU s {count / ours.windows:6.2f}"
        )


@torch.no_grad()
def solvers(path: str) -> None:
    """Relative distance to DDIM at 1000 steps, with guidance, after a real context."""
    module = load_model(path, "cpu")
    assert isinstance(module, JBDiff), f"{path} is of no level of Jukebox Diffusion"
    torch.manual_seed(0)
    tone = 0.3 * torch.sin(torch.arange(module.window.context) * 2 * torch.pi * 220 / 44100)
    context = module.codec.to_latents(tone[None, None])
    noise = torch.randn(1, 64, module.base_tokens)
    v_fn = guided(module.net, context, module.guidance)
    exact = sample_from(v_fn, noise, DDIM(1000), even_times)

    def error(name: str, sampler: LatentSampler) -> float:
        made = sample_from(v_fn, noise, sampler, even_times)
        distance = float((made - exact).norm() / exact.norm())
        print(f"{name:18s} {sampler.steps:4d} steps, distance to 1000: {distance:.4f}", flush=True)
        return distance

    wanted = [error("DDIM", DDIM(steps)) for steps in (25, 50, 100, 250)][-1]
    for steps in (10, 15, 20, 25, 30):
        if error("DPM-Solver++", DPM(steps)) <= wanted:
            print(f"{'':18s} no farther than DDIM at 250, in 1/{250 / steps:.1f} of its calls")
            return
    print(f"{'':18s} DDIM at 250 was closer than all of these")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", help="a trained level, for the solvers")
    parser.add_argument("--small", action="store_true", help="networks for a laptop")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a song, for Dance")
    args = parser.parse_args()
    torch.manual_seed(0)
    sizes = published_sizes() | (TINY if args.small else {})
    jbdiff_unet.memory(sizes)
    levels_memory(sizes)
    compare_memory("Dance, a call", {"1.49 s in stereo": partial(dance_alone, args.small)})
    jbdiff_unet.networks(sizes, args.repeats)
    levels(sizes, args.repeats)
    dance(args.small, args.repeats, args.seconds)
    if args.checkpoint:
        solvers(args.checkpoint)


if __name__ == "__main__":
    main()
