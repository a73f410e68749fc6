"""Two plain measures of whether audio is music: does it hold notes, does it have a beat.

A Frechet distance alone is deceived: noise in the colour of music comes nearer than a first model's
music. Noise has neither notes nor a beat, so these two tell them apart; neither says that the
music is good.
"""

import math

import torch
from torch import Tensor

from audio.resample import resample_kaiser_best
from audio.similarity import magnitudes, pitch_classes

RATE = 22050
LOUD = 1e-3  # of the loudest frame's power; frames below it aren't judged
FRAME, HOP = 4096, 1024  # for notes
ATTACK_FRAME, ATTACK_HOP = 1024, 256  # for attacks
SHORTEST_BEAT, LONGEST_BEAT = 0.25, 1.5  # seconds


def chroma_power(mono: Tensor) -> Tensor:
    """Sum the power of audio [B, T] at RATE by pitch classes: [B, 12, N]."""
    return pitch_classes(magnitudes(mono, FRAME, HOP).square(), RATE)


def tonal_peak(audio: Tensor, sample_rate: int) -> Tensor:
    """Say how few pitch classes sound at a time: [B] from 0 (all alike) to 1 (a single one).

    The mean over loud frames of 1 - H / ln 12, with H the entropy of a frame's pitch classes, of
    audio [B, C, T]. Real music has about 0.35 to 0.48, noise in its colour 0.14. NaN for silence.
    """
    chroma = chroma_power(mono_at_rate(audio, sample_rate))
    total = chroma.sum(1)
    shares = chroma / total[:, None].clamp(min=1e-20)
    entropy = -torch.special.xlogy(shares, shares).sum(1)
    loud = (total > LOUD * total.amax(1, keepdim=True)) & (total > 0)
    return ((1 - entropy / math.log(12)) * loud).sum(1) / loud.sum(1)


def beat_clarity(audio: Tensor, sample_rate: int) -> Tensor:
    """Say how regular the attacks are: [B] up to 1, for audio [B, C, T] of over three seconds.

    The greatest autocorrelation of onset strength at lags of 0.25 to 1.5 s over that at 0. Real
    music has about 0.5, noise 0.1. NaN where nothing ever rises.
    """
    correlation = autocorrelation(attacks(mono_at_rate(audio, sample_rate)))
    frames = RATE / ATTACK_HOP
    beats = slice(int(SHORTEST_BEAT * frames), int(LONGEST_BEAT * frames))
    return correlation[:, beats].amax(1)


def attacks(mono: Tensor) -> Tensor:
    """Measure how much of audio [B, T] at RATE begins in each frame: [B, N], mean removed."""
    spectrum = magnitudes(mono, ATTACK_FRAME, ATTACK_HOP)
    level = spectrum.flatten(1).mean(1).clamp(min=1e-20)[:, None, None]
    strength = (10 * spectrum / level).log1p().diff(dim=-1).clamp(min=0).sum(1)
    return strength - strength.mean(1, keepdim=True)


def autocorrelation(strength: Tensor) -> Tensor:
    """Correlate [B, N] with itself at each lag, 1 at lag 0, as if all had as many terms."""
    length = strength.shape[1]
    power = torch.fft.rfft(strength, 2 * length).abs().square()
    correlation = torch.fft.irfft(power)[:, :length]
    fewer = length / (length - torch.arange(length, device=strength.device))
    return correlation / correlation[:, :1] * fewer


def noise_in_colour(audio: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Make noise with the mean spectrum of each clip of audio [B, T]: what no judge may mistake."""
    window = torch.hann_window(2048)
    colour = magnitudes(audio, 2048, 512).square().mean(-1, keepdim=True).sqrt()
    white = torch.randn(audio.shape, generator=generator)
    spectrum = torch.stft(white, 2048, 512, window=window, return_complex=True)
    made = torch.istft(spectrum * colour, 2048, 512, window=window, length=audio.shape[-1])
    power = [x.square().mean(-1, keepdim=True) for x in (audio, made)]
    return made * (power[0] / power[1].clamp(min=1e-20)).sqrt()


def mono_at_rate(audio: Tensor, sample_rate: int) -> Tensor:
    """Mix audio [B, C, T] to [B, T'] at RATE."""
    return resample_kaiser_best(audio.float().mean(1), sample_rate, RATE)
