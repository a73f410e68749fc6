"""Generated audio in the audio that it repairs or continues."""

import math

import pytest
import torch
from torch import Tensor

from audio.fit_in import FADE, FRAME, bridged, fit_in
from audio.similarity import magnitudes

RATE, LENGTH = 22050, 44100
KEEP = (torch.arange(LENGTH) < 20000) | (torch.arange(LENGTH) >= 26000)
SEAM = round(FADE * RATE)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, LENGTH, generator=torch.Generator().manual_seed(seed))


def tone(frequency: float = 440.0, phase: float = 0.0) -> Tensor:
    return 0.3 * torch.sin(2 * math.pi * frequency / RATE * torch.arange(LENGTH) + phase)[None]


def loudness(audio: Tensor) -> float:
    return 20 * math.log10(float(audio.square().mean().sqrt()))


@pytest.mark.parametrize("channels, made", [(1, 1), (2, 1), (2, 2), (1, 2), (3, 1)])
def test_what_is_kept_stays_and_damage_in_the_gap_is_not_heard(channels, made):
    original = noise(channels)
    fitted = fit_in(original, noise(2, made, seed=1), KEEP, RATE)
    assert fitted.shape == (2, max(channels, made), LENGTH)
    assert torch.equal(fitted[..., KEEP], original[:, KEEP].expand(2, fitted.shape[1], -1))
    damaged = torch.where(KEEP, original, 100.0)
    assert torch.equal(fit_in(damaged, noise(2, made, seed=1), KEEP, RATE), fitted)


@pytest.mark.parametrize("gain", [0.3, 2.5])
def test_what_is_new_is_as_loud_as_what_is_around_it(gain):
    fitted = fit_in(noise(1), gain * noise(1, 1, seed=1), KEEP, RATE)[0]
    assert abs(loudness(fitted[:, ~KEEP]) - loudness(fitted[:, KEEP])) < 0.5


def test_a_boom_in_the_gap_is_no_louder_than_any_moment_around_it():
    boom = torch.where(KEEP, 0.0, tone(70.0))  # 20 dB above all of the music
    made = noise(1, 1, seed=1) + 3 * boom
    gap = fit_in(noise(1), made, KEEP, RATE)[0][:, ~KEEP]
    power = magnitudes(gap, FRAME, 512).square().mean((0, 2))
    around = magnitudes(noise(1)[:, KEEP], FRAME, 512).square().mean((0, 2))
    assert power[4:10].sum() < 4 * around[4:10].sum()  # 43 to 108 Hz
    assert abs(loudness(gap) - loudness(noise(1)[:, KEEP])) < 1.0


def test_a_quieter_passage_comes_up_by_six_decibels_at_most():
    made = torch.where(KEEP, noise(1), 0.1 * noise(1, seed=1))[None]
    fitted = fit_in(noise(1), made, KEEP, RATE)[0]
    inside = slice(20000 + SEAM, 26000 - SEAM)
    assert -14.5 < loudness(fitted[:, inside]) - loudness(fitted[:, KEEP]) < -12.5
    plain = fit_in(noise(1), made, KEEP, RATE, level=False)[0]
    assert -20.5 < loudness(plain[:, inside]) - loudness(plain[:, KEEP]) < -18.5


def test_a_dull_codecs_colour_becomes_the_originals():
    """Made of half the treble, it has the treble of its surroundings."""
    spectrum = torch.fft.rfft(noise(1, 1, seed=1))
    half = len(spectrum[0, 0]) // 2
    spectrum[..., half:] *= 0.5
    made = torch.fft.irfft(spectrum, LENGTH)
    known = torch.fft.rfft(noise(1))
    known[..., half:] *= 0.5
    made = torch.where(KEEP, torch.fft.irfft(known, LENGTH), made)
    gap = fit_in(noise(1), made, KEEP, RATE)[0][:, ~KEEP]
    power = magnitudes(gap, FRAME, 512).square().mean((0, 2))
    low, high = power[100:500].mean(), power[560:1000].mean()
    assert 0.8 < float((high / low).sqrt()) < 1.2


def test_a_mono_codec_keeps_the_balance_of_the_sides():
    original = torch.cat([noise(1), 0.25 * noise(1, seed=2)])
    made = torch.where(KEEP, original.mean(0), noise(1, seed=1))[None]
    fitted = fit_in(original, made, KEEP, RATE)[0]
    balance = loudness(fitted[0, ~KEEP]) - loudness(fitted[1, ~KEEP])
    assert abs(balance - 12) < 1


@pytest.mark.parametrize("phase", [0.0, 2.0])
def test_seams_do_not_click(phase):
    """Neither of a codec that follows the waveform, which stays it, nor of one that doesn't."""
    made = torch.where(KEEP, tone(phase=phase), tone(phase=phase))[None]
    fitted = fit_in(tone(), made, KEEP, RATE)[0]
    steepest = float(tone().diff().abs().max())
    assert float(fitted.diff().abs().max()) < 1.6 * steepest
    if phase == 0:
        torch.testing.assert_close(fitted, tone(), atol=0.01, rtol=0)


def test_power_is_even_over_a_seam():
    many = fit_in(noise(1), torch.cat([noise(1, 1, seed=s) for s in range(1, 30)]), KEEP, RATE)
    seam = many[..., 20000 : 20000 + SEAM].square().mean()
    assert 0.8 < float(seam / many[..., ~KEEP].square().mean()) < 1.25


def test_many_short_gaps_a_continuation_and_nothing_to_do():
    original, made = noise(1), noise(1, 1, seed=1)
    keep = torch.rand(LENGTH, generator=torch.Generator().manual_seed(3)) < 0.995
    fitted = fit_in(original, made, keep, RATE)[0]
    assert torch.equal(fitted[:, keep], original[:, keep]) and fitted.isfinite().all()
    after = fit_in(original, made, torch.arange(LENGTH) < 30000, RATE)[0]
    assert torch.equal(after[:, :30000], original[:, :30000])
    assert torch.equal(fit_in(original, made, torch.ones(LENGTH).bool(), RATE)[0], original)
    assert torch.equal(fit_in(original, made, torch.zeros(LENGTH).bool(), RATE), made)
    short = fit_in(original[:, :50], made[..., :50], torch.arange(50) < 30, RATE)[0]
    assert torch.equal(short[:, :30], original[:, :30]) and short.isfinite().all()


def test_a_gap_is_bridged_by_what_is_around_it():
    original, whole = noise(2), torch.ones(LENGTH).bool()
    made = bridged(torch.where(KEEP, original, 100.0), KEEP)
    assert torch.equal(made[:, KEEP], original[:, KEEP]) and torch.equal(
        bridged(original, whole), original
    )
    seam = made[:, 20000:20100] - original[:, 19900:20000].flip(1)
    assert float(seam.abs().max()) < 0.02 and abs(loudness(made[:, ~KEEP]) + 20) < 4
    after, before = torch.arange(LENGTH) < 100, torch.arange(LENGTH) >= LENGTH - 100
    for keep in (after, before):  # longer than what is known: back and forth
        made = bridged(torch.where(keep, original, 100.0), keep)
        assert abs(loudness(made) - loudness(original[:, keep])) < 0.1
    torch.testing.assert_close(bridged(original, after)[:, 200:300], original[:, :100])
    assert torch.equal(bridged(original, ~whole), original)
