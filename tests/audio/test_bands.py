"""Bands cover the spectrum, even in frequency and then in pitch."""

import torch

from audio.bands import interpolation, mel_centres, mixed_centres, triangles

BINS, RATE = 2049, 44100


def test_centres_are_a_bin_apart_and_then_a_step_of_pitch():
    centres = mixed_centres(BINS, RATE, per_octave=36)
    steps, ratios = centres.diff(), centres[1:] / centres[:-1]
    assert (steps > RATE / 2 / (BINS - 1) - 1e-6).all()
    high = centres[:-1] > 1000
    torch.testing.assert_close(ratios[high], torch.full_like(ratios[high], 2 ** (1 / 36)))


def test_each_filter_sums_to_one_and_every_bin_is_heard():
    filters = triangles(mixed_centres(BINS, RATE), BINS, RATE)
    torch.testing.assert_close(filters.sum(1), torch.ones(len(filters)))
    assert (filters.sum(0)[4:2040] > 0).all()
    assert (triangles(mel_centres(96), BINS, RATE).sum(1) - 1).abs().max() < 1e-5


def test_interpolation_keeps_lines_and_constants():
    centres = mixed_centres(BINS, RATE)
    weights = interpolation(centres, BINS, RATE)
    torch.testing.assert_close(weights.sum(1), torch.ones(BINS))
    middles = centres[1:-1]
    line = weights.double() @ middles
    frequencies = torch.linspace(0, RATE / 2, BINS, dtype=torch.float64)
    inside = (frequencies > middles[0]) & (frequencies < middles[-1])
    torch.testing.assert_close(line[inside], frequencies[inside], atol=1e-2, rtol=1e-5)
