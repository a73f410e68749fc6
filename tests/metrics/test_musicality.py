"""Notes and beats are told from noise."""

import math

import pytest
import torch

from metrics.musicality import RATE, beat_clarity, noise_in_colour, tonal_peak

TIME = torch.arange(6 * RATE) / RATE


def chord(*frequencies):
    return sum(torch.sin(2 * math.pi * f * TIME) for f in frequencies)[None, None] / 4


def clicks(period):
    noise = torch.randn(len(TIME), generator=torch.Generator().manual_seed(0))
    return (noise * torch.exp(-20 * (TIME % period)))[None, None] / 4


def test_fewer_pitches_have_a_higher_peak():
    one, three = tonal_peak(chord(440), RATE), tonal_peak(chord(440, 554.37, 659.26), RATE)
    noise = tonal_peak(torch.randn(1, 1, len(TIME)), RATE)
    assert one > 0.9 and 0.4 < three < 0.7 and noise < 0.1


def test_a_peak_does_not_depend_on_level_rate_or_channels():
    audio = chord(440, 659.26)
    other = torch.cat([audio, audio], 1) * 0.01
    torch.testing.assert_close(tonal_peak(other, RATE), tonal_peak(audio, RATE))
    assert tonal_peak(torch.zeros(1, 1, RATE), RATE).isnan()


def test_regular_attacks_are_a_beat():
    steady, noise = (
        beat_clarity(audio, RATE) for audio in (clicks(0.5), torch.randn(1, 1, len(TIME)))
    )
    assert steady > 0.8 and noise < 0.3


def test_coloured_noise_has_the_spectrum_and_level_but_no_notes():
    audio = chord(440, 554.37, 659.26)
    noise = noise_in_colour(audio[:, 0], torch.Generator().manual_seed(1))
    assert noise.std() == pytest.approx(float(audio.std()), rel=0.01)
    assert beat_clarity(noise[:, None], RATE) < 0.4
