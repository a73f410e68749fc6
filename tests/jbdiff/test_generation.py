"""Audio from one level through `generate`: lengths, seeds, prompts, initial audio, repairs."""

from dataclasses import dataclass

import pytest
import torch

from foundation.errors import UserError
from jbdiff.generation import window_starts
from jbdiff.levels import JOIN
from jbdiff.samplers import DDIM, LatentSampler
from tests.jbdiff.test_module import level

FAST = DDIM(2)


def tone(num_samples: int) -> torch.Tensor:
    return 0.3 * torch.sin(2 * torch.pi * 220 * torch.arange(num_samples) / 44100)[None]


def test_lengths_are_those_asked_for_and_clips_have_seeds_of_their_own():
    model = level()
    assert model.generate(sampler=FAST).shape == (1, 1, model.window.length)
    both = model.generate(0.1, count=2, seed=5, sampler=FAST)
    assert both.shape == (2, 1, 4410) and not torch.equal(both[0], both[1])
    torch.testing.assert_close(
        model.generate(0.1, seed=6, sampler=FAST), both[1:], atol=1e-4, rtol=0
    )


def test_steps_are_counted_through_all_windows():
    seen = []
    level().generate(0.1, sampler=FAST, on_step=lambda *step: seen.append(step))
    assert seen == [(n, 6) for n in range(1, 7)]  # 4410 samples are three windows of 2048


class Mono(DDIM):
    """A sampler of somebody's that loses the batch."""

    def sample(self, *args):
        return super().sample(*args)[0]


class Silent(DDIM):
    """A sampler of somebody's that forgot to return."""

    def sample(self, *args):
        super().sample(*args)


@pytest.mark.parametrize(("kind", "got"), [(Mono, r"\[64, 16\]"), (Silent, "NoneType")])
def test_a_sampler_that_returns_something_else_is_told_by_its_name(kind, got):
    with pytest.raises(ValueError, match=rf"{kind.__name__}.sample must return .*, got {got}"):
        level().generate(sampler=kind(1))


@pytest.mark.parametrize("method", ["from_latents", "to_latents"])
@pytest.mark.parametrize("repaired", [True, False])
def test_a_codec_that_returns_something_else_is_told_by_its_name(repaired, method, monkeypatch):
    model, prompt = level(), tone(2048)
    kind, right = type(model.codec), getattr(type(model.codec), method)
    monkeypatch.setattr(kind, method, lambda self, x: right(self, x)[..., 1:])
    keep = torch.arange(2048) < 1024
    how = {"keep": keep} if repaired else {"seconds": 0.01}
    with pytest.raises(ValueError, match=rf"{kind.__name__}.{method} must return"):
        model.generate(prompt=prompt, sampler=DDIM(1), **how)
    if method == "from_latents" and repaired:
        batch = {"audio": prompt[None], "context": torch.zeros(1, 1, 2048)}
        with pytest.raises(ValueError, match=rf"{kind.__name__}.from_latents must return"):
            model.demo(batch, 1, 2048, torch.Generator())


def test_a_prompt_comes_first_and_is_the_context():
    model, prompt = level(), tone(6000).expand(2, -1)
    made = model.generate(0.05, prompt=prompt, sampler=FAST)
    assert made.shape == (1, 2, 6000 + 2205)
    assert torch.equal(made[0, :, :6000], prompt)  # all of it, in stereo
    assert not torch.equal(made[..., 6000:], model.generate(0.05, sampler=FAST))


def test_the_result_resembles_the_initial_audio_the_more_the_strength():
    model, init = level(), tone(4096)
    through = model.codec.from_latents(model.codec.to_latents(init[None]))
    distances = [
        (model.generate(init=init, strength=s, sampler=DDIM(4)) - through)[..., JOIN:].norm()
        for s in (0.0, 0.5, 1.0)
    ]
    assert distances[0] > distances[1] > distances[2]


def test_finer_levels_refine_the_coarser_levels_audio():
    fine = level(1)
    with pytest.raises(UserError, match="level 1 refines the audio of level 2: give that as init"):
        fine.generate(0.1)
    coarse = level().generate(0.05, sampler=FAST)[0]
    made = fine.generate(init=coarse, strength=0.5, sampler=FAST)
    assert made.shape[1:] == coarse.shape
    keep = torch.arange(coarse.shape[-1]) < 300
    with pytest.raises(UserError, match="only the coarsest level regenerates a part"):
        fine.generate(prompt=coarse, keep=keep)


@pytest.mark.parametrize("length", [1000, 6000])
def test_a_part_is_regenerated_and_the_rest_is_the_prompt(length):
    model, prompt = level(), tone(length)
    keep = torch.ones(length, dtype=torch.bool)
    keep[300:900] = False
    made = model.generate(prompt=prompt, keep=keep, count=2, sampler=FAST)
    assert made.shape == (2, 1, length)
    assert torch.equal(made[0][:, keep], prompt[:, keep])
    assert not torch.equal(made[0][:, ~keep], prompt[:, ~keep])
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize(
    "parts, expected",
    [
        ([(3, 5)], [2]),
        ([(8, 10)], [7]),
        ([(0, 20)], [0, 4, 8, 12, 16]),
        ([(2, 3), (15, 16)], [1, 14]),
    ],
)
def test_windows_cover_what_is_regenerated_with_as_much_on_both_sides(parts, expected):
    fixed = torch.ones(20, dtype=torch.bool)
    for start, stop in parts:
        fixed[start:stop] = False
    starts = window_starts(fixed, 4)
    covered = torch.zeros(20, dtype=torch.bool)
    for start in starts:
        covered[start : start + 4] = True
    assert (fixed | covered).all() and max(starts) <= 16
    assert starts == expected


@dataclass(frozen=True)
class OneCall(LatentSampler):
    """The smallest sampler: the first clean prediction."""

    steps: int = 1

    def sample(self, v_fn, x, times, generator=None, on_step=lambda done, total: None):
        alpha, sigma = torch.cos(times[0] * torch.pi / 2), torch.sin(times[0] * torch.pi / 2)
        on_step(1, 1)
        return alpha * x - sigma * v_fn(x, times[:1].expand(len(x)))


def test_a_sampler_of_ones_own_is_used():
    model = level(sampler=OneCall())
    assert torch.equal(model.generate(seed=1), model.generate(seed=1, sampler=OneCall()))
    torch.testing.assert_close(model.generate(seed=1), model.generate(seed=1, sampler=DDIM(1)))
