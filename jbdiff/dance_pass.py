"""Dance Diffusion's pass over a song: the audio of the last level, refined in stereo."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import pad

from foundation.errors import UserError
from foundation.sampler import OnStep, ignore_step
from foundation.windows import AudioWindow
from jbdiff.audio_buffer import AudioBuffer, Buffer
from jbdiff.dance_sampling import sine_times
from jbdiff.level_pass import Noise, Read, Sampling
from jbdiff.noise_paths import noise_path
from jbdiff.samplers import LatentSampler
from jbdiff.vdiffusion import Generators


@runtime_checkable
class StereoModel(Protocol):
    """What the last pass needs of its model."""

    sample_rate: int
    window: AudioWindow

    @property
    def device(self) -> torch.device: ...
    def sample_audio(
        self,
        noise: Tensor,
        *,
        init: Tensor | None = None,
        strength: float = 0.23,
        sampler: LatentSampler | None = None,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor: ...


@dataclass
class DancePass:
    """Refine audio in stereo: `mono` reads what is to be refined, in the model's windows.

    Windows overlap by the crossfade alone. The last one ends where the song does, so it has no
    silence to refine; only a song shorter than a window is padded.
    """

    model: StereoModel
    sampling: Sampling
    num_samples: int
    mono: Read
    noise: Noise
    overlap: int = 1536
    style: str = "constant-power"
    count: int = 1
    channels: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.overlap < self.window:
            raise UserError(
                f"dance.crossfade must be 1 to {self.window - 1} samples, less than a window, "
                f"got {self.overlap}"
            )

    @property
    def window(self) -> int:
        """Count the samples of a window."""
        return self.model.window.length

    @property
    def windows(self) -> int:
        """Count the windows that cover the song."""
        return 1 + max(0, -(-(self.num_samples - self.window) // (self.window - self.overlap)))

    @property
    def length(self) -> int:
        """The buffer's length, in samples: the song's."""
        return self.num_samples

    @property
    def calls(self) -> int:
        """Count the sampler's steps in a window."""
        return len(sine_times(self.sampling.sampler.steps, self.sampling.strength))

    @property
    def positions(self) -> int:
        """Count what a network call works on."""
        return self.window * self.count

    def open(self, path: Path) -> AudioBuffer:
        """Open the buffer that the pass is resumed from."""
        return AudioBuffer(path, (self.count, self.channels, self.length), self.overlap, self.style)

    def run(self, buffer: Buffer, on_step: OnStep) -> Iterator[None]:
        """Sample the windows that the buffer lacks."""
        device = self.model.device
        n, s = self.noise, self.sampling
        shape = (1, self.channels, self.window)
        paths = [
            islice(noise_path(shape, n.style, n.step_size, n.seed + i), buffer.windows, None)
            for i in range(self.count)
        ]
        last = max(0, self.num_samples - self.window)
        for index in range(buffer.windows, self.windows):
            start = min(index * (self.window - self.overlap), last)
            audio = self.mono(start, min(start + self.window, self.num_samples))
            audio = pad(audio, (0, self.window - audio.shape[-1]))
            made = self.model.sample_audio(
                torch.cat([next(path) for path in paths]).to(device),
                init=audio.expand(self.count, self.channels, -1).to(device),
                strength=s.strength,
                sampler=s.sampler,
                generator=n.generators(self.count, index),
                on_step=on_step,
            )
            buffer.append(made, start)
            yield
