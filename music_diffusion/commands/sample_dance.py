"""`cli.py sample dance`: audio from Dance Diffusion alone, from nothing or from a file."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm

from audio import files as audio
from jbdiff.dance_module import Dance
from jbdiff.dance_sampling import sampler_named
from jbdiff.published import published_dance
from jbdiff.song_maker import Load

Save = Callable[[str, Iterable[Tensor], int], None]


def sample_dance(
    load: Load,
    save: Save,
    checkpoint: str,
    out: str = "samples",
    seconds: float | None = None,
    count: int = 4,
    sampler: str = "ddim",
    steps: int = 250,
    seed: int = 0,
    batch_size: int = 4,
    init_audio: str | None = None,
    init_strength: float = 0.5,
    sample_rate: int | None = None,
    accelerator: str = "auto",
) -> None:
    """Generate audio with Dance Diffusion, to OUT/sample_0.wav and so on.

    Args:
        load: rebuilds a model from a checkpoint
        save: writes audio [C, T] of a rate to a folder, one after another
        checkpoint: a checkpoint of fit, what export wrote, or a published file
        out: the folder that gets the WAV files and their spectrograms
        seconds: length of each file; the default is the initial audio's, or the model's window
        count: how many files
        sampler: ddim or iplms
        steps: the sampler's steps
        seed: the same seed gives the same audio
        batch_size: how many files are generated at once
        init_audio: a music file that what is made is to resemble
        init_strength: how much of it to keep: 0 nothing, 1 all of it
        sample_rate: of a published file, which doesn't say it
        accelerator: auto, cpu, gpu, …
    """
    if min(count, steps, batch_size) < 1:
        raise ValueError(
            f"count, steps and batch_size must be positive: {count, steps, batch_size}"
        )
    if seconds is not None and seconds <= 0 or not 0 <= init_strength <= 1:
        raise ValueError(
            "seconds must be positive and init_strength in [0, 1], "
            f"got {seconds} and {init_strength}"
        )
    sampler_named(sampler)
    module = load(checkpoint, accelerator, partial(build, sample_rate=sample_rate))
    if not isinstance(module, Dance):
        kind = type(module).__name__
        raise ValueError(f"sample dance takes a Dance checkpoint, this one is of {kind}")
    if sample_rate not in (None, module.sample_rate):
        raise ValueError(f"the checkpoint is of {module.sample_rate} Hz, not {sample_rate}")
    made = generate(
        module, seconds, count, sampler, steps, seed, batch_size, init_audio, init_strength
    )
    save(out, made, module.sample_rate)


def build(path: Path, sample_rate: int | None) -> Dance:
    if sample_rate is None:
        raise ValueError(
            f"{path} is a published file, which doesn't hold its rate: give --sample_rate, 48000 "
            "for glitch and jmann, 16000 for maestro, unlocked and honk, 44100 for Jukebox "
            "Diffusion's"
        )
    return published_dance(path, sample_rate)


@torch.inference_mode()
def generate(
    module: Dance,
    seconds: float | None,
    count: int,
    sampler: str,
    steps: int,
    seed: int,
    batch_size: int,
    init_audio: str | None,
    init_strength: float,
) -> Iterator[Tensor]:
    """Yield `count` passages [C, T]; a batch's size changes nothing in them."""
    net, rate = module.diffusion, module.sample_rate
    init = init_audio and audio.read(init_audio, sample_rate=rate, channels=net.io_channels)
    num_samples = module.window.length if init is None else init.shape[-1]
    if seconds is not None:
        num_samples = max(1, round(seconds * rate))
    length = max(net.min_length, -(-num_samples // net.multiple) * net.multiple)
    start = None
    if init is not None:
        part = init[:, :num_samples]
        start = pad(part, (0, length - part.shape[-1]))[None].to(module.device)
    with tqdm(desc="sampling", unit="step") as bar:
        for first in range(0, count, batch_size):

            def advance(done: int, of: int, batch: int = first // batch_size) -> None:
                bar.total = -(-count // batch_size) * of
                bar.update(batch * of + done - bar.n)

            indices = range(first, min(first + batch_size, count))
            draws = [torch.Generator().manual_seed(seed + i) for i in indices]
            noise = torch.stack([torch.randn(net.io_channels, length, generator=g) for g in draws])
            noise = noise.to(module.device)
            if start is None:
                made = module.generate(noise, steps, sampler, advance)
            else:
                whole = start.expand_as(noise)
                made = module.refine(whole, noise, steps, init_strength, sampler, advance)
            yield from made[..., :num_samples].cpu()
