"""Songs: lengths, levels, resuming after a stop, what each window is given."""

import dataclasses
import json

import pytest
import torch
import yaml

from audio import files as audio
from foundation.errors import UserError
from jbdiff.song_files import SongFolder
from jbdiff.song_maker import SongMaker
from jbdiff.song_settings import Song
from tests.jbdiff.songs import RATE, Studio

pytestmark = pytest.mark.usefixtures("command_line")

torch.manual_seed(0)


@pytest.mark.parametrize("dance", [True, False])
@pytest.mark.parametrize("levels", ["2", "21", "012", "10", "0", "20"])
def test_a_song_has_the_seconds_asked_for(studio, levels, dance):
    folder = studio.make(studio.song(levels=levels, dance=dance, seconds=0.3))
    made = audio.read(folder / "song.wav")
    assert made.shape == (2, round(0.3 * RATE))
    assert made.abs().max() > 0.01
    for level in levels:
        assert audio.read(folder / f"level_{level}.wav").shape == (1, round(0.3 * RATE))
    assert not (folder / "parts").exists()


@pytest.mark.parametrize("num_samples", [8192, 16384, 16385, 512, 1])
def test_songs_of_whole_windows_and_others_lose_nothing(studio, num_samples):
    song = studio.song(levels="2", seconds=num_samples / RATE)
    assert audio.read(studio.make(song) / "song.wav").shape == (2, num_samples)


def test_the_same_seed_gives_the_same_song(studio):
    first = studio.make(studio.song("a")) / "song.wav"
    again = studio.make(studio.song("b")) / "song.wav"
    other = studio.make(studio.song("c", noise_seed=1)) / "song.wav"
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("stop_at", [1, 6, 11, 30, 57, 75, 76])
def test_a_resumed_song_is_the_same_bit_for_bit(studio, stop_at):
    whole = studio.make(studio.song("whole"))
    assert studio.calls == 76  # 8 at level 2, 14 at level 1, 52 at level 0, 2 of Dance
    studio.calls, studio.stop_at = 0, stop_at
    song = studio.song("stopped")
    with pytest.raises(KeyboardInterrupt):
        studio.make(song)
    finished = sorted(path.name for path in (studio.folder / "stopped").glob("*.wav"))
    assert finished == [] if stop_at == 1 else "level_2.wav" in finished
    for name in finished:
        assert audio.read(studio.folder / "stopped" / name).abs().max() > 0
    studio.stop_at = 0
    studio.make(song)
    for path in whole.glob("*.wav"):
        assert path.read_bytes() == (studio.folder / "stopped" / path.name).read_bytes(), path


def test_resuming_repeats_no_complete_window(studio):
    studio.make(studio.song("whole"))
    whole, studio.calls, studio.stop_at = studio.calls, 0, 30
    with pytest.raises(KeyboardInterrupt):
        studio.make(studio.song("stopped"))
    studio.stop_at = 0
    studio.make(studio.song("stopped"))
    assert studio.calls - whole <= 4  # the steps of the window that was stopped


def test_a_complete_song_is_left_alone(studio):
    folder = studio.make(studio.song())
    calls, made = studio.calls, (folder / "song.wav").read_bytes()
    studio.make(studio.song())
    assert studio.calls == calls and (folder / "song.wav").read_bytes() == made


def test_another_song_is_not_put_on_top(studio):
    studio.make(studio.song())
    with pytest.raises(UserError, match=r"other settings \(noise_seed\): give another --out"):
        studio.make(studio.song(noise_seed=5))


def test_settings_json_makes_the_same_song(studio, tune):
    folder = studio.make(studio.song(context_audio=tune, init_audio=tune, seconds=0.2))
    kept = json.loads((folder / "settings.json").read_text())
    parts = {"level_3", "level_2", "level_1", "level_0", "dance"}
    again = {name: value for name, value in kept.items() if name not in parts}
    for name in parts:
        sampler = kept[name].pop("sampler")
        default = getattr(Song, name)
        assert sampler["class_path"] == f"jbdiff.samplers.{type(default.sampler).__name__}"
        made = type(default.sampler)(**sampler["init_args"])
        again[name] = type(default)(**kept[name], sampler=made)
    made = studio.make(Song(out=str(studio.folder / "again"), **again)) / "song.wav"
    assert made.read_bytes() == (folder / "song.wav").read_bytes()
    assert kept["sha256"].keys() == parts - {"level_3"} | {"context_audio", "init_audio"}
    (studio.folder / "dance").write_text("another checkpoint")
    with pytest.raises(UserError, match="dance .* is not the file these settings were made with"):
        studio.make(Song(out=str(studio.folder / "third"), **again))


def test_the_yaml_holds_the_defaults_of_the_code():
    kept = yaml.safe_load(open("configs/song.yaml"))
    for name, value in kept.items():
        default = getattr(Song, name)
        wanted = dataclasses.asdict(default) if dataclasses.is_dataclass(default) else default
        if isinstance(wanted, dict):
            assert value["sampler"].pop("class_path") == type(default.sampler).__name__
            value["sampler"] = {"noise_scale": 1.0} | value["sampler"]["init_args"]
        assert value == wanted, name
    left_out = {"out", "accelerator", "dry_run", "sha256"}
    assert {field.name for field in dataclasses.fields(Song)} - kept.keys() == left_out


def test_the_length_and_the_sound_are_the_initial_audios(studio, tune):
    folder = studio.make(studio.song(levels="2", dance=False, init_audio=tune, seconds=None,
                                     init_strength=1.0))  # fmt: skip
    made, given = audio.read(folder / "song.wav"), audio.read(tune, sample_rate=RATE, channels=1)
    assert made.shape[-1] == given.shape[-1] == round(0.4 * RATE)
    model = studio.models["level_2"]
    whole = model.codec.from_latents(model.codec.to_latents(given[None]))[0, :, : made.shape[-1]]
    middle = slice(2048, 6144)  # inside the first window, away from where windows are joined
    torch.testing.assert_close(made[:1, middle], whole[:, middle], atol=0.03, rtol=0)


def test_strength_0_forgets_the_initial_audio(studio, tune):
    song = studio.song("a", levels="2", init_audio=tune, init_strength=0.0, seconds=0.3)
    plain = studio.song("b", levels="2", seconds=0.3)
    studio.make(song)
    given = studio.models["level_2"].given
    for window in given:  # at level 2 the noise is drawn
        torch.testing.assert_close(window["noise"].std(), torch.tensor(1.0), atol=0.1, rtol=0)
    count = len(given)
    studio.make(plain)
    torch.testing.assert_close(given[0]["noise"], given[count]["noise"])


def test_level_1_starts_from_what_level_2_makes_of_the_initial_audio(studio, tune):
    studio.make(studio.song(levels="1", dance=False, init_audio=tune, seconds=0.04))
    model, coarse = studio.models["level_1"], studio.models["level_2"].codec
    window = model.base_tokens * model.codec.hop
    given = audio.read(tune, 0, None, RATE, 1)[None, :, :window]
    torch.testing.assert_close(model.given[0]["init"], model.codec.to_latents(given))
    torch.testing.assert_close(
        model.given[0]["noise"], model.codec.to_latents(coarse.decode(coarse.encode(given)))
    )


def test_context_is_the_end_of_the_file_then_the_levels_own_audio(studio, tune):
    folder = studio.make(studio.song(levels="21", dance=False, context_audio=tune))
    for name in ("level_2", "level_1"):
        model = studio.models[name]
        length = model.context_tokens * model.codec.hop
        heard = audio.read(tune, 0, None, RATE, 1)[None]
        torch.testing.assert_close(
            model.given[0]["context"], model.codec.to_latents(heard[..., -length:])
        )
        window = model.base_tokens * model.codec.hop
        last = model.given[-1]["context"]
        start = (len(model.given) - 1) * window
        made = audio.read(folder / f"{name}.wav")[None]
        before = torch.cat([heard, made[..., :start]], -1)[..., -length:]
        same = (model.codec.to_latents(before) - last).abs().amax(1) < 1e-4
        assert same[..., :-16].float().mean() > 0.9  # but for 16 bits, and the end that is joined


def test_without_update_every_window_follows_the_context_audio(studio, tune):
    song = studio.song(levels="2", context_audio=tune, update_lowest_context=False)
    studio.make(song)
    first, *others = [window["context"] for window in studio.models["level_2"].given]
    assert others and all(torch.equal(first, other) for other in others)


def test_upsamplers_start_from_the_coarser_levels_audio(studio):
    song = studio.song(levels="21", dance=False)
    studio.make(song)
    model = studio.models["level_1"]
    assert torch.equal(model.given[1]["noise"], model.given[1]["init"])
    coarser = audio.read(studio.folder / "song" / "level_2.wav")[None]
    window = model.base_tokens * model.codec.hop
    wanted = model.codec.to_latents(coarser[..., window : 2 * window])
    same = (wanted - model.given[1]["noise"]).abs().amax(1) < 1e-4
    assert same.float().mean() > 0.9


def test_songs_of_a_batch_have_seeds_one_apart(studio):
    folder = studio.make(studio.song("batch", count=2, noise_seed=3))
    assert (folder / "0" / "song.wav").is_file() and (folder / "1" / "level_0.wav").is_file()
    batch = studio.models["level_2"].given[:]
    for i in range(2):
        studio.models["level_2"].given.clear()
        studio.make(studio.song(f"alone{i}", levels="2", noise_seed=3 + i))
        for window, alone in zip(batch, studio.models["level_2"].given, strict=True):
            assert torch.equal(window["noise"][i], alone["noise"][0])


@pytest.mark.parametrize("style", ["constant", "region", "walk"])
def test_noise_styles_reach_the_base_level(studio, style):
    studio.make(studio.song(levels="2", noise_style=style, noise_step_size=0.1))
    first, second = [window["noise"] for window in studio.models["level_2"].given[:2]]
    distance = (first - second).std().item()
    assert distance == 0 if style == "constant" else 0.05 < distance < 0.2


def test_joining_windows_takes_most_of_the_clicks_at_their_borders(studio, monkeypatch):
    """A tone through the codec window by window, against the same tone decoded as a whole."""
    t = torch.arange(RATE) / RATE
    tone = 0.3 * torch.sin(2 * torch.pi * 110 * t) + 0.2 * torch.sin(2 * torch.pi * 330 * t)
    path = studio.folder / "tone.wav"
    audio.write(path, tone[None], RATE)
    model = studio.models["level_2"]
    whole = model.codec.from_latents(model.codec.to_latents(audio.read(path)[None]))[0, 0, :RATE]
    window = model.base_tokens * model.codec.hop

    def clicks(join: int) -> float:
        monkeypatch.setattr("jbdiff.levels.JOIN", join)
        song = studio.song(f"{join}", levels="2", dance=False, init_audio=str(path), seconds=None)
        folder = studio.make(dataclasses.replace(song, init_strength=1.0))
        made = audio.read(folder / "level_2.wav")[0]
        return float((made - whole).diff().abs()[window - 1 :: window].mean())

    assert clicks(1024) < clicks(0) / 2


def test_a_songs_page_plays_it_and_its_levels(tmp_path, monkeypatch):
    monkeypatch.setattr("jbdiff.song_files.write_film", lambda *_: None)
    studio = Studio(tmp_path)
    text = (studio.make(studio.song(levels="2", seconds=0.1)) / "index.html").read_text()
    assert text.count("<audio") == 2 and 'src="song.wav"' in text and 'src="level_2.wav"' in text
    assert "settings.json" in text


def test_the_estimate_counts_windows_and_calls(studio):
    song = studio.song(seconds=1.0)
    lines = SongMaker(song, studio.models, SongFolder(song)).estimate()
    # 44100 samples: 6 windows of 8192 at level 2, 22 of 2048 at level 1, 87 of 512 at level 0;
    # Dance: 1 + ceil((44100 - 8192) / (8192 - 512)) = 6
    counts = {line.split(":")[0]: line.split(": ")[1] for line in lines[1:]}
    assert counts["level_2"].startswith("6 windows") and "4 calls" in counts["level_2"]
    assert counts["level_1"].startswith("22 windows") and "2 calls" in counts["level_1"]
    assert counts["level_0"].startswith("87 windows") and "2 calls" in counts["level_0"]
    assert counts["dance"].startswith("6 windows")


def test_a_dry_run_makes_nothing(studio):
    folder = studio.make(studio.song(dry_run=True))
    assert not folder.exists() and studio.calls == 0


def test_pictures_and_a_film_of_each_file(studio, pictures, tmp_path, monkeypatch):
    ffmpeg = tmp_path / "bin" / "ffmpeg"
    ffmpeg.parent.mkdir()
    ffmpeg.write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked"\n')
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("PATH", str(ffmpeg.parent), prepend=":")
    studio.make(studio.song(levels="2", seconds=6.0, token_multiplier=4))
    names = {path.name for path in pictures}
    assert names == {
        "song.png", "song_0000.png", "song_0001.png",
        "level_2.png", "level_2_0000.png", "level_2_0001.png",
    }  # fmt: skip
    asked = (ffmpeg.parent / "asked").read_text().splitlines()
    assert [line.split("/")[-1] for line in asked] == ["level_2.mp4", "song.mp4"]


def test_dance_alone_refines_a_file_in_stereo(studio, tune):
    folder = studio.make(studio.song(levels="", init_audio=tune, seconds=None))
    made, given = audio.read(folder / "song.wav"), audio.read(tune, sample_rate=RATE)
    assert made.shape == given.shape
    assert (made - given).abs().mean() < 0.02  # its two channels are kept apart
