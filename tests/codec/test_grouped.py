"""Codes in groups: what is encoded, decoded, and trained on."""

from functools import partial

import pytest
import torch

from codec.grouped import GroupedCodec
from codec.jukebox import JukeboxCodec
from foundation.errors import UserError
from sedd.ddit import DDiT
from sedd.module import SEDD
from sedd.samplers import Analytic
from tests.datamodules.test_token_store import Coarse, Triple

AUDIO = torch.rand(2, 1, 1000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("codec", [Coarse(), Triple()], ids=["K=1", "K=3"])
@pytest.mark.parametrize("group", [1, 4])
def test_a_grid_in_groups_is_the_codecs_own_in_another_order(codec, group):
    grouped = GroupedCodec(codec, group)
    tokens = grouped.encode(AUDIO)
    assert tokens.shape == (2, codec.num_codebooks * group, -(-1000 // (64 * group)))
    grouped.check_encoded(tokens, 1000)
    plain = codec.encode(AUDIO)
    assert torch.equal(grouped.ungroup(tokens)[..., : plain.shape[-1]], plain)
    if group == 4:  # row k * G + g holds code g of each group
        assert torch.equal(tokens[:, 1, :3], plain[:, 0, 1:12:4])
    decoded = grouped.decode(tokens)
    assert decoded.shape == (2, codec.channels, tokens.shape[-1] * grouped.hop)
    samples = plain.shape[-1] * 64
    assert torch.equal(decoded[..., :samples], codec.decode(plain))


def test_nothing_is_encoded_to_nothing():
    assert GroupedCodec(Coarse(), 4).encode(torch.zeros(1, 1, 0)).shape == (1, 4, 0)


class Local(Coarse):
    """A codec whose tracks can be encoded in pieces."""

    piece = 200

    def reach(self, names):
        return 0


@pytest.mark.parametrize("group", [1, 3])
def test_pieces_of_a_track_are_the_whole(group):
    codec, audio = GroupedCodec(Local(), group), torch.rand(1, 5000)
    parts = codec.encode_in_pieces(lambda a, b: audio[:, a:b], 5000, ("tokens",))
    tokens = [part["tokens"] for part in parts]
    assert len(tokens) > 3 and torch.equal(torch.cat(tokens, -1), codec.encode(audio[None]))


def test_groups_are_told_apart_by_their_fingerprint_and_vectors_go_with_their_rows():
    prints = {GroupedCodec(Coarse(), group).fingerprint for group in (1, 2, 4)}
    assert len(prints) == 3
    vectors = GroupedCodec(JukeboxCodec(), 3).code_vectors()
    assert vectors is not None and vectors.shape == (3, 2048, 64)
    assert GroupedCodec(Coarse(), 2).code_vectors() is None


def test_a_group_has_a_code_at_least():
    with pytest.raises(UserError, match="group must be at least 1, got 0"):
        GroupedCodec(Coarse(), 0)


def model(group: int) -> SEDD:
    torch.manual_seed(0)
    net = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8)
    return SEDD(Coarse(), net=net, length=8, group=group, sampler=Analytic(4)).eval()


def test_sedd_trains_continues_and_repairs_in_groups():
    made = model(4)
    assert made.window.length == 8 * 4 * 64
    assert made.losses({"audio": AUDIO}, torch.tensor([0.3, 0.9])).shape == (2,)
    assert made.generate(0.5).shape[-1] == 4000
    prompt, keep = AUDIO[0], torch.ones(1000, dtype=torch.bool)
    assert made.generate(0.5, prompt=prompt).shape[-1] == prompt.shape[-1] + 4000
    keep[256:512] = False
    repaired = made.generate(prompt=prompt, keep=keep)[0]
    assert repaired.shape == prompt.shape and torch.equal(repaired[:, 960:], prompt[:, 960:])
    assert not torch.equal(repaired[:, 300:480], prompt[:, 300:480])


def test_the_baselines_of_a_validation_are_those_of_codes_in_their_order(monkeypatch):
    bits = []
    for name in ("fixed_loss", "log_loss", "log_dict"):  # there is no trainer
        monkeypatch.setattr(SEDD, name, lambda *_, **__: torch.zeros(()))
    for made in (model(1), model(4)):
        made.validation_step({"audio": AUDIO[..., :768]}, 0)
        bits.append(made.val_baseline.bits())
    assert bits[0] == bits[1]


def test_the_settings_of_a_model_in_groups_make_it_again():
    made = model(4)
    again = SEDD(**{name: value for name, value in made.hparams.items() if name[0] != "_"})
    assert again.codec.num_codebooks == made.codec.num_codebooks == 4
    again.load_state_dict(made.state_dict())
