"""Dance Diffusion's pass over a song: what the levels made, finished in stereo."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import pad

from foundation.windows import AudioWindow
from jbdiff.audio_buffer import Tape
from jbdiff.dance_sampling import refine_calls
from jbdiff.level_pass import Noise, Read, Sampling
from jbdiff.noise_paths import noise_path
from jbdiff.vdiffusion import OnStep


@runtime_checkable
class Finisher(Protocol):
    """What the last pass needs of its model."""

    sample_rate: int
    window: AudioWindow

    def refine(
        self,
        audio: Tensor,
        noise: Tensor,
        steps: int,
        strength: float,
        sampler: str,
        on_step: OnStep,
    ) -> Tensor: ...


@dataclass
class DancePass:
    """Finish audio in stereo: `below` reads what is to be refined, in the model's windows.

    Windows overlap by the crossfade alone. The last one ends where the song does, so it never has
    silence to finish; only a song shorter than a window is padded.
    """

    model: Finisher
    sampling: Sampling
    num_samples: int
    below: Read
    noise: Noise
    overlap: int = 1536
    style: str = "constant-power"
    count: int = 1
    channels: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.overlap < self.window:
            raise ValueError(
                f"dance.crossfade must be 1 to {self.window - 1} samples, less than a window, "
                f"got {self.overlap}"
            )

    @property
    def window(self) -> int:
        return self.model.window.length

    @property
    def windows(self) -> int:
        return 1 + max(0, -(-(self.num_samples - self.window) // (self.window - self.overlap)))

    @property
    def length(self) -> int:
        return self.num_samples

    @property
    def calls(self) -> int:
        return refine_calls(self.sampling.steps, self.sampling.strength)

    @property
    def positions(self) -> int:
        return self.window * self.count

    def run(self, tape: Tape, on_step: OnStep) -> Iterator[None]:
        """Make the windows that the tape lacks."""
        device = next(self.model.parameters()).device
        n, s = self.noise, self.sampling
        shape = (1, self.channels, self.window)
        paths = [
            islice(noise_path(shape, n.style, n.step_size, n.seed + i), tape.windows, None)
            for i in range(self.count)
        ]
        last = max(0, self.num_samples - self.window)
        for index in range(tape.windows, self.windows):
            start = min(index * (self.window - self.overlap), last)
            audio = self.below(start, min(start + self.window, self.num_samples))
            audio = pad(audio, (0, self.window - audio.shape[-1]))
            audio = audio.expand(self.count, self.channels, -1).to(device)
            noise = torch.cat([next(path) for path in paths]).to(device)
            made = self.model.refine(audio, noise, s.steps, s.strength, s.sampler, on_step)
            tape.append(made, start)
            yield
