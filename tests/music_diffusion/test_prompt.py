"""Prompts longer than what a model looks at."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from audio import files as audio_files
from foundation.errors import UserError
from foundation.windows import AudioWindow
from music_diffusion.commands import prompt as prompts
from music_diffusion.commands.prompt import Prompt
from music_diffusion.commands.sample import read_init

RATE = 1000
MODEL = SimpleNamespace(
    sample_rate=RATE, window=AudioWindow(RATE, 50), codec=SimpleNamespace(hop=2)
)


@pytest.fixture
def song(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(prompts, "SEEN", 1)
    monkeypatch.setattr(prompts, "BLOCK", 700)
    samples = torch.rand(2, 10 * RATE, generator=torch.Generator().manual_seed(0)) - 0.5
    audio_files.write(tmp_path / "song.wav", samples, RATE)
    return tmp_path / "song.wav"


def test_a_long_prompt_is_continued_from_its_end(song, tmp_path):
    whole = audio_files.read(song)
    prompt = Prompt(song, MODEL)
    assert RATE <= prompt.audio.shape[1] <= 2 * RATE and prompt.first % 512 == 0
    assert torch.equal(prompt.audio, whole[:, prompt.first :]) and prompt.keep is None
    clip = torch.cat([prompt.audio, torch.zeros(2, 300)], dim=1)
    audio_files.write_pieces(tmp_path / "out.wav", prompt.around(clip), 2, RATE)
    made = audio_files.read(tmp_path / "out.wav")
    assert torch.equal(made, torch.cat([whole, torch.zeros(2, 300)], dim=1))
    mono = torch.cat(list(prompt.around(clip.mean(0, keepdim=True))), dim=1)
    torch.testing.assert_close(mono[:, :9000], whole[:, :9000].mean(0, keepdim=True))


def test_a_long_prompt_is_repaired_where_it_is_asked_for(song):
    whole = audio_files.read(song)
    prompt = Prompt(song, MODEL, (5.0, 5.5))
    assert prompt.audio.shape[1] < 3.1 * RATE
    assert prompt.first + (~prompt.keep).nonzero()[[0, -1], 0].tolist()[0] == 5000
    assert int((~prompt.keep).sum()) == 500
    assert torch.equal(torch.cat(list(prompt.around(prompt.audio)), dim=1), whole)
    with pytest.raises(UserError, match="regenerate needs 0 <= start < end <= 10.00 s"):
        Prompt(song, MODEL, (5.0, 11.0))


def test_a_films_sound_is_a_stereo_prompt_and_a_spike_is_none(song, tmp_path):
    six = np.tile(np.linspace(-0.1, 0.1, 3000, dtype=np.float32)[:, None], (1, 6))
    soundfile.write(tmp_path / "six.wav", six, RATE)
    assert len(Prompt(tmp_path / "six.wav", MODEL).audio) == 2
    assert len(read_init(tmp_path / "six.wav", 1.0, RATE, "skip")) == 2
    six[5] = 1e30
    soundfile.write(tmp_path / "spike.wav", six, RATE, subtype="FLOAT")
    with pytest.raises(UserError, match="spike.wav .*too_loud"):
        Prompt(tmp_path / "spike.wav", MODEL)
    assert Prompt(tmp_path / "spike.wav", MODEL, too_loud="clip").audio.abs().max() <= 1
