import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from codec import wavtokenizer, wavtokenizer_decoder, wavtokenizer_encoder
from codec.wavtokenizer import CODES, Network, WavTokenizer, main, shrink
from foundation.errors import UserError
from foundation.weights import read_state
from tests.malicious import Malicious


@pytest.fixture
def small(monkeypatch):
    """The same network with narrow layers."""
    for module in (wavtokenizer, wavtokenizer_encoder):
        monkeypatch.setattr(module, "DIM", 32)
    monkeypatch.setattr(wavtokenizer_encoder, "WIDTH", 4)
    for name, value in (("INPUT", 32), ("DIM", 64), ("HIDDEN", 96), ("BLOCKS", 2)):
        monkeypatch.setattr(wavtokenizer_decoder, name, value)


@pytest.fixture(params=[320, 600])
def hop(request) -> int:
    return request.param


@pytest.fixture
def state(small, hop) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Network(hop).state_dict()


@pytest.fixture
def path(state, hop, tmp_path):
    """A file as it is published: a whole training checkpoint."""
    extra = {
        "feature_extractor.encodec.decoder.model.0.conv.conv.bias": torch.zeros(3),
        "multiperioddisc.discriminators.0.convs.0.bias": torch.zeros(3),
        "melspec_loss.mel_spec.spectrogram.window": torch.zeros(3),
        f"{CODES}.cluster_size": torch.zeros(4096),
    }
    content = {"state_dict": state | extra, "epoch": 3, "best": np.float64(1.5)}
    torch.save(content, tmp_path / f"{hop}.ckpt")
    return tmp_path / f"{hop}.ckpt"


@pytest.mark.parametrize("samples", [1, 319, 320, 601, 24001])
def test_tokens_and_samples_are_counted(path, hop, samples):
    codec = WavTokenizer(str(path))
    tokens = codec.encode(torch.randn(2, 2, samples) * 0.1)
    assert codec.hop == hop and tokens.shape == (2, 1, -(-samples // hop))
    assert codec.decode(tokens).shape == (2, 1, tokens.shape[-1] * hop)


def test_a_batch_gives_what_its_members_give(path):
    codec = WavTokenizer(str(path))
    audio = torch.randn(3, 1, 9000) * 0.3
    tokens = codec.encode(audio)
    assert torch.equal(tokens, torch.cat([codec.encode(one[None]) for one in audio]))
    single = torch.cat([codec.decode(one[None]) for one in tokens])
    torch.testing.assert_close(codec.decode(tokens), single, atol=1e-5, rtol=1e-4)


def test_pieces_are_encoded_as_the_whole(path, hop):
    encoder = WavTokenizer(str(path)).net.encoder
    audio = torch.randn(1, 1, 50 * hop + 7)
    whole = encoder(audio)
    assert whole.shape[-1] == 51
    for piece in (5, 7, 50):
        torch.testing.assert_close(encoder.in_pieces(audio, piece), whole, atol=1e-5, rtol=1e-4)


def test_the_trim_covers_what_is_local_and_joins_are_smooth(path, hop, monkeypatch):
    codec = WavTokenizer(str(path), piece_seconds=8.0)
    layers = codec.net.backbone.pos_net
    for name, layer in list(layers.named_modules()):
        if isinstance(layer, nn.GroupNorm | wavtokenizer_decoder.Attention):
            layers.set_submodule(name, nn.Identity())  # what is left is local
    tokens = torch.randint(4096, (1, 1, 3 * codec.frames_at_once + 11))
    whole = codec.net.decode(tokens[:, 0]).clamp(-1, 1)
    torch.testing.assert_close(codec.decode(tokens), whole, atol=1e-5, rtol=1e-4)
    monkeypatch.setattr(wavtokenizer, "TRIM", 1)
    assert (codec.decode(tokens) - whole).abs().max() > 1e-4


def test_pieces_are_decoded_close_to_the_whole(path):
    pieces, whole = (WavTokenizer(str(path), seconds) for seconds in (8.0, None))
    tokens = torch.randint(4096, (1, 1, 2 * pieces.frames_at_once))
    ours, theirs = pieces.decode(tokens), whole.decode(tokens)
    assert (ours - theirs).square().mean() < 1e-2 * theirs.square().mean()


def test_a_small_file_holds_the_same_codec(path, tmp_path, capsys):
    small = tmp_path / "folder" / "small.safetensors"
    assert main([str(path), str(small)]) == 0
    assert WavTokenizer(str(small)).fingerprint == WavTokenizer(str(path)).fingerprint
    assert not [name for name in read_state(small) if "disc" in name or "cluster" in name]
    assert main([str(path)]) == 2 and main(["/none", str(small)]) == 2
    assert "python download_ckpts.py wavtokenizer" in capsys.readouterr().err


def test_the_bandwidth_id_picks_a_row_of_the_adaptive_norms(path, state, tmp_path):
    tokens = torch.randint(4096, (1, 1, 40))
    first, third = (WavTokenizer(str(path), bandwidth_id=number) for number in (0, 2))
    assert not torch.allclose(first.decode(tokens), third.decode(tokens), atol=1e-4)
    assert first.fingerprint != third.fingerprint
    swapped = {
        name: value[[2, 1, 0, 3]]
        if name.endswith(("norm.scale.weight", "norm.shift.weight"))
        else value
        for name, value in state.items()
    }
    save_file({n: v.contiguous() for n, v in swapped.items()}, tmp_path / "swapped.safetensors")
    other = WavTokenizer(str(tmp_path / "swapped.safetensors"))
    assert torch.equal(other.decode(tokens), third.decode(tokens))
    with pytest.raises(UserError, match="bandwidth_id must be 0 to 3, got 4"):
        WavTokenizer(str(path), bandwidth_id=4)


def test_other_weights_have_another_fingerprint(path, state, tmp_path):
    state = {name: value.clone() for name, value in state.items()}
    state["head.out.bias"][0] += 1
    save_file(state, tmp_path / "other.safetensors")
    other = WavTokenizer(str(tmp_path / "other.safetensors"))
    assert other.fingerprint != WavTokenizer(str(path)).fingerprint


@pytest.mark.parametrize(
    "change, message",
    [
        ("removed", r"1 missing \(backbone.norm.scale.weight\)"),
        ("renamed", r"1 missing \(backbone.norm.scale.weight\); 1 unknown \(backbone.other\)"),
        ("reshaped", r"1 of another shape \(backbone.norm.scale.weight \[3\] for \[4, 64\]\)"),
        ("untrained", "never trained"),
    ],
)
def test_what_does_not_fit_is_named(state, tmp_path, change, message):
    value = state["backbone.norm.scale.weight"]
    if change == "untrained":
        state[f"{CODES}.inited"] = torch.zeros(1)
    elif change == "reshaped":
        state["backbone.norm.scale.weight"] = torch.zeros(3)
    else:
        del state["backbone.norm.scale.weight"]
    if change == "renamed":
        state["backbone.other"] = value
    torch.save({"state_dict": state}, tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match=message):
        shrink(tmp_path / "odd.ckpt", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickle_with_code_is_refused(tmp_path, wrapped):
    trap = Malicious(tmp_path / "trap")
    content = {"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": trap}
    torch.save(content if wrapped else trap, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match="refused.*mkdir.*save its state_dict alone"):
        read_state(tmp_path / "bad.ckpt")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("name", ["a.ckpt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\3\4" + bytes(50)])
def test_what_is_no_checkpoint_is_said_so(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_state(tmp_path / name)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s}])
def test_state_dicts_are_unwrapped(tmp_path, wrap):
    torch.save(wrap({"module.a": torch.ones(2)}), tmp_path / "x.pth")
    torch.testing.assert_close(read_state(tmp_path / "x.pth"), {"a": torch.ones(2)})
