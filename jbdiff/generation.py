"""Audio from one level: after a prompt, like an initial audio, or inside a prompt."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from audio.fit_in import bridged, fit_in
from foundation.batch import Cond
from foundation.control import Control
from foundation.errors import UserError
from foundation.sampler import OnStep
from jbdiff.levels import join_length
from jbdiff.noise_paths import base_noise
from jbdiff.request import length_in_samples, with_channels
from jbdiff.samplers import LatentSampler, sample_from
from jbdiff.vdiffusion import draw_like, even_times, inpainted

if TYPE_CHECKING:
    from jbdiff.level_pass import LevelModel
    from jbdiff.module import JBDiff

Asked = Control | Cond | None  # what the music is to be like
EDGE = 4  # latents whose codes depend on what comes before or after them


def sample_windows(
    model: "JBDiff",
    context: Tensor,
    noises: Iterable[Tensor],
    inits: Iterable[Tensor | None],
    strength: float,
    cond: Asked,
    sampler: LatentSampler | None,
    generators: list[torch.Generator] | None,
    on_step: OnStep,
) -> Tensor:
    """Sample latents [B, D, N L] in N windows, each after the ones before it.

    `context` [B, D, M] is what comes before the first; `noises` and `inits` are [B, D, L].
    """
    windows: list[Tensor] = []
    for noise, init in zip(noises, inits, strict=True):
        windows.append(
            model.sample_latents(
                noise, context, init=init, strength=strength, cond=cond, sampler=sampler,
                generator=generators, on_step=on_step,
            )
        )  # fmt: skip
        context = torch.cat([context, windows[-1]], dim=-1)[..., -context.shape[-1] :]
    return torch.cat(windows, dim=-1)


def continue_audio(
    model: "JBDiff",
    seconds: float | None,
    count: int,
    prompt: Tensor | None,
    init: Tensor | None,
    strength: float,
    cond: Asked,
    sampler: LatentSampler,
    seed: int,
    on_step: OnStep,
) -> Tensor:
    """Generate audio [count, C, T], after a prompt [C, Tp] where there is one: it is T's start.

    Each window's context is the latents before it. At levels finer than the coarsest, `init` is
    the coarser level's audio, whose latents take the place of the noise as well.

    Raises:
        UserError: if a finer level is given no `init`, or `init` is shorter than `seconds`
    """
    check_start(model, init)
    num_samples = length_in_samples(seconds, init, model.window.length, model.sample_rate)
    windows = -(-num_samples // model.window.length)
    codec = model.codec
    earlier = torch.zeros(codec.channels, 0) if prompt is None else prompt.detach().float().cpu()
    heard = encode_end(model, with_channels(earlier, codec.channels)).expand(count, -1, -1)
    refined = [] if init is None else encode_windows(model, init, windows, count)
    noises = draw_noises(model, count, windows, seed) if model.from_noise else refined
    latents = sample_windows(
        model,
        model.fill_context(heard),
        noises,
        refined or [None] * windows,
        strength,
        cond,
        sampler,
        clip_generators(count, seed),
        in_all(on_step, windows),
    )
    joined = min(join_length(codec.hop) // codec.hop, heard.shape[-1])
    kept = heard.shape[-1] if codec.continuous else joined  # phases follow from what came before
    again = heard[..., heard.shape[-1] - kept :]
    latents = torch.cat([again, latents], dim=-1)
    made = codec.check_decoded(codec.from_latents(latents), latents).cpu()
    made = made[..., : kept * codec.hop + num_samples]
    return append(earlier, made, num_samples, model.sample_rate, level=init is None)


def append(
    earlier: Tensor, made: Tensor, num_samples: int, sample_rate: int, level: bool
) -> Tensor:
    """Append the last `num_samples` of made [B, D, N] to audio [C, T], whose end is before them."""
    overlap = min(earlier.shape[-1], made.shape[-1] - num_samples)
    start = earlier.shape[-1] - overlap
    original = pad(earlier[:, start:], (0, num_samples))
    keep = torch.arange(original.shape[-1]) < overlap
    end = fit_in(original, made[..., -original.shape[-1] :], keep, sample_rate, level)
    return torch.cat([earlier[:, :start].expand(len(end), end.shape[1], -1), end], dim=-1)


def check_start(model: "JBDiff", init: Tensor | None) -> None:
    """Raise UserError for a level that has nothing to start from."""
    if init is None and not model.from_noise:
        raise UserError(
            f"level {model.level} refines the audio of level {model.level + 1}: give that as "
            "init, or make a song with all levels"
        )


def regenerate_audio(
    model: "JBDiff",
    prompt: Tensor,
    keep: Tensor,
    count: int,
    cond: Asked,
    sampler: LatentSampler,
    seed: int,
    on_step: OnStep,
) -> Tensor:
    """Regenerate audio [C, T] where `keep` [T] is false; what is kept is equal.

    Windows are placed around what is regenerated, so that the network sees what follows it.

    Raises:
        UserError: at levels finer than the coarsest
    """
    if not model.from_noise:
        raise UserError(f"only the coarsest level regenerates a part, this is level {model.level}")
    prompt, keep = prompt.detach().float().cpu(), keep.detach().cpu()
    audio = with_channels(bridged(prompt, keep), model.codec.channels)
    size, hop = model.base_tokens, model.codec.hop
    tokens = max(size, -(-audio.shape[-1] // hop))
    padding = (0, tokens * hop - audio.shape[-1])
    fixed = pad(keep, padding, value=True).view(tokens, hop).all(dim=1).to(model.device)
    latents = model.codec.latents_of(pad(audio, padding).to(model.device)).repeat(count, 1, 1)
    starts, generators = window_starts(fixed, size), clip_generators(count, seed)
    advance = in_all(on_step, len(starts))
    for start in starts:
        regenerate_window(model, latents, fixed, start, cond, sampler, generators, advance)
    made = model.codec.check_decoded(model.codec.from_latents(latents), latents).cpu()
    return fit_in(prompt, made[..., : audio.shape[-1]], keep, model.sample_rate)


def regenerate_window(
    model: "JBDiff",
    latents: Tensor,
    fixed: Tensor,
    start: int,
    cond: Asked,
    sampler: LatentSampler,
    generators: list[torch.Generator],
    on_step: OnStep,
) -> None:
    """Regenerate a window of latents [B, D, L] in place, except those that are fixed [L]."""
    place = slice(start, start + model.base_tokens)
    context = model.fill_context(latents[..., :start])
    known = latents[..., place].clone()
    v_fn = inpainted(model.v_fn(context, cond=cond), known, fixed[None, None, place])
    latents[..., place] = sample_from(
        v_fn, draw_like(known, generators), sampler, even_times,
        generator=generators, on_step=on_step,
    )  # fmt: skip
    fixed[place] = True


def window_starts(fixed: Tensor, window: int) -> list[int]:
    """Place windows on tokens [L] that together cover those that aren't fixed, from left to right.

    Each has as much after what it regenerates as before it.
    """
    left, starts = ~fixed, []
    while left.any():
        first = int(left.nonzero()[0])
        length = int(left[first : first + window].nonzero()[-1]) + 1
        start = max(0, min(first - (window - length) // 2, len(left) - window))
        left[start : start + window] = False
        starts.append(start)
    return starts


def encode_end(model: "LevelModel", audio: Tensor) -> Tensor:
    """Encode the last samples of audio [1, C, T] as context [1, D, N], N at most the context's M.

    Continuous latents are those of whole hops of it, with the audio mirrored at its end, which
    isn't the end of the music; others come after silence if it is short, so that there are M.
    """
    codec, length = model.codec, model.context_tokens
    if not codec.continuous:
        audio = audio[..., -length * codec.hop :]
        silence = length * codec.hop - audio.shape[-1]
        return codec.latents_of(pad(audio, (silence, 0)).to(model.device))
    whole = min(audio.shape[-1] // codec.hop, length + EDGE)
    if not whole:
        return torch.zeros(1, codec.latent_dim or 0, 0, device=model.device)
    heard = audio[..., audio.shape[-1] - whole * codec.hop :]
    mirrored = torch.cat([heard, heard.flip(-1)[..., : EDGE * codec.hop]], dim=-1)
    return codec.latents_of(mirrored.to(model.device))[..., :whole][..., -length:]


def encode_windows(model: "JBDiff", audio: Tensor, windows: int, count: int) -> list[Tensor]:
    """Encode audio [C, T], followed by silence, as latents [count, D, L] of each window."""
    length = windows * model.window.length
    audio = with_channels(audio, model.codec.channels)[..., :length]
    latents = model.codec.latents_of(pad(audio, (0, length - audio.shape[-1])).to(model.device))
    return list(latents.expand(count, -1, -1).split(model.base_tokens, dim=-1))


def draw_noises(model: "JBDiff", count: int, windows: int, seed: int) -> Iterator[Tensor]:
    """Draw the noise [B, D, L] of each window; clip i has the seed `seed + i`."""
    size, channels = model.base_tokens, model.codec.latent_dim or 0
    paths = [base_noise(channels, size, windows, "random", seed=seed + i) for i in range(count)]
    for noises in zip(*paths, strict=True):
        yield torch.cat(noises).to(model.device)


def clip_generators(count: int, seed: int) -> list[torch.Generator]:
    """Make a generator for each clip."""
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


def in_all(on_step: OnStep, windows: int) -> OnStep:
    """Return an on_step that counts the steps of this many windows through."""
    done = 0

    def advance(_: int, total: int) -> None:
        nonlocal done
        done += 1
        on_step(done, windows * total)

    return advance
