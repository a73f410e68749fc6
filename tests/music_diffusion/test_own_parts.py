"""Own parts that don't keep their contracts are told in a line before they are used."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

import music_diffusion as md
from foundation.codec import Codec
from foundation.errors import UserError
from jbdiff.samplers import DDIM
from metrics.embedding import Embedding
from metrics.embedding_names import make_embedding
from music_diffusion.commands.error_lines import clear, explain
from music_diffusion.own_parts import check_own_parts, check_own_sampler
from sedd.ddit import DDiT
from sedd.graph import Absorb
from sedd.module import SEDD
from sedd.noise import Geometric, LogLinear, Noise
from sedd.objective import ScoreEntropy
from sedd.samplers import FirstHitting


class Steps(Codec):
    """The level of each ten samples, in eight steps."""

    sample_rate, hop, codebook_size, fingerprint = 1005, 10, 8, "steps"

    def encode(self, audio: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(audio.mean(1), (0, -audio.shape[-1] % self.hop))
        levels = padded.unflatten(1, (-1, self.hop)).mean(2)
        return (4 + 4 * levels).clamp(0, 7).long()[:, None]

    def decode(self, tokens: Tensor) -> Tensor:
        return (tokens / 4 - 1).repeat_interleave(self.hop, -1)


class Nameless(Steps):
    fingerprint = None


class Long(Steps):
    def decode(self, tokens: Tensor) -> Tensor:
        return super().decode(tokens)[..., :-1]


class Flat(Steps):
    def encode(self, audio: Tensor) -> Tensor:
        return super().encode(audio)[:, 0]


class Without(Steps):
    hop = None


@dataclass(frozen=True)
class Line(Noise):
    end: float = 6.0
    slope: float = 6.0

    def sigma(self, t: Tensor) -> Tensor:
        return self.end * t

    def rate(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.slope)


@dataclass(frozen=True)
class Short(FirstHitting):
    def reverse(self, *args, **kwargs) -> Tensor:
        return super().reverse(*args, **kwargs)[..., 1:]


@dataclass(frozen=True)
class Masks(FirstHitting):
    def reverse(self, score_fn, graph, noise, x, free, draws, on_step) -> Tensor:
        return x


@dataclass(frozen=True)
class Still(FirstHitting):
    """FirstHitting under a name of one's own."""


@dataclass(frozen=True)
class Dull(DDIM):
    def sample(self, v_fn, x, times, generator=None, on_step=None) -> Tensor:
        return x / 0


class Levels(Embedding):
    name, sample_rate, dim, shortest, scale = "levels", 1000, 2, 1000, 1.0

    def examples(self, audio: Tensor) -> Tensor:
        return audio.unfold(-1, 1000, 1000)

    def embed(self, examples: Tensor) -> Tensor:
        return self.scale * torch.stack([examples.mean(-1), examples.std(-1)], -1)


class Lost(Levels):
    scale = float("nan")


class Wide(Levels):
    dim = 3


def model(codec: Codec | None = None, **parts: object) -> SEDD:
    def net(vocab_size: int, num_codebooks: int) -> DDiT:
        return DDiT(vocab_size, num_codebooks, 16, num_blocks=1, num_heads=2)

    return SEDD(codec or Steps(), Absorb, net=net, length=32, **parts)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: model(Nameless()), "Nameless.fingerprint must be a text, got None"),
        (lambda: model(Long()), r"Long.decode must return a tensor \[1, 1, 1010\]"),
        (lambda: model(Flat(), group=2), "Flat.encode must return int64 tokens"),
        (lambda: model(Without()), "Without.hop must be a whole number above 0, got None"),
        (lambda: model(noise=Line(0.01, 0.01)), "0.01: 99% of the tokens stay clean"),
        (lambda: model(noise=Geometric(1e-4, 0.5)), r"Geometric.sigma\(1\) must be 5 or more"),
        (lambda: model(noise=Line(6.0, 3.0)), "rate must be the derivative of a sigma that grows"),
        (lambda: model(noise=Line(float("nan"))), r"Line.sigma\(1\) must be"),
        (lambda: model(sampler=Short(4)), r"Short.reverse must return a tensor \[2, 1, 16\]"),
        (lambda: model(sampler=Masks(4)), "Masks.reverse must return int64 tokens from 0 to 7"),
    ],
)
def test_what_a_part_of_ones_own_lacks_is_told_before_training(make, message):
    with pytest.raises(UserError, match=message):
        check_own_parts(make())


def test_parts_that_keep_their_contracts_pass_and_leave_the_random_state(caplog):
    state = torch.get_rng_state()
    one = model(noise=Line(), sampler=Still(4))
    torch.set_rng_state(state)
    for noise in (Line(), LogLinear(), Geometric()):
        check_own_parts(one)
        one.noise = noise
    assert torch.equal(torch.get_rng_state(), state) and not caplog.messages
    one.noise = Line(2.0, 2.0)
    check_own_parts(one)
    assert "Line.sigma(1) is 2: sampling starts from pure noise" in caplog.text


def test_a_sampler_of_latents_is_tried_before_it_samples():
    with pytest.raises(UserError, match="Dull.sample must return a finite signal"):
        check_own_sampler(model(), Dull(4))


def test_an_embedding_is_tried_where_it_is_made():
    assert isinstance(make_embedding(Levels), Levels)
    for kind, message in ((Lost, r"\[2, 2\], not all finite"), (Wide, r"\[N, 3\], got \[2, 2\]")):
        with pytest.raises(UserError, match=message):
            make_embedding(kind)


def test_a_sampler_that_leaves_masks_is_named_from_python_too():
    with pytest.raises(UserError, match="Masks.reverse must return int64 tokens from 0 to 7"):
        model().generate(0.2, sampler=Masks(4))


class Scalar(ScoreEntropy):
    def losses(self, net, tokens, times, generator=None) -> Tensor:
        return super().losses(net, tokens, times, generator).mean()


def test_an_objective_returns_a_loss_of_each_example():
    batch = {"tokens": torch.zeros(2, 1, 32, dtype=torch.int64)}
    with pytest.raises(UserError, match=r"Scalar.losses must return .* \[2\], got \[\]"):
        model(objective=Scalar).losses(batch, torch.rand(2))


def test_wrong_tokens_and_names_of_codecs_are_refused_in_a_line():
    with pytest.raises(UserError, match="tokens must be int64, .* got torch.float32"):
        md.decode(torch.zeros(1, 1, 4), Steps())
    for call in (partial(md.encode, "music"), partial(md.decode, torch.zeros(1, 1, 4))):
        with pytest.raises(UserError, match="codec must be an instance, .* got 'spectral'"):
            call(codec="spectral")


class Half(Codec):
    fingerprint = "half"


@pytest.mark.parametrize("given", ["NestedArg(key='codec', val='x')", "{'codec': 'x'}"])
def test_a_class_that_lacks_a_method_is_told_as_part_of_a_model_too(given):
    parsers = f"""Parser key "model":
      - Problem with given class_path 'sedd.module.SEDD':
          Parser key "codec":
            - Expected an instantiatable class, but {__name__}.Half is abstract
      Given value: {given}"""
    assert clear(parsers).startswith(f"{__name__}.Half lacks decode and encode: a foundation.codec")


def test_a_class_that_lacks_a_method_is_told_where_it_is_made_later():
    with pytest.raises(TypeError) as raised:
        Half()
    line, status = explain(raised.value)
    assert line.startswith("Half lacks decode") and "encode" in line and status == 2


def test_an_embedding_that_lacks_an_attribute_is_told():
    class Dimless(Embedding):
        name, sample_rate, shortest = "dimless", 8000, 80

        def examples(self, audio):
            return audio[:, None]

        def embed(self, examples):
            return examples[:, :2]

    for choice in (Dimless, Dimless()):
        with pytest.raises(UserError, match="Dimless lacks dim, which an embedding must say"):
            make_embedding(choice)


def test_a_class_that_lacks_a_method_is_told_by_its_name():
    parsers = f"""Parser key "codec":
      - Expected an instantiatable class, but is abstract
      - Expected a <class 'NoneType'>
      Given value type: <class 'str'>
      Given value: {__name__}.Half
    """
    assert clear(parsers) == (
        f"{__name__}.Half lacks decode and encode: a foundation.codec.Codec must have them "
        "(docs/extending.md)"
    )
