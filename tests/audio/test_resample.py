import pytest
import torch

from audio import files as audio_files
from audio.resample import (
    kaiser_filters,
    ratio,
    resample_by_phase,
    resample_kaiser_best,
    resample_sinc,
    sinc_filters,
)


@pytest.mark.parametrize("old, new", [(44100, 48000), (48000, 16000), (8000, 44100)])
def test_a_filter_for_each_sample_gives_what_a_bank_of_filters_does(old, new):
    audio = torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    for whole, filters in ((resample_sinc, sinc_filters), (resample_kaiser_best, kaiser_filters)):
        expected = whole(audio, old, new)
        step, phases = ratio(old, new)
        found = resample_by_phase(audio, step, phases, 0, expected.shape[1], filters)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        part = resample_by_phase(audio, step, phases, 1000, 1500, filters)
        torch.testing.assert_close(part, expected[:, 1000:1500], atol=1e-4, rtol=0)


@pytest.mark.parametrize("old", [22254, 44056, 44101, 11127])
def test_any_rate_is_resampled(old, tmp_path):
    """A tone stays the tone that it was."""
    length = old // 4
    tone = torch.sin(2 * torch.pi * 1000 / old * torch.arange(length))
    for whole, new in ((resample_sinc, 44100), (resample_kaiser_best, 16000)):
        found = whole(tone[None], old, new)[0]
        expected = torch.sin(2 * torch.pi * 1000 / new * torch.arange(len(found)))
        middle = slice(len(found) // 4, -len(found) // 4)
        assert (found - expected)[middle].abs().max() < 0.01
    audio_files.write(tmp_path / "a.wav", 0.5 * tone[None], old, "FLOAT")
    whole = resample_sinc(0.5 * tone[None], old, 44100)
    for start in (0, 3000, whole.shape[1] - 1000):
        part = audio_files.read(tmp_path / "a.wav", start, 1000, 44100)
        torch.testing.assert_close(part, whole[:, start : start + 1000], atol=1e-4, rtol=0)
