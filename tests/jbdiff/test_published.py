"""Files in the layout of each published format, through the user's own commands."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from audio import files as audio
from codec import wavtokenizer
from codec.jukebox import EMBEDDED, JukeboxCodec
from foundation.weights import read_state
from jbdiff.dance import DiffusionAttnUnet1D
from jbdiff.unet import UNet
from metrics.pann import Cnn14
from metrics.vggish import network
from music_diffusion.commands import main as cli
from sedd.ddit import DDiT
from tests.codec.test_wavtokenizer import small  # noqa: F401 (a fixture)
from tests.malicious import Malicious

ROOT = Path(__file__).parents[2]
FIT = ["fit", "--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.max_steps=1"]
FIT += ["--trainer.precision=32-true", "--trainer.limit_val_batches=0", "--data.num_workers=0"]
FIT += ["--data.batch_size=1", "--trainer.accumulate_grad_batches=1"]
NET = {"channels": [8, 8], "factors": [1, 2], "items": [1, 1], "attentions": [0, 1]}
NET |= {"cross_attentions": [0, 1], "attention_heads": 2, "attention_features": 4}
NET |= {"modulation_features": 16}
LEVEL = [f"--model.net.{name}={value}" for name, value in NET.items()]
LEVEL += ["--model.jb_level=2", "--model.base_tokens=64", "--model.learning_rate=0"]
DANCE = ["--config", "configs/dance.yaml", "--model.net.depth=3", "--model.net.n_attn_layers=0"]
DANCE += ["--model.net.c_mults=[8,8,8]", "--model.length=4096", "--model.learning_rate=0"]
SEDD = ["--config", "configs/sedd_absorb.yaml", "--model.codec=codec.jukebox.JukeboxCodec"]
SEDD += ["--model.net.hidden_size=16"]
SEDD += ["--model.net.num_blocks=1", "--model.net.num_heads=2", "--model.length=32"]
PANN_16K = ["--embedding=PANN", "--embedding.sample_rate=16000"]
PUBLISHED = (("time.", "blocks.0."), ("mlp.", "blocks.1.blocks.0."), ("net.", "blocks.2.blocks.1."))


def filled(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for value in module.parameters():
        nn.init.normal_(value, std=0.1)
    return module


def level_layout(net: UNet, codec: dict[str, Tensor]) -> dict[str, Tensor]:
    """A Lightning file of Jukebox Diffusion: each weight three times, and the codec."""
    state = {f"vqvae.{name}": value for name, value in codec.items()}
    for name, value in net.state_dict().items():
        theirs = name.replace("null.", "blocks.2.blocks.0.blocks.0.", 1)
        for ours, start in PUBLISHED:
            if name.startswith(ours):
                theirs = start + name.removeprefix(ours)
        names = {theirs, theirs.replace("blocks.1.blocks.0.", "blocks.1.blocks.1.", 1)}
        for prefix in ("net.", "diffusion.net.", "sampler.net."):
            state |= {f"diffusion.{prefix}{name}": value for name in names}
    return state


def dance_layout(net: nn.Module) -> dict[str, Tensor]:
    state = net.state_dict()
    other = {f"diffusion.{name}": torch.zeros_like(value) for name, value in state.items()}
    return other | {f"diffusion_ema.{name}": value for name, value in state.items()}


def other_codec() -> dict[str, Tensor]:
    codec = read_state(EMBEDDED)
    return {name: value.float() * 1.01 for name, value in codec.items()}


def lightning(state: dict[str, Tensor]) -> dict:
    return {"epoch": 3, "global_step": 7, "pytorch-lightning_version": "1.9.0", "state_dict": state}


@pytest.fixture
def place(command_line, music, tmp_path) -> Path:
    return tmp_path


def constant(net: nn.Module) -> nn.Module:
    """The full-size network with each weight one number, so that its file is small."""
    with torch.device("meta"):
        made = net()
    state = {n: torch.tensor(0.01).expand(value.shape) for n, value in made.state_dict().items()}
    made.load_state_dict(state, assign=True)
    return made


class Format:
    """A published format: a file's content, where its weights stand in it, the command for it."""

    def __init__(self, kind: str, place: Path):
        self.path = place / f"{kind}.ckpt"
        music, runs = f"--data.audio={place / 'music'}", str(place / "runs")
        fit = [*FIT, f"--model.init_from={self.path}", music, "--trainer.default_root_dir", runs]
        encode = ["encode", str(place / "music"), "--accelerator=cpu"]
        encode += ["--out", str(place / "store")]
        if kind == "level":
            net = UNet(128, 0.0, **NET)
            self.content = lightning(level_layout(filled(net), other_codec()))
            self.command = [*fit, *LEVEL, f"--model.codec_path={self.path}"]
            self.name, self.ours = "diffusion.net.blocks.0.to_out.bias", net.state_dict()
        elif kind == "dance":
            net = DiffusionAttnUnet1D(3, 0, [8, 8, 8])
            self.content = lightning(dance_layout(filled(net)))
            self.command = [*fit, *DANCE]
            self.name, self.ours = "diffusion_ema.net.0.main.0.bias", net.state_dict()
        elif kind == "sedd":
            net = filled(DDiT(2049, hidden_size=16, num_blocks=1, num_heads=2, dropout=0.0))
            shadow = [value.detach() for value in net.parameters() if value.requires_grad]
            self.content = {"model": net.state_dict(), "step": 9, "ema": {"shadow_params": shadow}}
            self.command = [*fit, *SEDD, "--model.learning_rate=0"]
            self.name, self.ours = "vocab_embed.embedding", net.state_dict()
        elif kind in ("vggish", "pann_16k"):
            module = constant(network if kind == "vggish" else lambda: Cnn14(16000, 512, 160))
            torch.manual_seed(0)  # a row of numbers for each weight keeps the file small
            state = {
                name: (torch.rand(v.shape[-1:]) / v[:1].numel() * 2).expand(v.shape).to(v.dtype)
                if v.dim() > 1
                else torch.rand(v.shape).to(v.dtype)
                for name, v in module.state_dict().items()
            }
            self.content = state if kind == "vggish" else {"model": state, "iteration": 1}
            music = str(place / "music")
            self.command = ["fad", music, music, "--device=cpu", "--json"]
            self.command += ["--embedding=VGGish"] if kind == "vggish" else PANN_16K
            self.command += [f"--embedding.path={self.path}"]
            self.name, self.ours = next(n for n in state if n.endswith("bias")), None
        elif kind == "vqvae":
            self.content = {"model": other_codec(), "step": 5}
            self.command = [*encode, "--codec=JukeboxCodec", f"--codec.path={self.path}"]
            self.name, self.ours = "bottleneck.level_blocks.2.k", None
        else:
            self.content = lightning(wavtokenizer.Network(320).state_dict())
            self.command = [*encode, "--codec=codec.wavtokenizer.WavTokenizer"]
            self.command += [f"--codec.path={self.path}"]
            self.name, self.ours = "head.out.bias", None

    @property
    def shown(self) -> str:
        """The end of the damaged name, as a message shows it."""
        return self.name.rsplit(".", 2)[1]

    @property
    def state(self) -> dict[str, Tensor]:
        return self.content.get("state_dict", self.content.get("model", self.content))

    def run(self) -> int:
        if not self.path.exists():
            torch.save(self.content, self.path)
        return cli.main(self.command)


KINDS = ("level", "dance", "sedd", "vqvae", "wavtokenizer", "vggish", "pann_16k")


@pytest.fixture
def kind(request, small, place) -> Format:  # noqa: F811
    return Format(request.param, place)


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_published_file_is_used(kind, place, capsys):
    assert kind.run() == 0, capsys.readouterr().err
    if kind.command[0] == "fad":
        assert f'"embedding": "{kind.path.stem}' in capsys.readouterr().out
        return
    if kind.ours is None:
        path, level = str(kind.path), 2
        codec = (
            JukeboxCodec(level, path)
            if kind.path.stem == "vqvae"
            else wavtokenizer.WavTokenizer(path)
        )
        header = (place / "store" / "header.json").read_text()
        assert codec.fingerprint in header and JukeboxCodec(level).fingerprint not in header
        return
    made = torch.load(place / "runs" / "checkpoints" / "last.ckpt", weights_only=True)
    trained = {name.split(".", 1)[1]: value for name, value in made["state_dict"].items()}
    assert all(torch.equal(trained[name], value) for name, value in kind.ours.items())
    assert "init_from" not in made["hyper_parameters"]


@pytest.mark.parametrize("damage", ["removed", "renamed", "reshaped", "malicious"])
@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_damaged_file_is_refused_in_a_line(kind, damage, place, capsys):
    name, ran = kind.name, place / "ran"
    if damage == "malicious":
        kind.content["extra"] = Malicious(ran)
        said = "is refused: it is no checkpoint, or loading it would run code from it"
    else:
        value = kind.state.pop(name)
        if damage == "renamed":
            kind.state[f"{name}x"] = value
        elif damage == "reshaped":
            kind.state[name] = value.new_zeros(7)
        said = "1 of another shape" if damage == "reshaped" else "1 missing"
    assert kind.run() == 2
    error = capsys.readouterr().err.partition("error: ")[2]
    assert said in error and len(error.splitlines()) == 1 and not ran.exists()
    assert str(kind.path) in error and (damage == "malicious" or kind.shown in error)
    assert not (place / "runs").exists()


def test_training_says_that_a_file_holds_another_codec(small, place, capsys):  # noqa: F811
    kind = Format("level", place)
    kind.command.pop()  # the codec_path
    assert kind.run() == 0
    assert "was trained on the codec that it holds: add codec_path" in capsys.readouterr().err


def test_a_song_is_made_with_a_published_level(place, capsys):
    path = place / "level.ckpt"
    torch.save(lightning(level_layout(constant(lambda: UNet(1536)), read_state(EMBEDDED))), path)
    song = ["sample", "jbdiff", "--levels=2", f"--level_2.checkpoint={path}", "--seconds=4"]
    song += ["--level_2.sampler.steps=1", "--level_2.guidance=1", "--token_multiplier=1"]
    song += ["--accelerator=cpu", f"--out={place / 'song'}"]
    assert cli.main(song) == 0, capsys.readouterr().err
    assert audio.probe(place / "song" / "song.wav").num_samples == 4 * 44100
    assert cli.main([*song, "--level_1.checkpoint", str(place / "none"), "--levels=21"]) == 2
    assert "level_1: no such file" in capsys.readouterr().err


def test_dance_samples_from_a_published_file(place, capsys):
    path = place / "glitch.ckpt"
    state = dance_layout(constant(lambda: DiffusionAttnUnet1D(n_attn_layers=1)))
    torch.save(lightning(state), path)
    sample = ["sample", "dance", str(path), "--count=1", "--steps=1", "--seconds=0.5"]
    sample += ["--accelerator=cpu", f"--out={place / 'out'}"]
    assert cli.main(sample) == 2
    assert (
        "with --sample_rate, a published file of Dance Diffusion (48000 for"
        in capsys.readouterr().err
    )
    assert cli.main([*sample, "--sample_rate=48000"]) == 0, capsys.readouterr().err
    made = audio.probe(place / "out" / "sample_0.wav")
    assert (made.sample_rate, made.num_samples, made.channels) == (48000, 24000, 2)
    assert (place / "out" / "sample_0.png").exists()
