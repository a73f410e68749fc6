"""Mistakes in a song's settings and files are named."""

import pytest

from foundation.errors import UserError
from jbdiff.song_settings import DanceSettings, LevelSettings, Song
from music_diffusion.commands import main as cli

pytestmark = pytest.mark.usefixtures("command_line")

MISTAKES = [
    ({"levels": "214"}, "levels must be some of 3, 2, 1 and 0"),
    ({"levels": "22"}, "levels must be some of 3, 2, 1 and 0"),
    ({"levels": "32", "level_2": LevelSettings()}, "needs level_2.checkpoint: train it with fit"),
    ({"levels": ""}, "without levels there must be init_audio"),
    ({"level_1": Song.level_1}, "needs level_1.checkpoint"),
    ({"seconds": 0.0}, "seconds must be positive"),
    ({"level_0": LevelSettings("x", guidance=-1.0)}, "level_0.guidance must be at least 0"),
    ({"dance": DanceSettings(crossfade=-1)}, "dance.crossfade must be at least 0"),
    ({"noise_style": "brown"}, "noise_style must be random or constant or region or walk"),
    ({"dance": DanceSettings("x", crossfade_style="sine")}, "crossfade style must be linear or"),
    (
        {"level_0": LevelSettings("x", guidance_rescale=-1.0)},
        r"level_0.guidance_rescale must be in \[0, 1",
    ),
    ({"noise_step_size": 1.5}, "noise_step_size must be between 0 and 1"),
    ({"init_strength": 2.0}, r"init_strength must be in \[0, 1\]"),
    ({"token_multiplier": 0}, "token_multiplier must be at least 1"),
    ({"count": 0}, "count must be at least 1"),
    ({"context_audio": "missing.wav"}, "context_audio: no such file: missing.wav"),
]


@pytest.mark.parametrize("settings, message", MISTAKES, ids=lambda value: str(value)[:40])
def test_mistakes_are_named(studio, settings, message):
    with pytest.raises(UserError, match=message):
        studio.make(studio.song(**settings))
    assert not (studio.folder / "song").exists()


def test_a_checkpoint_of_another_level_is_refused(studio):
    studio.models["level_1"] = studio.models["level_2"]
    with pytest.raises(UserError, match="level_1.checkpoint is of level 2: give one of 1"):
        studio.make(studio.song())
    studio.models["level_1"] = studio.models["dance"]
    with pytest.raises(UserError, match="level_1.checkpoint must be of a level's model"):
        studio.make(studio.song())


def test_a_crossfade_as_long_as_a_window_is_refused(studio):
    with pytest.raises(UserError, match="dance.crossfade must be 1 to 8191 samples"):
        studio.make(studio.song(dance=DanceSettings(str(studio.folder / "dance"), crossfade=8192)))


def test_what_is_no_checkpoint_is_refused(studio, capsys):
    (studio.folder / "level_2").write_text("no checkpoint")
    options = [f"--level_2.checkpoint={studio.folder / 'level_2'}", "--levels=2"]
    assert cli.main(["sample", "jbdiff", *options, "--accelerator=cpu"]) == 2
    error = capsys.readouterr().err
    assert "level_2.checkpoint" in error and "torch.save didn't write it" in error


def test_an_initial_audio_shorter_than_the_song_is_refused(studio, tune):
    with pytest.raises(UserError, match="has 0.40 s, the song can't be longer"):
        studio.make(studio.song(init_audio=tune, seconds=2.0))


def test_what_is_no_audio_is_refused(studio):
    with pytest.raises(UserError, match="can't be read"):
        studio.make(studio.song(init_audio=str(studio.folder / "dance"), seconds=None))


def test_without_levels_the_base_model_plays_or_what_checkpoints_say():
    assert Song().order == [3] and list(Song().checkpoints) == ["level_3"]
    with pytest.raises(UserError, match="levels '210' needs level_1.checkpoint"):
        Song(level_2=LevelSettings("x"))
