"""What a song is asked for, as settings of Jukebox Diffusion."""

import json

import pytest
import torch

from audio.files import write
from foundation.errors import UserError
from jbdiff.samplers import DDIM, DPM
from music_diffusion.studio.library import Library
from music_diffusion.studio.songs import SongRequest, as_json, song_of, usual_options


@pytest.fixture
def library(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "two.ckpt").write_bytes(b"")
    write(tmp_path / "runs" / "x.wav", torch.zeros(1, 800), 8000)
    return Library.of(tmp_path, [tmp_path / "runs"])


def test_levels_options_and_files_become_a_songs(library, tmp_path):
    asked = SongRequest(
        models={"level_2": "runs/two.ckpt", "level_3": "base"},
        options={"level_3": {"steps": 3, "guidance": 2}, "level_2": {"init_strength": 0.25}},
        samplers={"level_3": "DDIM"},
        init="runs/x.wav",
        context="runs/x.wav",
        noise_style="walk",
        seed=7,
        sections=[{"from": 0, "to": 4, "tags": {"piano": 1}}, {"from": 4, "label": "jazz"}],
    )
    song = song_of(asked, library, tmp_path / "out")
    assert (song.levels, song.order, song.noise_style, song.noise_seed) == ("32", [3, 2], "walk", 7)
    assert song.level_3.sampler == DDIM(steps=3) and song.level_3.guidance == 2.0
    assert song.level_2.init_strength == 0.25
    assert song.init_audio == song.context_audio == str((tmp_path / "runs" / "x.wav").resolve())
    assert song.sections == asked.sections
    assert SongRequest.of(json.loads(json.dumps(as_json(asked)))) == asked
    assert asked.again().seed == 8


@pytest.mark.parametrize(
    "settings",
    [
        {"models": {"level_9": "base"}}, {"models": {}}, {"models": {"level_3": "/etc/passwd"}},
        {"options": {"level_3": {"checkpoint": 1}}}, {"samplers": {"level_3": "Analytic"}},
        {"count": 5}, {"seconds": 0.0}, {"seconds": 1e6}, {"init": "/etc/passwd"},
        {"context": "runs/../x"}, {"noise_style": "loud"}, {"noise_step_size": 2.0},
        {"strength": 2.0}, {"out": "/tmp/x"}, {"sections": 3}, {"sections": [{"to": 3}]},
        {"sections": [{"from": 0, "key": "H dur"}]}, {"sections": [{"from": 0, "out": "/tmp/x"}]},
    ],
)  # fmt: skip
def test_what_fits_no_song_is_refused_before_it_waits(library, tmp_path, settings):
    with pytest.raises(UserError):
        song_of(SongRequest.of(settings), library, tmp_path)


def test_the_usual_options_are_the_songs_own():
    assert usual_options("level_3")[0] == type(DPM()).__name__
    assert usual_options("level_3")[1]["steps"] == 25
    assert "guidance" not in usual_options("dance")[1]
