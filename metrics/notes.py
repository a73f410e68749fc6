"""The notes of music: which pitch classes sound, at a few frames a second, whatever the level."""

import torch
from torch import Tensor

from audio.similarity import magnitudes, pitch_classes
from metrics.embedding import Embedding

FRAME, HOP = 8192, 2048  # 0.37 s, so that low semitones are told apart; 10.8 frames a second
FRAMES = 4  # of an example: as long as a frame, so that long files can be read in parts
POWER = 0.25  # of the classes: with 0.5, loud notes hide a transposed copy's others
QUIET = 0.05  # of the loudest frame's length; what is quieter counts less


class Notes(Embedding):
    """Compressed power of the twelve pitch classes in each frame: what a copy keeps of a melody.

    No network and no weights. `directions` makes of them what is compared.
    """

    name = "notes"
    sample_rate = 22050
    dim = 12
    shortest = (FRAMES - 1) * HOP + 1
    stride = FRAMES * HOP
    level = -20.0
    front_end = "power STFT 8192/2048, pitch classes from 55 to 4186 Hz, fourth root"

    def examples(self, audio: Tensor) -> Tensor:
        """Cut audio [B, T] to pitch classes [B, W, 4, 12]."""
        short = max(0, FRAME // 2 + 1 - audio.shape[-1])  # of what reflection needs
        power = magnitudes(torch.nn.functional.pad(audio, (0, short)), FRAME, HOP).square()
        classes = pitch_classes(power, self.sample_rate) ** POWER  # [B, 12, N]
        return classes.unfold(2, FRAMES, FRAMES).permute(0, 2, 3, 1)

    def embed(self, examples: Tensor) -> Tensor:
        return examples.flatten(0, 1)


def directions(classes: Tensor) -> Tensor:
    """Scale frames [..., N, 12] of `Notes` to directions [..., 12, N], their means removed.

    A note is a copy's whatever its instrument and level, so that all frames get one length; those
    that are nearly silent stay small.
    """
    centred = (classes - classes.mean(-1, keepdim=True)).transpose(-1, -2)
    length = centred.norm(dim=-2, keepdim=True)
    return centred / (length + QUIET * length.amax(-1, keepdim=True) + 1e-12)
