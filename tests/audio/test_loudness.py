"""Loudness against what the recommendation says of known signals."""

import math

import numpy as np
import pytest
import torch

from audio.loudness import block_loudness, integrated
from audio.measure import count_clips, in_blocks


def sine(hertz: float, rate: int, seconds: float = 4.0) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)[None]


def loudness(audio: torch.Tensor, rate: int) -> float:
    return integrated(block_loudness(in_blocks(audio, round(0.4 * rate)), rate).numpy())


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
def test_a_sine_at_full_scale_is_what_the_recommendation_says(rate):
    assert loudness(sine(997, rate), rate) == pytest.approx(-3.01, abs=0.03)


def test_level_and_channels_add_up_and_low_notes_count_less():
    tone = sine(997, 48000)
    assert loudness(tone / 10, 48000) == pytest.approx(-23.01, abs=0.03)
    assert loudness(tone.repeat(2, 1), 48000) == pytest.approx(0.0, abs=0.03)
    assert loudness(sine(30, 48000), 48000) < -12


def test_pauses_do_not_count_and_silence_has_no_loudness():
    music, pause = np.full(100, -20.0), np.full(100, -90.0)
    assert integrated(np.concatenate([music, pause])) == pytest.approx(-20.0)
    assert integrated(np.concatenate([music, music - 25])) == pytest.approx(-20.0, abs=0.1)
    assert integrated(pause) == -math.inf


def test_runs_of_full_scale_are_counted_once():
    audio = torch.zeros(2, 100)
    audio[0, 10:13] = 1.0
    audio[0, 20:22] = 1.0  # two samples may be music
    audio[1, 0:50] = -1.0
    audio[1, 60:64] = 1.2
    assert count_clips(audio) == 3
    assert count_clips(torch.ones(1, 2)) == 0
