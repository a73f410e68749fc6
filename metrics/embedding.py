"""The contract of an embedding: audio in, vectors out, whatever the network."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from audio.resample import KAISER_BEST as RESAMPLER
from audio.resample import resample_kaiser_best
from foundation.errors import MissingFileError, UserError
from foundation.files import user_path
from foundation.own_code import own_code
from foundation.program import download_command
from foundation.weights import fingerprint

CHECKPOINTS = Path("ckpts")  # where download_ckpts.py puts files
QUIETEST = -70.0  # dB; a clip below this counts as silent and keeps its level


class Embedding(nn.Module, ABC):
    """Turn audio into vectors that lie near each other for music that sounds alike.

    Clips are resampled, mixed to mono and brought to `level` here; a subclass says how they are cut
    (`examples`) and embedded (`embed`). Its constructor loads the weights, its options are those of
    the constructor, and its class path names it: `--embedding mylab.MyEmbedding`.

    Attributes:
        name: of the scores, such as `fad/<name>`
        sample_rate: of the audio that `examples` takes, in Hz
        dim: D, numbers in a vector
        shortest: samples of the shortest clip that gives a vector
        stride: samples from the start of an example to that of the next, if an example depends on
            no more than as much before its own stride and after it; long files are then embedded
            in parts. None: examples may depend on the whole clip
        level: dB (root mean square over the clip) that clips are brought to; None keeps theirs
        front_end: one line on how audio is prepared; two embeddings that differ in it, or in their
            weights, can't be compared
        measure: what the Frechet distance of the vectors is called
    """

    name: str
    sample_rate: int
    dim: int
    shortest: int
    stride: int | None = None
    level: float | None = None
    front_end: str = ""
    measure: str = "Frechet audio distance"

    @abstractmethod
    def examples(self, audio: Tensor) -> Tensor:
        """Cut mono audio [B, T] into the network's inputs [B, W, ...], W of each clip."""

    @abstractmethod
    def embed(self, examples: Tensor) -> Tensor:
        """Embed examples [N, ...] to vectors [N * k, D], k of each example."""

    @torch.no_grad()
    def prepare(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Turn audio [B, C, T] of any rate into examples [B, W, ...]; W is 0 for short clips.

        Raises:
            UserError: for audio of another shape, and for values that are not finite
        """
        if audio.dim() != 3:
            raise UserError(f"audio must be [batch, channels, samples], got {list(audio.shape)}")
        if not audio.isfinite().all():
            raise UserError("the audio holds samples that are not finite")
        with torch.autocast(audio.device.type, enabled=False):
            mono = resample_kaiser_best(audio.float().mean(dim=1), sample_rate, self.sample_rate)
            if self.level is not None:
                mono = levelled(mono, self.level)
            if mono.shape[-1] < self.shortest:
                return mono.new_empty(len(mono), 0)
            return self.examples(mono)

    @torch.no_grad()
    def forward(
        self, audio: Tensor, sample_rate: int | None = None, batch_size: int = 32
    ) -> Tensor:
        """Embed audio [B, C, T] to vectors [N, D], clip after clip, the same number for each.

        `sample_rate` is the audio's, in Hz; None means that it's the embedding's own.
        """
        examples = self.prepare(audio, sample_rate or self.sample_rate).flatten(0, 1)
        if not examples.numel():
            return audio.new_empty(0, self.dim, dtype=torch.float32)
        with torch.autocast(audio.device.type, enabled=False):
            return torch.cat([self.embed(part) for part in examples.split(batch_size)])

    @property
    def settings(self) -> str:
        """One line on everything that happens to audio before the network."""
        level = "as it is" if self.level is None else f"{self.level:g} dB RMS a clip"
        return f"{self.front_end}; level {level}; {RESAMPLER}"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of weights and settings: only vectors of one fingerprint can be compared.

        Settings are also what an instance keeps of its options, its numbers and texts, and for a
        class of the user's own the files that define it.
        """
        own = sorted(
            (name, value)
            for name, value in vars(self).items()
            if isinstance(value, (int, float, str)) and name != "training"
        )
        options = f" {own}" if own else ""
        text = f"{self.name} {self.sample_rate} {self.settings}{options}{own_code(type(self))}"
        return fingerprint(text, self.state_dict())


def levelled(mono: Tensor, level: float) -> Tensor:
    """Scale clips [B, T] to a level in dB (root mean square); silent ones stay as they are."""
    return mono * gain_to(level, mono.square().mean(dim=-1, keepdim=True))


def gain_to(level: float, power: Tensor) -> Tensor:
    """Return the factor to a level in dB for clips of a mean square power; 1 for silent ones."""
    audible = power > 10 ** (QUIETEST / 10)
    gain = (10 ** (level / 10) / power.where(audible, torch.ones_like(power))).sqrt()
    return gain.where(audible, torch.ones_like(gain))


class MissingWeights(MissingFileError):
    """Published weights that haven't been downloaded yet."""


def find_weights(path: str | Path | None, name: str, entry: str) -> Path:
    """Return the file of weights: `path`, or the published one under the name it's downloaded to.

    Raises:
        MissingFileError: there is no file at `path`
        MissingWeights: the published file isn't there; the message names the command that gets it
    """
    if path is not None and not user_path(path, "path").is_file():
        raise MissingFileError(f"no weights at {path}")
    file = CHECKPOINTS / name if path is None else user_path(path, "path")
    if not file.is_file():
        raise MissingWeights(f"no weights at {file}: get them with {download_command()} {entry}")
    return file
