"""The buffer that windows of audio are joined in."""

import pytest
import torch

from jbdiff.audio_buffer import AudioBuffer


def windows(audio, length, overlap):
    """Cut audio [B, C, T] into overlapping windows, each with its start."""
    starts = range(0, audio.shape[-1] - overlap, length - overlap)
    return [(audio[..., start : start + length], start) for start in starts]


def test_windows_of_one_sound_are_joined_to_it(tmp_path):
    audio = torch.randn(2, 1, 1000)
    buffer = AudioBuffer(tmp_path / "a.f32", (2, 1, 1000), overlap=30)
    for window, start in windows(audio, 200, 30):
        buffer.append(window, start)
    torch.testing.assert_close(buffer.read(0, 1000), audio)
    assert buffer.end == 1000
    assert buffer.read(990, 1020)[..., 10:].eq(0).all()  # silence beyond the end


def test_a_longer_overlap_is_dropped_but_for_the_fade(tmp_path):
    buffer = AudioBuffer(tmp_path / "a.f32", (1, 1, 150), overlap=10)
    buffer.append(torch.zeros(1, 1, 100), 0)
    buffer.append(torch.ones(1, 1, 100), 50)
    made = buffer.read(0, 150)[0, 0]
    assert made[:91].eq(0).all() and made[99:].eq(1).all() and 0 < made[95] < 1


def test_a_buffer_that_was_killed_while_writing_resumes_bit_for_bit(tmp_path):
    cut = windows(torch.randn(1, 2, 500), 100, 20)
    noisy = [(window + 0.1 * torch.randn(window.shape), start) for window, start in cut]
    straight = AudioBuffer(tmp_path / "a.f32", (1, 2, 500), 20, "constant-power")
    for window, start in noisy:
        straight.append(window, start)
    buffer = AudioBuffer(tmp_path / "b.f32", (1, 2, 500), 20, "constant-power")
    for window, start in noisy[:3]:
        buffer.append(window, start)
    with open(tmp_path / "b.f32", "r+b") as file:  # the next window was half written, no state
        file.seek(8 * (buffer.end - 20))
        file.write(b"half" * 60)
    again = AudioBuffer(tmp_path / "b.f32", (1, 2, 500), 20, "constant-power")
    assert again.windows == 3
    for window, start in noisy[3:]:
        again.append(window, start)
    assert torch.equal(again.read(0, 500), straight.read(0, 500))


def test_samples_that_are_not_finite_are_refused_at_once(tmp_path):
    buffer = AudioBuffer(tmp_path / "level_2.f32", (1, 1, 100), overlap=10)
    with pytest.raises(ValueError, match="level_2 made samples that are not finite"):
        buffer.append(torch.full((1, 1, 50), float("nan")), 0)
    assert buffer.end == 0


def test_a_gap_is_refused(tmp_path):
    buffer = AudioBuffer(tmp_path / "a.f32", (1, 1, 100), overlap=10)
    buffer.append(torch.zeros(1, 1, 50), 0)
    with pytest.raises(ValueError, match="can't be joined at 50 with an overlap of 10"):
        buffer.append(torch.zeros(1, 1, 50), 45)
