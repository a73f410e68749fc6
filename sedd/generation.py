"""Audio of any length around SEDD's sampler: from nothing, after a prompt, or inside one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from audio.fit_in import bridged, fit_in
from foundation.codec import Codec
from foundation.sampler import OnStep

AHEAD = 8  # tokens after a prompt's end that are encoded, of the prompt mirrored there
Draw = Callable[[Tensor, Tensor, OnStep], Tensor]  # a window's tokens and keep, both [B, K, L]


@dataclass(frozen=True)
class Plan:
    """Which tokens are given and stay, and the audio they come from."""

    tokens: Tensor  # [1, K, L]
    keep: Tensor  # [1, K, L], true where a token stays
    original: Tensor | None = None  # [C, T], padded to the whole length
    stays: Tensor | None = None  # [T], true where samples of it do
    num_samples: int | None = None  # where the audio ends, which may be before its last token does


def plan(
    codec: Codec,
    device: torch.device,
    seconds: float | None,
    prompt: Tensor | None = None,
    keep: Tensor | None = None,
) -> Plan:
    """Plan `seconds` of new audio, alone or after a prompt [C, T], or the repair of a prompt.

    Samples of the prompt stay where `keep` [T] is true; without it all do, and new ones follow.
    """
    added = 0 if seconds is None else max(1, round(seconds * codec.sample_rate))
    if prompt is None:
        length = -(-added // codec.hop)
        empty = torch.zeros(1, codec.num_codebooks, length, dtype=torch.long, device=device)
        return Plan(empty, torch.zeros_like(empty, dtype=torch.bool), num_samples=added)
    given = prompt.shape[-1]
    total = -(-(given + added) // codec.hop)
    stays = torch.ones(given, dtype=torch.bool) if keep is None else keep.detach().cpu()
    # a last token that isn't full stays in a repair, and is drawn anew in a continuation
    stays = pad(stays, (0, total * codec.hop - given), value=keep is not None)
    kept = stays.view(total, codec.hop).all(1)
    original = pad(prompt.detach().cpu(), (0, len(stays) - given))
    seen = min(len(stays), given + AHEAD * codec.hop)  # as far as kept tokens can see, and more
    heard = bridged(original, stays)
    tokens = codec.encode(heard[None, :, :seen].to(device))
    codec.check_encoded(tokens, seen)
    tokens = pad(tokens, (0, total - tokens.shape[-1]))
    return Plan(tokens, kept.to(device).expand_as(tokens), original, stays, given + added)


def windows(keep: Tensor, window: int) -> list[slice]:
    """List the windows that cover what keep [L] says to generate, each half a window further on."""
    keep, parts = keep.clone(), []
    while not keep.all():
        first = int((~keep).nonzero()[0])
        start = max(0, min(first - window // 2, len(keep) - window))
        parts.append(slice(start, start + window))
        keep[parts[-1]] = True
    return parts


def fill(
    draw: Draw, tokens: Tensor, keep: Tensor, window: int, steps: int, on_step: OnStep
) -> Tensor:
    """Draw what is not kept of tokens [B, K, L], window by window, given all that is there.

    `on_step` counts `steps` in each window, whether `draw` takes as many or fewer.
    """
    tokens, keep = tokens.clone(), keep.clone()
    parts = windows(keep[0].all(0), window)
    for number, part in enumerate(parts):

        def step(done: int, of: int, before: int = number * steps) -> None:
            on_step(before + done * steps // of, len(parts) * steps)

        tokens[..., part] = draw(tokens[..., part], keep[..., part], step)
        keep[..., part] = True
    return tokens


def splice(audio: Tensor, plan: Plan, sample_rate: int) -> Tensor:
    """Put generated audio [B, C, T] into the original; see `fit_in`."""
    if plan.original is not None and plan.stays is not None:
        device = audio.device
        original, stays = plan.original.to(device), plan.stays.to(device)
        audio = fit_in(original, audio, stays, sample_rate)
    return audio[..., : plan.num_samples]
