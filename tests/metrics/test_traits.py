"""Traits of clips against known answers."""

import math

import pytest
import torch

from metrics.distances import distances
from metrics.loudness import loudness
from metrics.musicality import RATE
from metrics.traits import compare_trait, pitch_class_divergence, pitch_class_shares, traits

TIME = torch.arange(4 * RATE) / RATE


def sine(frequency, level=1.0):
    return level * torch.sin(2 * math.pi * frequency * TIME)


def white(seed=0):
    return 0.1 * torch.randn(len(TIME), generator=torch.Generator().manual_seed(seed))


def test_loudness_is_that_of_the_standard():
    """BS.1770: a full-scale sine of 997 Hz in one channel has -3.01 LUFS; bass has less."""
    clips = torch.stack([sine(997), sine(997, 0.1), sine(40, 0.1), torch.zeros(len(TIME))])
    level, spread = loudness(clips, RATE)
    assert level[:2].tolist() == pytest.approx([-3.01, -23.01], abs=0.05)
    assert level[2] < -26 and level[3].isnan()
    assert spread[0] < 0.01 and spread[3].isnan()
    with_silence = torch.cat([sine(997), 0 * TIME])[None]  # which doesn't count
    assert loudness(with_silence, RATE)[0].item() == pytest.approx(-3.01, abs=0.2)


def test_traits_tell_a_note_from_noise():
    found = traits(torch.stack([sine(440), white(), 0 * TIME]))
    one, twelve, none = found["pitch_classes"].tolist()
    assert one < 3 and twelve > 11.5 and math.isnan(none)
    assert found["brightness"][0] == pytest.approx(math.log2(0.44), abs=0.05)
    assert found["brightness"][1] == pytest.approx(math.log2(RATE / 4000), abs=0.05)


def test_a_shifted_trait_is_as_far_away_as_it_was_shifted():
    real = torch.randn(400, generator=torch.Generator().manual_seed(0)) * 3 + 10
    found = compare_trait(real + 6, real)
    assert found and found.distance == pytest.approx(6 / float(real.std()), rel=1e-3)
    assert found.generated - found.reference == pytest.approx(6, rel=1e-3)
    assert found.reference_margin == pytest.approx(1.96 * 3 / 20, rel=0.1)
    assert compare_trait(torch.tensor([1.0, math.nan]), real) is None


def test_pitch_classes_of_two_keys_diverge():
    shares = pitch_class_shares(torch.stack([sine(440), sine(880), sine(622.25), white()]))
    same, other, all_ = (pitch_class_divergence(shares[:1], shares[i : i + 1]) for i in (1, 2, 3))
    assert same < 0.05 < all_ < other <= 1


def test_distances_of_few_vectors_are_those_that_few_tell():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    many, few = distances(x, x + 1, [4] * 10), distances(x, x[:4] + 1, [4])
    assert None not in vars(many).values() and many.fad == pytest.approx(3, abs=1e-4)
    assert few.precision is few.mauve_type is few.fad_margin is few.kad_margin is None
