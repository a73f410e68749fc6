"""Fades from one sound to another."""

import pytest
import torch

from audio.crossfade import crossfade, weights


def test_powers_of_the_constant_power_fade_add_to_one():
    fade_in, fade_out = weights(101, "constant-power")
    torch.testing.assert_close(fade_in**2 + fade_out**2, torch.ones(101))


def test_weights_of_the_linear_fade_add_to_one():
    fade_in, fade_out = weights(101, "linear")
    torch.testing.assert_close(fade_in + fade_out, torch.ones(101))


def test_constant_power_keeps_the_loudness_of_different_sounds():
    old, new = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0))
    kept = crossfade(old, new, "constant-power").view(10, -1).std(1)
    torch.testing.assert_close(kept, torch.ones(10), atol=0.03, rtol=0)
    assert crossfade(old, new, "linear").view(10, -1).std(1)[5] < 0.8  # linear has a dip


@pytest.mark.parametrize("style", ["linear", "constant-power"])
def test_a_fade_passes_from_old_to_new(style):
    faded = crossfade(torch.ones(50), -torch.ones(50), style)
    assert faded[0] == 1 and faded[-1] == -1


def test_an_unknown_style_is_named():
    with pytest.raises(ValueError, match="must be linear or constant-power, got 'linear, '"):
        weights(4, "linear, ")  # part of the list of styles is not a style
