"""Music described every three seconds: musicnn's tags, the tempo and the key around."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from foundation.musical_key import KEYS
from metrics.key import key_strengths
from metrics.musicality import RATE
from metrics.musicnn import Musicnn
from metrics.tempo import tempo

STEP, AROUND = 3, 12  # seconds of a description, and of what tempo and key are found in
BLOCK = 20  # descriptions that are made at once
UNCLEAR = 0.2  # a beat that is less clear has no tempo
# those of MagnaTagATune that musicnn was trained on, in its order
TAGS = (
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast"),
    *("piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male"),
    *("singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman"),
    *("male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir"),
    *("voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello"),
    *("no voice", "weird", "country", "metal", "female voice", "choral"),
)
COLUMNS = (*TAGS, "tempo", *KEYS)  # of a description

Read = Callable[[int, int], Tensor]  # samples start to stop at RATE, [1, stop - start]


class Describer:
    """Describe audio with musicnn's weights, a file or the downloaded one."""

    def __init__(self, weights: str | Path | None = None, musicnn: Musicnn | None = None):
        self.musicnn = musicnn or Musicnn(weights)

    @torch.no_grad()
    def tags(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Say how probable each of TAGS is, the mean over audio [B, C, T] of 3 s and more: [B, 50].

        Each clip is brought to the level of musicnn's embedding first.
        """
        return self.tags_of(self.musicnn(audio, sample_rate).unflatten(0, (len(audio), -1)))

    def tags_of(self, vectors: Tensor) -> Tensor:
        """Say the same by musicnn's vectors [B, N, D] of the clips."""
        return self.musicnn.net.tags(vectors).sigmoid().mean(1)

    def clip(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Describe clips [B, C, T] as a whole: [B, COLUMNS]."""
        return torch.cat([self.tags(audio, sample_rate), pulse_and_key(audio, sample_rate)], 1)

    def track(self, read: Read, num_samples: int) -> Iterator[Tensor]:
        """Describe a track of so many samples at RATE, some steps at a time: [N, COLUMNS]."""
        step, margin = STEP * RATE, (AROUND - STEP) // 2 * RATE
        count = max(1, num_samples // step)
        for first in range(0, count, BLOCK):
            last = min(first + BLOCK, count)
            begin, end = first * step - margin, last * step + AROUND * RATE - margin - step
            inside = read(max(0, begin), min(end, num_samples))
            audio = pad(inside, (max(0, -begin), max(0, end - num_samples)))
            around = audio[0].unfold(0, AROUND * RATE, step)[:, None]
            own = around[..., margin : margin + step]
            yield torch.cat([self.tags(own, RATE), pulse_and_key(around, RATE)], 1)


def pulse_and_key(audio: Tensor, sample_rate: int) -> Tensor:
    """Find the tempo, NaN where no beat is clear, and the keys' shares of audio: [B, 25]."""
    beats, clarity = tempo(audio, sample_rate)
    beats = beats.masked_fill(clarity < UNCLEAR, torch.nan)
    return torch.cat([beats[:, None], key_strengths(audio, sample_rate)], 1)
