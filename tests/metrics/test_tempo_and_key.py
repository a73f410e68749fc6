"""Tempo and key of sounds that have known ones."""

import math

import pytest
import torch

from foundation.musical_key import KEYS
from metrics.key import key, key_strengths
from metrics.musicality import RATE
from metrics.tempo import octaves_apart, tempo

CADENCES = {
    "major": ((0, 4, 7), (5, 9, 12), (7, 11, 14)),
    "minor": ((0, 3, 7), (5, 8, 12), (7, 11, 14)),
}


def clicks(beats_a_minute, rate=RATE, seconds=7):
    time = torch.arange(seconds * rate) / rate
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return (noise * torch.exp(-30 * (time % (60 / beats_a_minute))))[None, None] / 4


def cadence(name, rate=RATE):
    """Play tonic, subdominant, dominant and tonic, half a second each."""
    time = torch.arange(rate // 2) / rate
    root = 220 * 2 ** (KEYS.index(name) % 12 / 12)
    first, *others = CADENCES[name.split()[1]]
    chords = [
        sum(torch.sin(2 * math.pi * root * 2 ** (step / 12) * k * time) / k
            for step in chord for k in (1, 2, 3))
        for chord in (first, *others, first)
    ]  # fmt: skip
    return torch.cat(chords)[None, None] / 8


@pytest.mark.parametrize("beats", [72, 95, 120, 155])
def test_the_tempo_of_clicks_is_found(beats):
    found, clarity = tempo(clicks(beats), RATE)
    assert abs(float(found) / beats - 1) < 0.01 and clarity > 0.8


def test_a_tempo_does_not_depend_on_level_or_channels():
    one = tempo(clicks(100), RATE)[0]
    other = tempo(0.1 * clicks(100).expand(1, 2, -1), RATE)[0]
    torch.testing.assert_close(one, other)


def test_noise_has_no_clear_beat_and_silence_no_tempo():
    noise = torch.randn(1, 1, 7 * RATE, generator=torch.Generator().manual_seed(1))
    assert tempo(noise, RATE)[1] < 0.3
    assert tempo(torch.zeros(1, 1, 7 * RATE), RATE)[0].isnan()


def test_halves_and_doubles_are_the_same_tempo_apart_from_octaves():
    apart = octaves_apart(torch.tensor([60.0, 120.0, 90.0]), torch.tensor([120.0, 121.0, 60.0]))
    torch.testing.assert_close(apart, torch.tensor([0.0, 0.012, 0.415]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", KEYS[::5])
def test_the_key_of_a_cadence_is_found(name):
    assert key(cadence(name), RATE) == [name]


def test_strengths_are_shares_and_even_without_pitches():
    noise = torch.randn(1, 1, 4 * RATE, generator=torch.Generator().manual_seed(2))
    cadences = torch.cat([cadence("C major"), cadence("A minor")])
    strengths = key_strengths(cadences, RATE)
    torch.testing.assert_close(strengths.sum(1), torch.ones(2))
    assert strengths.amax() > 0.3 > key_strengths(noise, RATE).amax()
    assert key(torch.zeros(1, 1, RATE), RATE) == [""]
