"""Fades, and the tape that windows are joined on."""

import pytest
import torch

from audio.crossfade import crossfade, weights
from jbdiff.audio_buffer import Tape


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


def windows(audio, length, overlap):
    """Cut audio [B, C, T] into overlapping windows, each with where it begins."""
    starts = range(0, audio.shape[-1] - overlap, length - overlap)
    return [(audio[..., start : start + length], start) for start in starts]


def test_windows_of_one_sound_give_it_back(tmp_path):
    audio = torch.randn(2, 1, 1000)
    tape = Tape(tmp_path / "a.f32", (2, 1, 1000), overlap=30)
    for window, start in windows(audio, 200, 30):
        tape.append(window, start)
    torch.testing.assert_close(tape.read(0, 1000), audio)
    assert tape.end == 1000
    assert tape.read(990, 1020)[..., 10:].eq(0).all()  # silence beyond the end


def test_a_longer_overlap_is_dropped_but_for_the_fade(tmp_path):
    tape = Tape(tmp_path / "a.f32", (1, 1, 150), overlap=10)
    tape.append(torch.zeros(1, 1, 100), 0)
    tape.append(torch.ones(1, 1, 100), 50)
    made = tape.read(0, 150)[0, 0]
    assert made[:91].eq(0).all() and made[99:].eq(1).all() and 0 < made[95] < 1


def test_a_tape_that_was_killed_while_writing_goes_on_bit_for_bit(tmp_path):
    cut = windows(torch.randn(1, 2, 500), 100, 20)
    noisy = [(window + 0.1 * torch.randn(window.shape), start) for window, start in cut]
    straight = Tape(tmp_path / "a.f32", (1, 2, 500), 20, "constant-power")
    for window, start in noisy:
        straight.append(window, start)
    tape = Tape(tmp_path / "b.f32", (1, 2, 500), 20, "constant-power")
    for window, start in noisy[:3]:
        tape.append(window, start)
    with open(tmp_path / "b.f32", "r+b") as file:  # the next window was half written, no state
        file.seek(8 * (tape.end - 20))
        file.write(b"half" * 60)
    again = Tape(tmp_path / "b.f32", (1, 2, 500), 20, "constant-power")
    assert again.windows == 3
    for window, start in noisy[3:]:
        again.append(window, start)
    assert torch.equal(again.read(0, 500), straight.read(0, 500))


def test_samples_that_are_not_finite_are_refused_at_once(tmp_path):
    tape = Tape(tmp_path / "level_2.f32", (1, 1, 100), overlap=10)
    with pytest.raises(ValueError, match="level_2 made samples that are not finite"):
        tape.append(torch.full((1, 1, 50), float("nan")), 0)
    assert tape.end == 0


def test_a_gap_is_refused(tmp_path):
    tape = Tape(tmp_path / "a.f32", (1, 1, 100), overlap=10)
    tape.append(torch.zeros(1, 1, 50), 0)
    with pytest.raises(ValueError, match="can't be joined at 50 with an overlap of 10"):
        tape.append(torch.zeros(1, 1, 50), 45)
