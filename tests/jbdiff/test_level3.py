"""Level 3: latents of the spectral codec, at tiny sizes; level 2 over its audio; songs of both."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from audio import files as audio
from codec.jukebox import JukeboxCodec
from codec.spectral import SpectralCodec
from foundation.errors import UserError
from jbdiff.generation import encode_end
from jbdiff.latent_transformer import LatentDiT
from jbdiff.levels import defaults_of, join_length
from jbdiff.module import JBDiff
from jbdiff.objective import RectifiedFlow, VDiffusion
from jbdiff.samplers import DDIM, DPM
from jbdiff.song_maker import make_song
from jbdiff.song_settings import LevelSettings, Song
from jbdiff.velocity_net import shorten_context
from music_diffusion.commands import main as cli
from tests.codec.test_spectral import TINY, path, tones  # noqa: F401 (path is a fixture)
from tests.jbdiff.test_module import level

SIZES = {"channels": 12, "hidden_size": 16, "num_blocks": 1, "num_heads": 2, "cond_dim": 16}
SIZES |= {"near": 4, "patch": 2}
FAST = DDIM(2)


@pytest.fixture
def model(path: str) -> JBDiff:  # noqa: F811
    """A level 3 of 16 latents of 256 samples, whose every weight is drawn."""
    torch.manual_seed(0)
    codec = SpectralCodec(path, config=TINY, iterations=4)
    made = JBDiff(3, codec=codec, net=partial(LatentDiT, **SIZES), base_tokens=16).eval()
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return made


@pytest.fixture
def over(model: JBDiff) -> JBDiff:
    """A level 2 that refines level 3's audio."""
    return level(2, coarser=model.codec)


def contexts(model: JBDiff, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Record the contexts that the network is given."""
    seen: list[Tensor] = []
    prepare = model.net.prepare
    monkeypatch.setattr(model.net, "prepare", lambda c: seen.append(c) or prepare(c))
    return seen


def test_each_level_has_its_defaults(model):
    assert isinstance(model.objective, RectifiedFlow) and model.context_tokens == 16
    assert model.guidance == 1.5 and model.learning_rate == 1e-3 and model.from_noise
    two = level(2)
    assert isinstance(two.objective, VDiffusion) and two.context_tokens == 32
    assert two.guidance == 3.66 and two.learning_rate == 4e-5 and two.from_noise
    assert [join_length(hop) for hop in (8, 32, 128, 2048)] == [1024, 1024, 1024, 2048]


def test_stored_latents_and_audio_give_the_same_loss_but_for_edges(model):
    length = model.window.context + model.window.length
    song = tones(2, length + 2560)
    latents = model.codec.to_latents(song)
    stored = {"context": latents[..., :16].half().float(), "latents": latents[..., 16:32]}
    cut = {"context": song[..., : 16 * 256], "audio": song[..., 16 * 256 : length]}
    times = torch.tensor([0.2, 0.7])
    first, second = (
        model.losses(batch, times, torch.Generator().manual_seed(0)) for batch in (stored, cut)
    )
    assert first.shape == (2,) and first.isfinite().all()
    torch.testing.assert_close(first, second, rtol=0.2, atol=0)


def test_what_a_prompt_lacks_is_the_null_context_not_silence(model, monkeypatch):
    null = model.net.null_context(torch.zeros(1, 12, 16))
    seen = contexts(model, monkeypatch)
    model.generate(sampler=FAST)
    assert torch.equal(seen[0][:1], null)
    prompt = tones(1, 256 * 5 + 100)[0]
    made = model.generate(0.1, prompt=prompt, sampler=FAST)
    assert made.shape == (1, 1, prompt.shape[-1] + 4410)
    assert torch.equal(made[0, :, : 256 * 5 + 100], prompt)
    given = seen[1][:1]
    assert torch.equal(given[..., :11], null[..., :11])
    torch.testing.assert_close(given[..., 11:], encode_end(model, prompt[None]))
    keep = torch.ones(256 * 20, dtype=torch.bool)
    keep[1000:3000] = False
    seen.clear()
    repaired = model.generate(prompt=tones(1, 256 * 20)[0], keep=keep, sampler=FAST)
    assert repaired.shape == (1, 1, 256 * 20)
    start = int((seen[0][0] != null[0]).any(0).sum())  # latents before the window
    assert torch.equal(seen[0][:1, :, : 16 - start], null[..., : 16 - start])


def test_the_end_of_a_prompt_is_not_heard_as_the_end_of_the_music(model):
    song = tones(1, 256 * 40)
    whole = model.codec.to_latents(song)[..., 4:20]
    end = encode_end(model, song[..., : 256 * 20])
    cut = model.codec.to_latents(song[..., : 256 * 20])[..., 4:20]
    assert (end - whole)[..., -1].norm() < 0.6 * (cut - whole)[..., -1].norm()
    torch.testing.assert_close(end[..., :12], whole[..., :12], atol=1e-4, rtol=1e-4)


def test_the_level_is_even_where_a_prompt_and_what_follows_meet(model, monkeypatch):
    """White noise that is continued by its own latents: its power is the same at the join."""
    noise = 0.1 * torch.randn(1, 256 * 48, generator=torch.Generator().manual_seed(0))
    rest = model.codec.to_latents(noise[None])[..., 32:]
    monkeypatch.setattr(model, "sample_latents", lambda *_, **__: rest)
    made = model.generate(16 * 256 / 44100, prompt=noise[:, : 256 * 32], sampler=FAST)[0, 0]
    decoded = model.codec.from_latents(model.codec.to_latents(noise[None]))[0, 0]
    join = slice(256 * 32, 256 * 32 + 441)  # the crossfade
    expected = (noise[0, join].square().mean() + decoded[join].square().mean()) / 2
    assert 0.7 < made[join].square().mean() / expected < 1.4


def test_contexts_are_shortened_from_their_beginning(model):
    context = torch.ones(64, 12, 16)
    made = shorten_context(model.net, context, 0.5, torch.Generator().manual_seed(0))
    kept = (made == 1).all(1)  # [B, M]
    assert (kept[:, 1:] >= kept[:, :-1]).all()
    assert 0.2 < kept.all(1).float().mean() < 0.7 and not kept[:, 0].all()
    assert torch.equal(shorten_context(model.net, context, 0.0), context)


def test_level_2_can_refine_level_3s_audio(model, over):
    plain, codec = JukeboxCodec(2), over.codec
    assert codec.fingerprint != plain.fingerprint and not over.from_noise
    assert over.window.align == 256 and plain.stream_names == ("tokens",)
    song = tones(2, over.window.context + over.window.length)
    copy = model.codec.from_latents(model.codec.to_latents(song))
    streams = codec.encode_streams(song, ("tokens", "round_trip"))
    assert torch.equal(streams["round_trip"], plain.encode(copy)[..., : song.shape[-1] // 128])
    (whole,) = codec.encode_in_pieces(lambda a, b: song[0, :, a:b], song.shape[-1], ("round_trip",))
    assert torch.equal(whole["round_trip"], codec.round_trip(song[:1]))
    batch = {"context": song[..., : over.window.context]}
    batch["audio"] = song[..., over.window.context :]
    assert set(over.latents(batch)) == {"real", "context", "coarser"}
    assert over.losses(batch, torch.tensor([0.2, 0.7])).isfinite().all()
    with pytest.raises(UserError, match="level 2 refines the audio of level 3: give that as init"):
        over.generate(0.1)


def test_options_of_another_level_are_refused(model):
    with pytest.raises(UserError, match="codec is for level 3, level 2 takes codec_path"):
        level(2, codec=model.codec)
    with pytest.raises(UserError, match="only level 2 takes coarser"):
        level(1, coarser=model.codec)
    with pytest.raises(UserError, match="nothing is coarser than level 3"):
        level(3, coarser=model.codec)
    with pytest.raises(UserError, match="JukeboxCodec has no stream of continuous latents"):
        level(3, codec=JukeboxCodec())
    with pytest.raises(UserError, match="LatentDiT is of 12 channels, the latents of .* have 64"):
        JBDiff(2, net=partial(LatentDiT, **SIZES))
    with pytest.raises(UserError, match="min_snr_gamma weighs losses of VDiffusion"):
        level(3, codec=model.codec, min_snr_gamma=5.0)


def song_of(models: dict[str, JBDiff], levels: str, folder: Path) -> Song:
    settings = {}
    for name in models:
        (folder / name).write_text(name)
        settings[name] = LevelSettings(str(folder / name), DPM(4), 1.0, init_strength=0.5)
    out = str(folder / f"song{levels}")
    return Song(out, seconds=0.25, levels=levels, token_multiplier=2, **settings)


@pytest.mark.parametrize("refines", [False, True])
def test_songs_run_from_level_3_down(model, over, refines, tmp_path, pictures, monkeypatch):
    two = over if refines else level(2)
    models = {"level_3": model, "level_2": two}
    given = []
    sample = two.sample_latents
    monkeypatch.setattr(two, "sample_latents",
                        lambda noise, *a, **k: given.append((noise, k["init"]))
                        or sample(noise, *a, **k))  # fmt: skip
    folder = make_song(song_of(models, "32", tmp_path), models)
    made = audio.read(folder / "song.wav")
    assert made.shape == (2, 11025) and made.isfinite().all()
    coarse = audio.read(folder / "level_3.wav")
    assert coarse.shape == (1, 11025)
    noise, init = given[0]
    wanted = two.codec.to_latents(coarse[None, :, :4096])  # two windows of 16 tokens of 128 samples
    assert torch.equal(noise, init) == refines
    assert (init - wanted).abs().amax(1).lt(1e-4).float().mean() > 0.9  # but for 16 bits


def test_windows_of_level_3_follow_each_other_and_decode_without_a_join(
    model, tmp_path, pictures, monkeypatch
):
    seen, latents = contexts(model, monkeypatch), []
    sample = model.sample_latents

    def kept(*args, **options):
        latents.append(sample(*args, **options))
        return latents[-1]

    monkeypatch.setattr(model, "sample_latents", kept)
    models = {"level_3": model}
    made = audio.read(make_song(song_of(models, "3", tmp_path), models) / "level_3.wav")
    null = model.net.null_context(torch.zeros(1, 12, 16))
    assert torch.equal(seen[0], null) and torch.equal(seen[1], latents[0])
    whole = model.codec.from_latents(torch.cat(latents, -1))[0, :, : made.shape[-1]]
    torch.testing.assert_close(made, whole, atol=2e-4, rtol=0)  # 16 bits


def test_a_stopped_song_of_level_3_is_resumed_bit_for_bit(model, tmp_path, pictures, monkeypatch):
    (tmp_path / "b").mkdir()
    models = {"level_3": model}
    whole = make_song(song_of(models, "3", tmp_path), models)
    sample, calls = model.sample_latents, []

    def stops(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sample(*args, **options)

    monkeypatch.setattr(model, "sample_latents", stops)
    song = song_of(models, "3", tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        make_song(song, models)
    assert audio.read(tmp_path / "b" / "song3" / "level_3.wav").shape == (1, 2 * 4096)
    again = make_song(song, models)
    assert (again / "song.wav").read_bytes() == (whole / "song.wav").read_bytes()


def test_a_song_says_how_far_it_is_and_what_that_raises_stops_it(
    model, tmp_path, pictures, capsys, caplog
):
    models, steps = {"level_3": model}, []
    with caplog.at_level("INFO", "jbdiff"):
        whole = make_song(
            song_of(models, "3", tmp_path), models, on_step=lambda *s: steps.append(s)
        )
    assert steps == sorted(steps) and steps[-1][0] == steps[-1][1] > 0
    assert "%" not in capsys.readouterr().err, "a file gets no bar"
    assert "level_3: done in" in caplog.text
    (tmp_path / "b").mkdir()
    song = song_of(models, "3", tmp_path / "b")

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        make_song(song, models, on_step=stop)
    again = make_song(song, models)
    assert (again / "song.wav").read_bytes() == (whole / "song.wav").read_bytes()


def test_training_resumes_on_stored_latents(command_line, music, path, tmp_path):  # noqa: F811
    net = [f"--model.net.{name}={value}" for name, value in SIZES.items()]
    codec = ["--model.codec=SpectralCodec", f"--model.codec.path={path}"]
    codec += [f"--model.codec.config.{name}={value}" for name, value in asdict(TINY).items()]

    def fit(folder: str, steps: int, *more: str) -> dict:
        args = [
            "--config",
            "jbdiff",
            "--config",
            "level3_small",
            "--model.jb_level=3",
            *net,
            *codec,
        ]
        args += [f"--data.audio={music}", "--data.batch_size=2", "--model.dropout=0.1"]
        args += [f"--trainer.max_steps={steps}", "--trainer.limit_val_batches=0"]
        args += ["--trainer.logger=false", "--trainer.accelerator=cpu"]
        args += [f"--trainer.default_root_dir={tmp_path / folder}", *more]
        assert cli.main(["fit", *args]) == 0
        last = tmp_path / folder / "checkpoints" / "last.ckpt"
        return torch.load(last, weights_only=False)

    whole = fit("whole", 2)
    fit("parts", 1)
    parts = fit("parts", 2, "--ckpt_path", "last")
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(v, parts[key][k]) for k, v in whole[key].items())
    (header,) = (tmp_path / "cache").glob("**/header.json")
    assert json.loads(header.read_text())["streams"] == ["latents"]


def test_training_often_sees_little_but_noise():
    """There it is decided what kind of music a window becomes."""
    objective, times = defaults_of(3).objective, (torch.arange(1000) + 0.5) / 1000
    assert isinstance(objective, RectifiedFlow)
    assert (objective.spaced(times) > 0.97).float().mean() > 0.08
    assert (RectifiedFlow().spaced(times) > 0.97).float().mean() < 0.001
