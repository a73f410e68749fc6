"""What is asked for is read, checked against what a model knows, and embedded."""

import math

import pytest
import torch
from torch import nn

from foundation.batch import beside_none, take
from foundation.conditioner import ConditionalNet, Conditioner, on_scale
from foundation.conditions import Conditions, read_conditions
from foundation.control import Control
from foundation.errors import UserError
from foundation.musical_key import KEYS, key_number

LABELS = ["folder=jazz", "folder=rock", "mood=calm", "mood=rock"]
KNOWN = Conditions(LABELS, {"piano": 0.5, "drums": 0.8}, tempo=True, key=True)


class Net(ConditionalNet):
    modulation_size = 6

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)


def numbers(cond, name) -> torch.Tensor:
    values = cond[name]
    assert isinstance(values, torch.Tensor)
    return values


def conditioner_of(net: Net) -> Conditioner:
    assert net.conditioner is not None
    return net.conditioner


@pytest.mark.parametrize(
    ("text", "key"),
    [("A minor", "A minor"), ("Bb", "A# major"), ("f# min", "F# minor"), ("Cm", "C minor")],
)
def test_keys_are_read_as_they_are_written(text, key):
    assert KEYS[key_number(text)] == key == Control(key=text).key


def test_a_control_is_read_from_texts_as_from_values():
    text = Control("mood=calm", "piano=0.5, drums", 120, "Am")
    values = Control({"mood": "calm"}, {"piano": 0.5, "drums": 1}, 120.0, "A minor")
    assert (text.labels, text.amounts, text.key) == (values.labels, values.amounts, values.key)
    assert text.asks and not Control(guidance=3).asks


MISTAKES = [
    ({"tags": "piano=loud"}, "tags piano must be from 0 to 1"),
    ({"tags": "piano=,"}, "name=value"),
    ({"label": "mood="}, "label must be like"),
    ({"tempo": 3}, "10 to 1000"),
    ({"key": "H major"}, "no key 'H major'"),
    ({"guidance": -1}, "guidance must be at least 0"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_what_cant_be_read_is_named(options, message):
    with pytest.raises(UserError, match=message):
        Control(**options)


UNKNOWN = [
    (Control("jaz"), "no label 'jaz', did you mean jazz"),
    (Control("rock"), "give folder=rock or mood=rock"),
    (Control("genre=rock"), "no field of labels 'genre', this model knows folder, mood"),
    (Control(tags="pianos=1"), "no tag 'pianos', did you mean piano"),
]


@pytest.mark.parametrize(("control", "message"), UNKNOWN)
def test_what_a_model_doesnt_know_is_named_with_what_it_does(control, message):
    with pytest.raises(UserError, match=message):
        KNOWN.cond(control, 1)
    with pytest.raises(UserError, match="without"):
        Conditions(["folder=a"]).cond(Control(tags="piano=1"), 1)
    with pytest.raises(UserError, match=r"without tempo, but with folder \(a\)"):
        Conditions(["folder=a"]).cond(Control(tempo=120), 1)


def test_what_is_asked_for_becomes_metadata():
    cond = KNOWN.cond(Control("jazz", "drums=0.5", 90, "C"), 2)
    assert cond["folder"] == ["jazz", "jazz"] and "mood" not in cond
    tags = torch.tensor([[math.nan, 0.4]] * 2)
    torch.testing.assert_close(cond["tags"], tags, equal_nan=True)
    assert numbers(cond, "tempo").tolist() == [90] * 2
    assert numbers(cond, "key").argmax(1).tolist() == [3, 3]


def test_conditions_of_a_file_are_checked():
    assert read_conditions(KNOWN.as_dict, "f") == KNOWN
    wrong = [[], {"labels": ["a"]}, {"labels": [1]}, {"tags": {"a": -1.0}}, {"tags": {"a": "b"}}]
    for plain in [*wrong, {"other": 1}, {"labels": ["a=b", "a=b"]}]:
        with pytest.raises(UserError, match="f holds conditions that can't be read"):
            read_conditions(plain, "f")


def conditioner() -> Conditioner:
    torch.manual_seed(0)
    made = Conditioner(KNOWN, 6).eval()
    for vectors in made.parameters():
        nn.init.normal_(vectors)
    return made


def test_each_condition_has_its_own_effect_and_an_unknown_label_none():
    made = conditioner()
    controls = [Control("jazz"), Control("mood=calm"), Control(tags="piano=1"), Control(tempo=99),
                Control(key="D"), Control(tags="piano=0")]  # fmt: skip
    added = [made(KNOWN.cond(control, 1), 1) for control in controls]
    nothing = made(None, 1)
    for i, one in enumerate([*added, nothing]):
        assert all((one - other).abs().max() > 1e-3 for other in added[:i])
    assert torch.equal(made({"folder": ["other"], "mood": [""]}, 1), nothing)
    batch = {"folder": ["jazz", "x"], "tags": torch.full((2, 2), math.nan)}
    torch.testing.assert_close(made(batch, 2), torch.cat([added[0], nothing]))


def test_training_leaves_out_all_often_enough_and_any_few_too():
    made = conditioner().train()
    torch.manual_seed(1)
    kept = made.draw_kept(4000).sum(1)
    none, every = (kept == 0).float().mean(), (kept == len(made.groups)).float().mean()
    assert 0.1 < none < 0.2 and 0.25 < every < 0.5
    assert all((kept == few).any() for few in range(1, len(made.groups)))


def test_training_often_leaves_out_all_of_many_tags_and_keeps_the_label():
    """A label alone is what people ask for; with a draw for each tag it hardly ever occurred."""
    tags = {f"tag {number}": 0.5 for number in range(30)}
    made = Conditioner(Conditions(["folder=jazz", "folder=folk"], tags, True, True), 6).train()
    torch.manual_seed(1)
    label, rest = made.draw_kept(4000).split([1, len(made.groups) - 1], 1)
    assert (label[:, 0] & ~rest[:, :30].any(1)).float().mean() > 0.05
    assert (label[:, 0] & ~rest.any(1)).float().mean() > 0.01
    assert (label[:, 0] & rest[:, 30] & rest[:, 31] & ~rest[:, :30].any(1)).any()


def test_what_a_label_adds_doesnt_depend_on_what_else_is_told():
    """Through a layer, what forty unknown tags added drowned it, and models didn't obey."""
    made = conditioner()
    tags = {"tags": torch.tensor([[0.3, 0.1]])}
    alone = made({"folder": ["jazz"]}, 1) - made(None, 1)
    torch.testing.assert_close(made({"folder": ["jazz"]} | tags, 1) - made(tags, 1), alone)


def test_tempi_near_each_other_are_alike():
    scale = on_scale(torch.tensor([60.0, 63.0, 120.0, 40.0]))
    like = torch.cosine_similarity(scale[:1], scale)
    assert like[1] > 0.95 and like[2] < 0.01 and scale[3].argmax() == 0


def test_more_conditions_keep_what_was_learned_by_name():
    torch.manual_seed(0)
    net = Net()
    assert net.told_by(None, 3) is None
    net.condition_on(KNOWN)
    before, zeros = conditioner_of(net), net.told_by(None, 3)
    assert zeros is not None and not zeros.any()
    for vectors in net.conditioner.parameters():
        nn.init.normal_(vectors)
    net.eval()
    before = net.conditioner
    net.condition_on(Conditions(["folder=folk"], {"harp": 0.3}).joined(KNOWN))
    after = conditioner_of(net)
    for names, tensor in (("rows", "labels"), ("numbers", "weights"), ("groups", "present")):
        old, new = (list(getattr(one, names)) for one in (before, after))
        moved = getattr(after, tensor)[[new.index(name) for name in old]]
        assert len(new) > len(old) or names == "rows"
        assert torch.equal(moved, getattr(before, tensor))


def test_metadata_of_a_batch_is_taken_and_put_beside_none():
    cond = {"folder": ["a", "b"], "tempo": torch.tensor([1.0, 2.0])}
    some = take(cond, [1, 0, 1])
    assert some["folder"] == ["b", "a", "b"] and numbers(some, "tempo").tolist() == [2, 1, 2]
    both = beside_none(cond)
    assert both["folder"] == ["a", "b", "", ""] and numbers(both, "tempo").isnan().tolist() == [
        0,
        0,
        1,
        1,
    ]
