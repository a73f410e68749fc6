"""Exports, weights to start from, and another codec, through the user's own commands."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from audio import files as audio
from codec import wavtokenizer
from datamodules.token_store import TokenStore
from foundation.weights import read_state
from music_diffusion.checkpoints.export import export
from music_diffusion.commands import main as cli
from sedd.ddit import DDiT
from sedd.module import SEDD
from sedd.weights import TOKENS, load_weights
from tests.codec.test_wavtokenizer import small  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[2]
NAMES = ("sedd_wavtokenizer", "quickstart")
QUICK = [part for name in NAMES for part in ("--config", f"configs/{name}.yaml")]
QUICK += ["--trainer.accumulate_grad_batches=1", "--data.num_workers=0"]
SMALL = ["--model.net.hidden_size=16", "--model.net.num_blocks=1", "--model.net.num_heads=2"]


def net(vocab_size: int = 20, hidden_size: int = 16) -> DDiT:
    made = DDiT(vocab_size, hidden_size=hidden_size, num_blocks=1, num_heads=2, dropout=0.0)
    for value in made.parameters():
        torch.nn.init.normal_(value)
    return made


def same(a: torch.nn.Module, b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.state_dict().items())


def test_wavtokenizer_trains_samples_and_is_exported(small, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["cli.py"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "codec.ckpt"
    torch.manual_seed(0)
    torch.save({"state_dict": wavtokenizer.Network(320).state_dict()}, path)
    for i in range(3):
        audio.write(tmp_path / "music" / f"{i}.wav", torch.rand(1, 44100) - 0.5, 44100)
    store = str(tmp_path / "store")
    options = ["--codec=codec.wavtokenizer.WavTokenizer", f"--codec.path={path}"]
    encode = ["encode", str(tmp_path / "music"), "--out", store, *options, "--accelerator=cpu"]
    assert cli.main(encode) == 0
    header = TokenStore.open(Path(store)).header
    assert header.fingerprint == wavtokenizer.WavTokenizer(str(path)).fingerprint
    assert cli.main([*encode, "--codec_path=x"]) == 2
    assert "--codec.path" in capsys.readouterr().err
    fit = ["fit", *QUICK, f"--model.codec.path={path}", "--data.tokens", store, *SMALL]
    fit += ["--model.length=32", "--trainer.accelerator=cpu", "--trainer.max_steps=2"]
    fit += ["--trainer.val_check_interval=2", "--model.sampler.steps=2", "--data.batch_size=2"]
    assert cli.main([*fit, "--trainer.default_root_dir", str(tmp_path)]) == 0
    assert list((tmp_path / "demos").rglob("*.wav"))
    last, folder = tmp_path / "checkpoints" / "last.ckpt", tmp_path / "export"
    assert cli.main(["export", str(last), "--out", str(folder)]) == 0
    assert sorted(p.name for p in folder.iterdir()) == [
        *("README.md", "config.json", "model.safetensors"),
    ]
    capsys.readouterr()
    for i, source in enumerate((last, folder)):
        sample = ["sample", str(source), "--out", str(tmp_path / f"out{i}"), "--seconds=0.5"]
        assert cli.main([*sample, "--count=1", "--steps=2", "--accelerator=cpu"]) == 0
    one, other = (tmp_path / f"out{i}" / "sample_0.wav" for i in range(2))
    assert audio.probe(one).sample_rate == 24000 and one.read_bytes() == other.read_bytes()
    again = [*fit, f"--model.init_from={folder}", "--trainer.max_steps=1"]
    assert cli.main([*again, "--trainer.default_root_dir", str(tmp_path / "second")]) == 0
    made = torch.load(tmp_path / "second" / "checkpoints" / "last.ckpt", weights_only=True)
    assert "init_from" not in made["hyper_parameters"]
    state = torch.load(path, weights_only=True)["state_dict"]
    state["head.out.bias"] += 1
    torch.save({"state_dict": state}, path)
    assert cli.main(["sample", str(folder), "--accelerator=cpu"]) == 2
    assert "trained on codec" in capsys.readouterr().err


def test_the_config_keeps_the_mask_outside_the_codebook(small, tmp_path):  # noqa: F811
    path = tmp_path / "codec.ckpt"
    torch.save({"state_dict": wavtokenizer.Network(320).state_dict()}, path)
    model = SEDD(wavtokenizer.WavTokenizer(str(path)), net=lambda states, codebooks: net(states))
    assert model.graph.dim == model.net.vocab_size == 4097
    assert model.sample_rate == 24000 and model.window.length == 1024 * 320


def published(kind: str, source: DDiT, path: Path) -> None:
    state = source.state_dict()
    if kind == "repository":
        other = {name: torch.zeros_like(value) for name, value in state.items()}
        ema = {"decay": 0.9999, "num_updates": 7, "shadow_params": list(source.parameters())}
        content = {"model": other, "ema": ema, "optimizer": {}, "step": np.float64(3)}
        torch.save(content, path)
    elif kind == "hub":
        torch.save(state, path)
    else:
        named = {f"net.{name}": value for name, value in state.items()}
        torch.save({"state_dict": named, "current_model_state": {}}, path)


@pytest.mark.parametrize("kind", ["repository", "hub", "ours"])
def test_training_starts_from_any_layout(kind, tmp_path):
    source, target = net(), net()
    published(kind, source, tmp_path / "x.pth")
    load_weights(target, tmp_path / "x.pth")
    buffers = dict(target.named_buffers())
    assert same(target, source.state_dict() | buffers)


@pytest.mark.parametrize("kind", ["repository", "hub", "ours"])
def test_what_does_not_fit_is_refused(kind, tmp_path):
    published(kind, net(21, 32), tmp_path / "x.pth")
    with pytest.raises(ValueError, match="does not hold this score network: .* of another shape"):
        load_weights(net(20), tmp_path / "x.pth")


@pytest.mark.parametrize("kind", ["repository", "hub", "ours"])
def test_from_another_vocabulary_all_but_the_tokens_is_taken(kind, tmp_path, caplog):
    source, target = net(31), net()
    own = {name: target.state_dict()[name].clone() for name in TOKENS}
    published(kind, source, tmp_path / "x.pth")
    load_weights(target, tmp_path / "x.pth")
    assert same(target, source.state_dict() | dict(target.named_buffers()) | own)
    assert "of a vocabulary of 31, this model of 20" in caplog.text


def test_averages_that_do_not_fit_are_refused(tmp_path):
    published("repository", net(), tmp_path / "x.pth")
    content = torch.load(tmp_path / "x.pth", weights_only=False)
    content["ema"]["shadow_params"].pop()
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="averaged weights that do not fit"):
        load_weights(net(), tmp_path / "x.pth")


def test_fewer_bits_are_smaller_and_what_is_no_checkpoint_is_refused(tmp_path):
    state = {"net.a": torch.randn(50, 7, 60) * torch.logspace(-3, 3, 50)[:, None, None]}
    state |= {"net.b": torch.randn(9), "net.n": torch.tensor(3), "net.zero": torch.zeros(2, 2)}
    content = {"state_dict": state, "hyper_parameters": {"length": 3}, "codec_fingerprint": "abc"}
    torch.save(content, tmp_path / "x.ckpt")
    full, half, eighth = (
        export(tmp_path / "x.ckpt", tmp_path / f"{n}", n).size for n in (32, 16, 8)
    )
    assert half < 0.55 * full and eighth < 0.3 * full
    torch.testing.assert_close(read_state(tmp_path / "32"), state)
    rounded = read_state(tmp_path / "8")
    rows = state["net.a"].abs().amax((1, 2), keepdim=True)
    assert rounded.keys() == state.keys() and rounded["net.a"].dtype == torch.float32
    assert ((rounded["net.a"] - state["net.a"]).abs() <= rows / 253).all()
    assert all(torch.equal(rounded[name], state[name]) for name in ("net.b", "net.n", "net.zero"))
    with pytest.raises(ValueError, match="in 8, 16 or 32 bits, got 4"):
        export(tmp_path / "x.ckpt", tmp_path / "out", 4)
    torch.save({"state_dict": {"a": torch.full((3,), 1e6)}, "hyper_parameters": {}}, tmp_path / "y")
    with pytest.raises(ValueError, match="too narrow"):
        export(tmp_path / "y", tmp_path / "out", bits=16)
    torch.save({"state_dict": state}, tmp_path / "z")
    with pytest.raises(ValueError, match="no checkpoint of fit"):
        export(tmp_path / "z", tmp_path / "out")
    assert cli.main(["sample", str(tmp_path / "out")]) == 2
