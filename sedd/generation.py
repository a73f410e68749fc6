"""Audio from a trained SEDD: of any length, from nothing, after a prompt or inside one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad
from tqdm import tqdm

from audio import files as audio
from sedd.module import SEDD
from sedd.samplers import check_options, fill, sample

BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left"  # of the tokens to make
FADE = 441  # samples over which a prompt passes into what is made, on the prompt's side


@dataclass(frozen=True)
class Plan:
    """Which tokens are given and stay, and the audio they come from."""

    tokens: Tensor  # [1, L]
    keep: Tensor  # [1, L], true where a token stays
    original: Tensor | None = None  # [C, T], padded to the whole length
    num_samples: int | None = None  # where the audio ends, if before its last token does


def plan(
    module: SEDD,
    seconds: float,
    prompt: str | Path | None = None,
    regenerate: tuple[float, float] | None = None,
) -> Plan:
    """Plan `seconds` of new audio, alone or after a prompt, or a part of the prompt made anew.

    Raises ValueError for times that do not fit, AudioError for a prompt that can't be read.
    """
    codec, device = module.codec, module.device
    rate = codec.sample_rate / codec.hop  # tokens a second
    if seconds <= 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    new = max(1, round(seconds * rate))
    if prompt is None:
        if regenerate:
            raise ValueError("regenerate needs a prompt, the file that is repaired")
        empty = torch.zeros(1, new, dtype=torch.long, device=device)
        return Plan(empty, torch.zeros_like(empty, dtype=torch.bool))
    if regenerate:
        header = audio.probe(prompt)
        check_part(regenerate, header.num_samples / header.sample_rate)
    original = audio.read(prompt, sample_rate=codec.sample_rate)
    tokens = codec.encode(original[None].to(device))[:, 0]
    keep = torch.ones_like(tokens, dtype=torch.bool)
    if regenerate:
        start, stop = regenerate
        first = int(start * rate)
        keep[:, first : max(first + 1, round(stop * rate))] = False
    else:
        tokens, keep = pad(tokens, (0, new)), pad(keep, (0, new))
    whole = pad(original, (0, tokens.shape[1] * codec.hop - original.shape[-1]))
    return Plan(tokens, keep, whole, original.shape[-1] if regenerate else None)


def check_part(part: tuple[float, float], length: float) -> None:
    """Refuse a part that lies outside of a prompt; all in seconds."""
    start, stop = part
    if not 0 <= start < stop <= length:
        raise ValueError(
            f"regenerate needs 0 <= start < end <= {length:.2f} s, the prompt's length, "
            f"got {start} and {stop}"
        )


@torch.inference_mode()
def generate(
    module: SEDD,
    plan: Plan,
    count: int = 1,
    batch_size: int = 4,
    sampler: str = "analytic",
    steps: int = 128,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Give audio [C, T] after audio, `count` in all; what a prompt keeps is the prompt itself."""
    if count < 1 or batch_size < 1:
        raise ValueError(f"count and batch_size must be positive, got {count} and {batch_size}")
    check_options(module.graph, sampler, steps, temperature, top_p)
    generator = torch.Generator(module.device).manual_seed(seed)
    for first in range(0, count, batch_size):
        number = min(batch_size, count - first)
        desc, todo = f"sampling {first + 1}-{first + number} of {count}", int((~plan.keep).sum())
        with tqdm(desc=desc, total=todo, bar_format=BAR) as bar:

            def draw(given: Tensor, keep: Tensor, bar: tqdm = bar) -> Tensor:
                new = int((~keep[0]).sum())
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
                    on_step=lambda _, of: bar.update(min(new / of, bar.total - bar.n)),
                )

            tokens, keep = plan.tokens.expand(number, -1), plan.keep.expand(number, -1)
            tokens = fill(draw, tokens, keep, module.hparams.length)
        for made in module.codec.decode(tokens[:, None]).cpu():
            yield splice(made, plan, module.codec.hop)[:, : plan.num_samples]


def splice(made: Tensor, plan: Plan, hop: int) -> Tensor:
    """Put what was made [1, T] into the original [C, T], with short linear fades around it."""
    if plan.original is None:
        return made
    new = (~plan.keep).float().repeat_interleave(hop, dim=1).cpu()  # [1, T]
    new = avg_pool1d(pad(new, (FADE, FADE), mode="replicate"), 2 * FADE + 1, stride=1)
    share = (2 * new).clamp(max=1)  # reaches 1 at the border, falls to 0 within the prompt
    return plan.original.lerp(made.expand_as(plan.original), share.expand_as(plan.original))
