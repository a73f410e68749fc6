"""Plain measures of a clip of music, and how their spread compares with that of real music."""

from dataclasses import dataclass

import torch
from torch import Tensor

from audio.similarity import magnitudes
from metrics.key import key_strengths
from metrics.loudness import loudness
from metrics.musicality import RATE, beat_clarity, chroma_power, tonal_peak
from metrics.tempo import tempo


def traits(clips: Tensor) -> dict[str, Tensor]:
    """Measure clips [B, T] at RATE: [B] of each trait, NaN where a clip doesn't tell.

    tonal_peak and beat_clarity are those of `metrics.musicality`, loudness and its range those of
    `metrics.loudness`, tempo and its clarity those of `metrics.tempo`. key_clarity is the share of
    the likeliest of 24 keys (`metrics.key`); pitch_classes is how many a clip uses, exp of the
    entropy of their shares: 1 for a single note, 12 for noise; brightness is the spectrum's centre
    in octaves over 1 kHz.
    """
    audio = clips[:, None]
    level, spread = loudness(clips, RATE)
    beats, clear = tempo(audio, RATE)
    return {
        "tonal_peak": tonal_peak(audio, RATE),
        "beat_clarity": beat_clarity(audio, RATE),
        "tempo": beats,
        "tempo_clarity": clear,
        "key_clarity": key_strengths(audio, RATE).amax(1),
        "pitch_classes": torch.special.entr(pitch_class_shares(clips)).sum(1).exp(),
        "loudness": level,
        "loudness_range": spread,
        "brightness": brightness(clips),
    }


def pitch_class_shares(clips: Tensor) -> Tensor:
    """Return the share of each pitch class in the root power of clips [B, T] at RATE: [B, 12]."""
    root = chroma_power(clips).sqrt().sum(2)
    return root / root.sum(1, keepdim=True)


def brightness(clips: Tensor) -> Tensor:
    """Return the centre of the power spectrum of clips [B, T] at RATE: octaves over 1 kHz, [B]."""
    power = magnitudes(clips, 2048, 512).square().mean(-1)
    frequency = torch.linspace(0, RATE / 2, power.shape[1])
    return ((power * frequency).sum(1) / power.sum(1) / 1000).log2()


@dataclass(frozen=True)
class TraitComparison:
    """A trait of generated clips and of real ones.

    Attributes:
        generated: mean over the generated clips
        generated_margin: half its 95 % interval
        reference: mean over the real clips
        reference_margin: half its 95 % interval
        distance: between the two distributions (Wasserstein-1) in standard deviations of the real
            one: 0 for equal ones, about 0.2 for two samples of 50 clips of the same music
    """

    generated: float
    generated_margin: float
    reference: float
    reference_margin: float
    distance: float


def compare_trait(generated: Tensor, reference: Tensor) -> TraitComparison | None:
    """Compare a trait of clips [B] and [C]; None where fewer than two of a side have it."""
    a, b = (side[side.isfinite()].double() for side in (generated, reference))
    if min(len(a), len(b)) < 2:
        return None
    return TraitComparison(
        generated=float(a.mean()),
        generated_margin=1.96 * float(a.std()) / len(a) ** 0.5,
        reference=float(b.mean()),
        reference_margin=1.96 * float(b.std()) / len(b) ** 0.5,
        distance=wasserstein(a, b) / max(1e-9, float(b.std())),
    )


def wasserstein(a: Tensor, b: Tensor) -> float:
    """Return the mean distance between the quantiles of samples [B] and [C]."""
    shares = (torch.arange(200, dtype=a.dtype) + 0.5) / 200
    return float((a.quantile(shares) - b.quantile(shares)).abs().mean())


def pitch_class_divergence(generated: Tensor, reference: Tensor) -> float:
    """Compare mean shares of pitch classes of clips [B, 12] and [C, 12], in bits.

    The Jensen-Shannon divergence, from 0 for the same keys and modes to 1 for no common note.
    """
    p, q = (side[side.isfinite().all(1)].double().mean(0) for side in (generated, reference))
    entropy = [torch.special.entr(x).sum() for x in ((p + q) / 2, p, q)]
    return float(entropy[0] - (entropy[1] + entropy[2]) / 2) / torch.tensor(2.0).log().item()
