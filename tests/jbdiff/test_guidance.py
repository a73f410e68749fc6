"""Levels are told conditions: without effect at first, each guides alone."""

from copy import deepcopy
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import nn

from foundation.conditions import Conditions
from foundation.control import Control
from foundation.errors import UserError
from jbdiff.guidance import guided
from jbdiff.module import JBDiff
from jbdiff.song_files import SongFolder
from jbdiff.song_maker import SongMaker
from jbdiff.song_sections import read_sections
from jbdiff.song_settings import LevelSettings, Song
from tests.codec.test_spectral import path  # noqa: F401 (a fixture)
from tests.jbdiff.test_level3 import FAST, model  # noqa: F401 (a fixture)
from tests.jbdiff.test_module import level

KNOWN = Conditions(["folder=a", "folder=b"], {"piano": 0.5}, tempo=True, key=True)
ASKED = Control("a", "piano=1", 120, "A minor", guidance=2)


@pytest.fixture
def told(model: JBDiff) -> JBDiff:  # noqa: F811
    """A level 3 that knows conditions, whose every weight is drawn."""
    model.condition_on(KNOWN)
    assert model.net.conditioner is not None
    nn.init.normal_(model.net.conditioner.labels, std=0.5)
    return model.eval()


@pytest.mark.parametrize("number", [2, 3])
def test_conditions_start_without_effect(number, model):  # noqa: F811
    made = model if number == 3 else level(2)
    before = made.generate(0.01, sampler=FAST)
    made.condition_on(KNOWN)
    assert torch.equal(
        made.eval().generate(0.01, sampler=FAST, cond=replace(ASKED, guidance=1)), before
    )


def test_a_guided_velocity_goes_on_from_each_prediction_without(told):
    net, (x, context) = deepcopy(told.net).double(), torch.randn(2, 2, 12, 16).double()
    t = torch.tensor([0.3, 0.6]).double()
    cond = KNOWN.cond(ASKED, 2)

    def v(context, cond):
        return guided(net, context, 1, cond=cond)(x, t)

    null = net.null_context(context)
    both, untold, alone = v(context, cond), v(context, None), v(null, cond)
    assert (both - untold).abs().max() > 1e-3
    wanted = both + 0.5 * (both - alone) + 2 * (both - untold)
    for scales, expected in (((1.5, 3), wanted), ((1, 0), untold)):
        made = guided(net, context, scales[0], cond=cond, cond_scale=scales[1])(x, t)
        torch.testing.assert_close(made, expected)


def test_a_level_trains_on_what_it_is_told_and_is_asked_for_it(told):
    batch = {"latents": torch.randn(2, 12, 16), "context": torch.randn(2, 12, 16)}
    times = torch.tensor([0.3, 0.6])
    losses = [
        told.losses(batch | {"cond": {"folder": folders}}, times, torch.Generator().manual_seed(0))
        for folders in (["a", "b"], ["a", "a"], ["a", ""])
    ]
    assert losses[0][0] == losses[1][0] == losses[2][0]
    assert len({float(loss[1]) for loss in losses}) == 3
    one = told.generate(0.05, sampler=FAST, cond=ASKED)
    other = told.generate(0.05, sampler=FAST, cond=Control("b", guidance=2))
    assert not torch.equal(one, other)
    with pytest.raises(UserError, match="no label 'c'"):
        told.generate(0.05, cond=Control("c"))


def test_a_level_without_conditions_says_so(model):  # noqa: F811
    with pytest.raises(UserError, match="JBDiff was trained without labels"):
        model.generate(0.01, cond=ASKED)
    with pytest.raises(UserError, match=r"JBDiff reads no metadata: leave out cond \['folder'\]"):
        model.generate(0.01, cond={"folder": ["a"]})


def test_parts_of_a_song_are_what_their_sections_ask_for(told, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(told, "told", lambda cond, count: seen.append(cond) or (None, 1.0))
    settings = LevelSettings("three.ckpt", FAST, 1.0)
    parts = [{"from": 0, "to": 0.2, "tags": "piano=1"}, {"from": 0.3, "label": "b", "guidance": 3}]
    song = Song(str(tmp_path), 0.75, "3", settings, sections=parts)
    maker = SongMaker(song, {"level_3": told}, cast("SongFolder", None))
    step, made = maker.passes["level_3"], []
    monkeypatch.setattr(
        told, "sample_latents", lambda noise, *_, cond, **__: made.append(cond) or noise
    )
    for _ in step.run(step.open(tmp_path / "part"), lambda *_: None):
        pass
    middles = [(i + 0.5) * step.window / told.sample_rate for i in range(step.windows)]
    for middle, cond in zip(middles, made, strict=True):
        if middle < 0.2:
            assert cond.amounts == {"piano": 1}
        else:
            assert (cond is None) == (middle < 0.3) and (cond is None or cond.guidance == 3)
    assert len(seen) == 2  # each was checked before anything was sampled


WRONG = [
    ([{"to": 3}], "from must be a number"),
    ([{"from": 0, "piano": 1}], "section 1 must be like"),
    ([{"from": 0, "to": 9}, {"from": 5}], "section 1: it must begin"),
    ([{"from": 0, "key": "H"}], "section 1: there is no key 'H'"),
]


@pytest.mark.parametrize(("parts", "message"), WRONG)
def test_a_wrong_section_is_named(parts, message):
    with pytest.raises(UserError, match=message):
        read_sections(parts)
