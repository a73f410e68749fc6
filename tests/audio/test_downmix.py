import numpy as np
import pytest
import soundfile
import torch

from audio import files as audio_files
from audio.downmix import mix
from tests.audio.encoded import encode

NAMES = ("FL", "FR", "FC", "LFE", "BL", "BR")


def test_five_one_is_mixed_as_the_recommendation_says():
    left = torch.tensor([1, 0, 0.5**0.5, 0, 0.5**0.5, 0])
    left /= left.sum()
    stereo = mix(torch.eye(6), 2, NAMES)
    torch.testing.assert_close(stereo, torch.stack((left, left[[1, 0, 2, 3, 5, 4]])))
    torch.testing.assert_close(mix(torch.eye(6), 1, NAMES), stereo.mean(0, keepdim=True))
    torch.testing.assert_close(mix(torch.eye(6), 2), stereo)  # the usual order of six
    assert mix(torch.ones(8, 3), 2).abs().max() <= 1 + 1e-6
    assert torch.equal(mix(torch.eye(6), 6, NAMES), torch.eye(6))
    assert mix(torch.eye(11), 2).eq(1 / 11).all()  # who knows what eleven are


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a", "a.opus", "a.mka"])
def test_a_films_sides_stay_apart(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rate = 48000
    random = np.random.default_rng(0)
    t = np.arange(rate // 2) / rate
    six = np.stack([0.2 * np.sin(2 * np.pi * f * t) for f in (440, 660, 550, 60, 880, 990)])
    six += 1e-4 * random.standard_normal(six.shape)
    if name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, six.T, rate)
    else:
        codec = "aac" if name == "a.m4a" else "libopus"
        container = {"format": "ogg"} if name == "a.opus" else {}
        encode(tmp_path / name, codec, six.astype(np.float32), rate, "5.1", **container)
    stereo = audio_files.read(tmp_path / name, rate // 8, rate // 4, channels=2)
    peaks = torch.fft.rfft(stereo).abs() / (rate // 8)
    tones = {f: [round(value.item(), 2) for value in peaks[:, f // 4]] for f in (440, 660, 880)}
    share = 0.2 / (1 + 2 * 0.5**0.5)
    for tone, sides in ((440, (1, 0)), (660, (0, 1)), (880, (0.5**0.5, 0))):
        assert tones[tone] == pytest.approx([share * side for side in sides], abs=0.015)
