"""Audio files from a trained SEDD: of any length, from nothing, after a prompt or inside one."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from datamodules import audio
from sedd.module import SEDD
from sedd.sampler import sample


def generate_files(
    module: SEDD,
    out: Path,
    seconds: float,
    count: int,
    sampler: str,
    steps: int,
    temperature: float,
    top_p: float,
    seed: int,
    batch_size: int,
    prompt: str | None,
    regenerate: tuple[float, float] | None,
) -> None:
    """Write `count` files; the prompt, if any, is encoded and decoded as well."""
    if not isinstance(module, SEDD):
        raise ValueError(f"sample takes a SEDD checkpoint, this one holds {type(module).__name__}")
    if seconds <= 0 or count < 1 or batch_size < 1:
        raise ValueError("seconds, count and batch_size must be positive")
    codec, generator = module.codec, torch.Generator(module.device).manual_seed(seed)
    tokens, keep = layout(module, seconds, prompt, regenerate)
    for first in range(0, count, batch_size):
        number = min(batch_size, count - first)
        with tqdm(desc=f"sampling {first}-{first + number - 1}", unit="step") as bar:

            def draw(given: Tensor, keep: Tensor, bar: tqdm = bar) -> Tensor:
                return sample(
                    module.score,
                    module.graph,
                    module.noise,
                    steps=steps,
                    sampler=sampler,
                    temperature=temperature,
                    top_p=top_p,
                    prompt=given,
                    keep=keep,
                    generator=generator,
                    on_step=lambda done, total: bar.update(1),
                )

            with torch.inference_mode():
                filled = fill(
                    draw, tokens.expand(number, -1), keep.expand(number, -1), module.hparams.length
                )
                result = codec.decode(filled)
        for i, samples in enumerate(result):
            path = out / f"sample_{first + i}.wav"
            audio.write(path, samples.cpu(), codec.sample_rate)
    print(f"{count} files of {tokens.shape[1] * codec.hop / codec.sample_rate:.1f} s in {out}")


def layout(
    module: SEDD, seconds: float, prompt: str | None, regenerate: tuple[float, float] | None
) -> tuple[Tensor, Tensor]:
    """Lay out the tokens that are given and which stay: [1, L] each."""
    codec, device = module.codec, module.device
    rate = codec.sample_rate / codec.hop  # tokens a second
    if prompt is None:
        if regenerate:
            raise ValueError("regenerate needs a prompt, the file that is repaired")
        length = max(1, round(seconds * rate))
        return torch.zeros(1, length, dtype=torch.long, device=device), torch.zeros(
            1, length, dtype=torch.bool, device=device
        )
    given = codec.encode(audio.read(prompt, sample_rate=codec.sample_rate)[None].to(device))
    keep = torch.ones_like(given, dtype=torch.bool)
    if regenerate:
        start, stop = regenerate
        if not 0 <= start < stop <= given.shape[1] / rate:
            raise ValueError(
                f"regenerate needs 0 <= start < end <= {given.shape[1] / rate:.2f} s (the prompt's"
                f" length), got {start} and {stop}"
            )
        keep[:, round(start * rate) : round(stop * rate)] = False
        return given, keep
    more = max(1, round(seconds * rate))
    return torch.nn.functional.pad(given, (0, more)), torch.nn.functional.pad(keep, (0, more))


def fill(
    draw: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, keep: Tensor, window: int
) -> Tensor:
    """Draw what is not kept, window by window from the left, each after half a window of the last."""
    total = tokens.shape[1]
    while not keep.all():
        first = int((~keep[0]).nonzero()[0])
        start = max(0, min(first - window // 2, total - window))
        part = slice(start, start + window)
        tokens = tokens.clone()
        tokens[:, part] = draw(tokens[:, part], keep[:, part])
        keep = keep.clone()
        keep[:, part] = True
    return tokens
