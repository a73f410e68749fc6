"""A level of Jukebox Diffusion through the command line: trains, demos, resumes, refuses."""

from pathlib import Path

import pytest
import torch

from codec.jukebox import JukeboxCodec
from jbdiff.checkpoints import load_unet
from jbdiff.module import JBDiff
from jbdiff.samplers import DDIM
from jbdiff.unet import UNet
from music_diffusion.commands import main as cli
from music_diffusion.commands.arguments import with_configs_first
from tests.jbdiff.test_vdiffusion import SMALL

ROOT = Path(__file__).parents[2]
CONFIGS = ["--config", "configs/jbdiff.yaml", "--config", "configs/jbdiff_tiny.yaml"]
NET = SMALL | {"in_channels": 64, "context_features": 64}
SIZES = [f"--model.net.{key}={list(v) if isinstance(v, tuple) else v}" for key, v in SMALL.items()
         if key not in ("in_channels", "context_features")]  # fmt: skip
SIZES += ["--model.base_tokens=16", "--model.sampler.steps=2", "--data.batch_size=2"]
SIZES += ["--trainer.accelerator=cpu", "--data.num_workers=0"]


pytestmark = pytest.mark.usefixtures("command_line")


def level(jb_level: int = 2, base_tokens: int = 16, **options: object) -> JBDiff:
    torch.manual_seed(0)
    net = lambda length, dropout: UNet(length, dropout, **NET)  # noqa: E731
    return JBDiff(jb_level, net=net, base_tokens=base_tokens, **options).eval()


@pytest.mark.parametrize("jb_level", [2, 1, 0])
@pytest.mark.parametrize("data", ["tokens", "audio"])
def test_every_level_trains_a_step_on_tokens_and_on_audio(jb_level, data, music, capsys):
    args = ["--model.jb_level", str(jb_level), "--data.audio", str(music), *SIZES]
    if data == "audio":
        args = ["--data", "datamodules.wav.WavDataModule", *args]
    assert cli.main(["fit", *CONFIGS, *args, "--trainer.fast_dev_run=1"]) == 0


def test_a_level_alone_names_its_config_and_no_other_model_gets_it():
    config = str(ROOT / "configs" / "jbdiff.yaml")
    assert with_configs_first(["--model.jb_level", "2"])[:2] == ["--config", config]
    for others in (["--config", "sedd_absorb"], ["--model", "x"], ["--model.length", "3"]):
        assert config not in with_configs_first([*others])


def test_resuming_from_another_level_is_refused_before_music_is_encoded(music, tmp_path, capsys):
    settings = {"_class_path": "jbdiff.module.JBDiff", "jb_level": 1}
    torch.save({"hyper_parameters": settings, "loops": {}}, tmp_path / "level1.ckpt")
    args = ["--model.jb_level=2", f"--ckpt_path={tmp_path / 'level1.ckpt'}"]
    assert cli.main(["fit", *CONFIGS, *SIZES, f"--data.audio={music}", *args]) == 2
    assert "level1.ckpt is of level 1, the config's is 2" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_a_start_from_another_level_is_refused(music, tmp_path, capsys):
    content = {"hyper_parameters": {"jb_level": 1}, "state_dict": {"net.x": torch.zeros(1)}}
    torch.save(content, tmp_path / "level1.ckpt")
    args = ["--model.jb_level=2", f"--model.init_from={tmp_path / 'level1.ckpt'}"]
    assert cli.main(["fit", *CONFIGS, *SIZES, f"--data.audio={music}", *args]) == 2
    assert "level1.ckpt is of level 1: give one of level 2" in capsys.readouterr().err


def test_mistakes_are_one_line(music, capsys):
    for wrong, message in (
        (["--model.jb_level=4"], "level must be 0 (finest), 1, 2 or 3 (coarsest), got 4"),
        (
            ["--model.jb_level=2", "--model.base_tokens=17"],
            "takes a multiple of 2 positions, at least 1, got 17",
        ),
        (["--model.jb_level=2", "--model.context_mult=0"], "context_mult must be positive"),
    ):
        assert cli.main(["fit", *CONFIGS, *SIZES, f"--data.audio={music}", *wrong]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("jb_level", [2, 1])  # level 0 is level 1's code, at 16 times the work
def test_tokens_and_audio_give_the_same_loss_up_to_edges(jb_level):
    """The codec sees silence past a crop's edges where the track goes on.

    So codes may differ as far from an edge as the codec reaches, and nowhere else; the loss of a
    passage 2.2 times as long as that differs by less than 5 %.
    """
    codec = JukeboxCodec(jb_level)
    reach = codec.vqvae.config.margin(jb_level)
    if jb_level < 2:
        reach += 2 * codec.vqvae.config.margin(jb_level + 1)  # decoded, then encoded again
    model = level(jb_level, base_tokens=round(0.55 * reach / codec.hop) * 4, context_mult=1)
    hop, window = codec.hop, model.window
    seconds = torch.arange(window.context + window.length + reach) / 44100
    song = 0.4 * torch.sin(2 * torch.pi * 220 * seconds * (1 + 0.1 * seconds))[None, None]
    streams = codec.encode_streams(song, tuple(model.token_window.streams.values()))
    start, stop = window.context // hop, (window.context + window.length) // hop
    tokens = {
        "tokens": streams["tokens"][..., start:stop],
        "context": streams["tokens"][..., :start],
    }
    if "round_trip" in streams:
        tokens["coarser"] = streams["round_trip"][..., start:stop]
    cut = {"context": song[..., : window.context]}
    cut["audio"] = song[..., window.context : window.context + window.length]
    ours, theirs = model.latents(tokens), model.latents(cut)
    inside = slice(reach // hop + 1, -reach // hop - 1)
    for name in ("real", "coarser") if "coarser" in ours else ("real",):
        assert torch.equal(ours[name][..., inside], theirs[name][..., inside]), name
    with torch.no_grad():
        model._trainer = type("Alone", (), {"world_size": 1, "global_rank": 0})()
        losses = [model.fixed_loss(batch, 0) for batch in (tokens, cut)]
    torch.testing.assert_close(*losses, rtol=0.05, atol=0)


def test_resume_is_exact(music, tmp_path):
    def fit(folder: str, steps: int, *more: str) -> dict:
        args = [f"--data.audio={music}", *SIZES, f"--trainer.max_steps={steps}"]
        args += [f"--trainer.default_root_dir={tmp_path / folder}", "--trainer.logger=false"]
        args += ["--trainer.val_check_interval=2", "--model.jb_level=2", "--model.dropout=0.1"]
        args += ["--model.base_tokens=256"]  # fewer windows in a demo
        assert cli.main(["fit", *CONFIGS, *args, *more]) == 0
        last = tmp_path / folder / "checkpoints" / "last.ckpt"
        return torch.load(last, weights_only=False)

    whole = fit("whole", 4)
    fit("parts", 2)
    parts = fit("parts", 4, "--ckpt_path", "last")
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(v, parts[key][k]) for k, v in whole[key].items())
    assert any("demos" in str(path) for path in (tmp_path / "parts").rglob("sample_0.wav"))
    assert not any("vqvae" in key for key in whole["state_dict"])
    assert whole["codec_fingerprint"] == level().codec.fingerprint


@pytest.mark.parametrize("jb_level", [2, 1])
def test_mixed_precision_leaves_the_codec_in_float32(jb_level):
    model = level(jb_level)
    noise = torch.rand(1, 1, 3 * model.window.length, generator=torch.Generator().manual_seed(0))
    batch = {"context": noise[..., : model.window.context] - 0.5}
    batch["audio"] = noise[..., model.window.context :] - 0.5
    exact = model.latents(batch)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, sound = model.latents(batch), model.codec.from_latents(exact["context"])
        assert torch.equal(model.codec.to_latents(batch["context"]), exact["context"])
    assert all(torch.equal(mixed[name], part) for name, part in exact.items())
    assert torch.equal(sound, model.codec.from_latents(exact["context"]))


def test_another_codecs_checkpoint_is_refused():
    model = level()
    checkpoint = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    model.on_load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match="trained on codec other"):
        model.on_load_checkpoint(checkpoint | {"codec_fingerprint": "other"})


def test_initial_latents_come_back_at_full_strength_and_less_below_it():
    model, noise, context = level(), torch.randn(1, 64, 16), torch.randn(1, 64, 32)
    init = torch.randn(1, 64, 16)
    made = {
        kept: model.sample_latents(noise, context, sampler=DDIM(4), init=init, strength=kept)
        for kept in (1.0, 0.5, 0.0)
    }
    assert torch.equal(made[1.0], init)
    far = [(made[kept] - init).norm() for kept in (0.5, 0.0)]
    assert 0 < far[0] < far[1]
    plain = model.sample_latents(noise, context, sampler=DDIM(4))
    torch.testing.assert_close(made[0.0], plain)


def test_the_published_layout_loads_and_nothing_else_does():
    """A Lightning file names each weight three times and the codec's as well."""
    model, source = level(), level()
    for weight in source.parameters():
        torch.nn.init.normal_(weight)
    state = {}
    theirs = {"time.": "blocks.0.", "mlp.": "blocks.1.blocks.0.", "net.": "blocks.2.blocks.1."}
    theirs["null."] = "blocks.2.blocks.0.blocks.0."
    for key, value in source.net.state_dict().items():
        ours = next(name for name in theirs if key.startswith(name))
        name = theirs[ours] + key.removeprefix(ours)
        for prefix in ("net.", "diffusion.net.", "sampler.net."):
            state[f"diffusion.{prefix}{name}"] = value
            if ours == "mlp.":
                again = name.replace("blocks.1.blocks.0.", "blocks.1.blocks.1.")
                state[f"diffusion.{prefix}{again}"] = value
    state["vqvae.encoders.0.weight"] = torch.zeros(1)
    load_unet(model.net, state, "file")
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), source.parameters(), strict=True)
    )
    state["diffusion.net.blocks.9.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match="1 unknown .blocks.9.weight"):
        load_unet(model.net, state, "file")
