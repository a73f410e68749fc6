"""A user's own parts, tried for an instant before hours pass, against docs/extending.md."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from codec.grouped import GroupedCodec
from foundation.audio_module import AudioModel
from foundation.codec import LATENTS, Codec
from foundation.errors import UserError
from foundation.returned import WrongReturnError, is_own, shape_of
from foundation.sampler import Sampler
from jbdiff.samplers import LatentSampler
from sedd.module import SEDD
from sedd.noise import Noise
from sedd.samplers import TokenSampler, check_clean

log = logging.getLogger(__name__)
CONTRACT = "(docs/extending.md)"
LEAST, ENOUGH = 1.0, 5.0  # sigma at t = 1: below the first, most tokens would stay clean
TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
APART = 0.05  # of a rate, how far it may be from the slope of sigma
LENGTH = 16  # positions that a sampler is tried on


def check_own_parts(model: AudioModel) -> None:
    """Try a model's own codec, noise and sampler; UserError where one doesn't keep its contract."""
    codec = getattr(model, "codec", None)
    if isinstance(codec, Codec) and is_own(inner := ungrouped(codec)):
        try_codec(inner)
    if isinstance(noise := getattr(model, "noise", None), Noise):
        try_noise(noise)
    check_own_sampler(model, getattr(model, "sampler", None))


def check_own_sampler(model: AudioModel, sampler: Sampler | None) -> None:
    """Try a sampler of the user's own with a network that says nothing."""
    if not is_own(sampler):
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad(), told_as_mistakes():
        if isinstance(sampler, TokenSampler) and isinstance(model, SEDD):
            try_token_sampler(sampler, model)
        elif isinstance(sampler, LatentSampler):
            try_latent_sampler(sampler)


@contextmanager
def told_as_mistakes() -> Iterator[None]:
    try:
        yield
    except WrongReturnError as error:
        raise UserError(f"{error} {CONTRACT}") from error


def ungrouped(codec: Codec) -> Codec:
    return codec.codec if isinstance(codec, GroupedCodec) else codec


@torch.no_grad()
def try_codec(codec: Codec) -> None:
    """Encode and decode a second of noise."""
    name, mark = type(codec).__name__, codec.fingerprint
    if not isinstance(mark, str) or not mark:
        raise UserError(f"{name}.fingerprint must be a text, got {mark!r} {CONTRACT}")
    device = next(codec.parameters(), torch.empty(0)).device
    generator = torch.Generator().manual_seed(0)
    audio = 0.1 * torch.randn(1, codec.channels, codec.sample_rate, generator=generator)
    for stream, made in codec.encode_streams(audio.to(device), codec.token_streams).items():
        codec.check_encoded(made, audio.shape[-1], stream)
        with told_as_mistakes():
            decode = codec.from_latents if stream == LATENTS else codec.decode
            codec.check_decoded(decode(made), made)


def try_noise(noise: Noise) -> None:
    """Look at the noise's end, and at its rate beside the slope of sigma."""
    name, step = type(noise).__name__, 1e-4
    t = torch.tensor(TIMES, dtype=torch.float64)
    with torch.no_grad():
        end = float(noise.sigma(torch.ones(1, dtype=torch.float64)))
        slope = (noise.sigma(t + step) - noise.sigma(t - step)) / (2 * step)
        rate = noise.rate(t)
    if not LEAST <= end < float("inf"):
        raise UserError(
            f"{name}.sigma(1) must be {ENOUGH:g} or more and finite, for sampling starts from pure "
            f"noise, got {end:.3g}: {torch.tensor(-end).exp():.0%} of the tokens stay clean "
            f"{CONTRACT}"
        )
    if not ((rate - slope).abs() <= APART * slope.abs()).all() or not (slope >= 0).all():
        raise UserError(
            f"{name}.rate must be the derivative of a sigma that grows; at t = "
            f"{', '.join(map(str, TIMES))} it is {listed(rate)}, the slope {listed(slope)} "
            f"{CONTRACT}"
        )
    if end < ENOUGH:
        log.warning("%s.sigma(1) is %.3g: sampling starts from pure noise, 5 or more", name, end)


def listed(values: torch.Tensor) -> str:
    return ", ".join(f"{value:.3g}" for value in values.tolist())


def try_token_sampler(sampler: TokenSampler, model: SEDD) -> None:
    """Sample a few tokens, of which the first is kept."""
    graph, codec = model.graph, model.codec
    tokens = torch.zeros(2, codec.num_codebooks, LENGTH, dtype=torch.int64)
    keep = torch.zeros_like(tokens, dtype=torch.bool)
    keep[..., 0] = True
    made = sampler.sample(
        lambda x, sigma: torch.zeros(*x.shape, graph.dim), graph, model.noise, tokens, keep
    )
    check_clean(sampler, made, codec.codebook_size)
    if not torch.equal(made[..., 0], tokens[..., 0]):
        raise UserError(
            f"{type(sampler).__name__}.reverse must leave the tokens that aren't free {CONTRACT}"
        )


def try_latent_sampler(sampler: LatentSampler) -> None:
    """Sample a little signal from noise, with a velocity of 0."""
    x, times = torch.randn(2, 4, LENGTH), torch.linspace(1, 0.1, max(1, sampler.steps))
    made = sampler.sample(lambda x, t: torch.zeros_like(x), x, times)
    got = shape_of(made)
    if got != list(x.shape) or not made.isfinite().all():
        raise UserError(
            f"{type(sampler).__name__}.sample must return a finite signal {list(x.shape)} like the "
            f"noise, got {got} {CONTRACT}"
        )
