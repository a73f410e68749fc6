"""What every embedding offers: audio in, vectors out, whatever the network."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from audio.resample import NAME as RESAMPLER
from audio.resample import resample
from foundation.weights import mismatch

CHECKPOINTS = Path("ckpts")  # where download_ckpts.py puts things
QUIETEST = -70.0  # dB; what is below counts as silence and keeps its level


class Embedding(nn.Module, ABC):
    """Turn audio into vectors that lie near each other for what sounds alike.

    `sample_rate` is in Hz; vectors have `dim` numbers. A clip shorter than `shortest` samples gives
    no vector. Before embedding, clips are mixed to mono and, where `level` is set, brought to that
    level (dB, root mean square over the clip). `front_end` says in a line what happens to them.
    """

    name: str
    sample_rate: int
    dim: int
    shortest: int
    level: float | None = None
    front_end: str
    measure: str = "Frechet audio distance"

    @abstractmethod
    def examples(self, audio: Tensor) -> Tensor:
        """Cut mono audio [B, T] into what the network sees, [B, W, ...]."""

    @abstractmethod
    def embed(self, examples: Tensor) -> Tensor:
        """Embed examples [N, ...] to vectors [N, dim]."""

    @torch.no_grad()
    def prepare(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Turn audio [B, C, T] of any rate into examples [B, W, ...]; W is 0 for short clips."""
        if audio.dim() != 3:
            raise ValueError(f"audio must be [batch, channels, samples], got {list(audio.shape)}")
        if not audio.isfinite().all():
            raise ValueError("the audio holds samples that are not finite")
        with torch.autocast(audio.device.type, enabled=False):
            mono = resample(audio.float().mean(dim=1), sample_rate, self.sample_rate)
            if self.level is not None:
                mono = levelled(mono, self.level)
            if mono.shape[-1] < self.shortest:
                return mono.new_empty(len(mono), 0)
            return self.examples(mono)

    @torch.no_grad()
    def forward(
        self, audio: Tensor, sample_rate: int | None = None, batch_size: int = 32
    ) -> Tensor:
        """Embed audio [B, C, T] to vectors [N, dim], clip after clip, as many for each."""
        examples = self.prepare(audio, sample_rate or self.sample_rate).flatten(0, 1)
        if not examples.numel():
            return audio.new_empty(0, self.dim, dtype=torch.float32)
        with torch.autocast(audio.device.type, enabled=False):
            return torch.cat([self.embed(part) for part in examples.split(batch_size)])

    @property
    def settings(self) -> str:
        level = "as it is" if self.level is None else f"{self.level:g} dB RMS a clip"
        return f"{self.front_end}; level {level}; {RESAMPLER}"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and settings: only vectors of one fingerprint can be compared."""
        digest = hashlib.sha256(f"{self.name} {self.sample_rate} {self.settings}".encode())
        for key, value in self.state_dict().items():
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def levelled(mono: Tensor, level: float) -> Tensor:
    """Bring clips [B, T] to a level in dB (root mean square); silence stays as it is."""
    power = mono.square().mean(dim=-1, keepdim=True)
    audible = power > 10 ** (QUIETEST / 10)
    gain = (10 ** (level / 10) / power.where(audible, torch.ones_like(power))).sqrt()
    return mono * gain.where(audible, torch.ones_like(gain))


def windows(total: int, length: int, hop: int) -> Iterable[int]:
    """Starts of the windows that lie whole inside a total."""
    return range(0, total - length + 1, hop)


def find_weights(path: str | Path | None, name: str, entry: str) -> Path:
    """Find a file of weights, or name the command that gets it."""
    file = Path(path).expanduser() if path else CHECKPOINTS / name
    if not file.is_file():
        command = f"python download_ckpts.py {entry}"
        raise FileNotFoundError(f"no weights at {file}: get them with {command}")
    return file


def fill(module: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    """Load a state dict strictly; ValueError names the file and what doesn't fit."""
    if problem := mismatch(module.state_dict(), state):
        raise ValueError(f"{source} doesn't fit {type(module).__name__}: {problem}")
    module.load_state_dict(state)
