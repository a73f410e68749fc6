"""One level's pass over a song: from noise, or over the audio of the coarser level.

A pass knows how many windows cover the song and appends them one after another to its buffer. As
context a window has the latents of its own level's audio before it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from foundation.batch import Cond
from foundation.codec import Codec
from foundation.control import Control
from foundation.sampler import OnStep, ignore_step
from jbdiff.audio_buffer import AudioBuffer, Buffer
from jbdiff.levels import join_length
from jbdiff.noise_paths import base_noise
from jbdiff.samplers import LatentSampler
from jbdiff.song_sections import Section, control_at
from jbdiff.vdiffusion import Generators, even_times

Read = Callable[[int, int], Tensor]  # samples start to stop of some audio [B, C, stop - start]


@runtime_checkable
class LevelModel(Protocol):
    """What a pass needs of a level's model; latents [B, D, L] are normalised."""

    level: int
    base_tokens: int
    context_tokens: int
    sample_rate: int

    @property
    def codec(self) -> Codec: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def from_noise(self) -> bool: ...
    def fill_context(self, latents: Tensor) -> Tensor: ...
    def sample_latents(
        self,
        noise: Tensor,
        context: Tensor,
        *,
        init: Tensor | None = None,
        strength: float = 1.0,
        guidance: float | None = None,
        guidance_rescale: float = 0.0,
        cond: Control | Cond | None = None,
        sampler: LatentSampler | None = None,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor: ...


@dataclass(frozen=True)
class Noise:
    """Style, step size and seed of a noise path; song number i of a batch has seed + i."""

    style: str = "random"
    step_size: float = 0.6
    seed: int = 0

    def generators(self, count: int, window: int) -> list[torch.Generator]:
        """Make a generator for each song's window: a resumed song draws the same noise."""
        seeds = [(self.seed + i) * 2**32 + window + 1 for i in range(count)]
        return [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]


@dataclass(frozen=True)
class Sampling:
    """How a window is sampled; `strength` is how much of its initial audio it keeps."""

    sampler: LatentSampler
    strength: float
    guidance: float = 1.0
    guidance_rescale: float = 0.0


@dataclass
class LevelPass:
    """One level over a song of `num_samples`: windows of `multiplier` times the model's tokens.

    `coarser` reads the audio of the coarser level, which is refined; without it, `init` reads the
    audio that the song is to resemble. With neither it starts from noise. `context` [1, 1, Tc] is
    the audio before the song, as long as the model's context; without `follow` every window has
    only that as context. A window is told what `sections` ask for at its middle.
    """

    model: LevelModel
    sampling: Sampling
    num_samples: int
    context: Tensor
    multiplier: int = 1
    count: int = 1
    noise: Noise = field(default_factory=Noise)
    coarser: Read | None = None
    init: Read | None = None
    follow: bool = True
    style: str = "linear"
    sections: Sequence[Section] = ()

    @property
    def channels(self) -> int:
        """Count the channels of the audio."""
        return self.model.codec.channels

    def open(self, path: Path) -> Buffer:
        """Open the buffer that the pass is resumed from."""
        shape = (self.count, self.channels, self.length)
        return AudioBuffer(path, shape, self.overlap, self.style)

    @property
    def overlap(self) -> int:
        """Count the samples over which windows are crossfaded."""
        return min(join_length(self.model.codec.hop), self.context.shape[-1])

    @property
    def tokens(self) -> int:
        return self.multiplier * self.model.base_tokens

    @property
    def window(self) -> int:
        """Count the samples of a window."""
        return self.tokens * self.model.codec.hop

    @property
    def windows(self) -> int:
        """Count the windows that cover the song."""
        return -(-self.num_samples // self.window)

    @property
    def length(self) -> int:
        """The buffer's length, in samples: whole windows."""
        return self.windows * self.window

    @property
    def calls(self) -> int:
        """Count the sampler's steps in a window."""
        given = self.coarser is not None or self.init is not None
        strength = self.sampling.strength if given else None
        return len(even_times(self.sampling.sampler.steps, strength))

    @property
    def positions(self) -> int:
        """Count what a network call works on, both halves of a guided one."""
        return self.tokens * self.count * (1 if self.sampling.guidance == 1 else 2)

    def run(self, buffer: Buffer, on_step: OnStep) -> Iterator[None]:
        """Sample the windows that the buffer lacks; each is appended before the next one starts."""
        noises = islice(self._noise(), buffer.windows, None) if self._from_noise else None
        for index in range(buffer.windows, self.windows):
            start = index * self.window
            noise, init = self._initial(start, noises)
            previous = self._before(buffer, start)
            latents = self.model.sample_latents(
                noise,
                previous if self.follow else self._first_context,
                init=init,
                strength=self.sampling.strength,
                guidance=self.sampling.guidance,
                guidance_rescale=self.sampling.guidance_rescale,
                cond=control_at(self.sections, (start + self.window / 2) / self.model.sample_rate),
                sampler=self.sampling.sampler,
                generator=self.noise.generators(self.count, index),
                on_step=on_step,
            )
            self._append(buffer, start, previous, latents)
            yield

    def _append(self, buffer: Buffer, start: int, previous: Tensor, latents: Tensor) -> None:
        """Append the audio of latents [B, D, L], which follow the previous ones [B, D, M].

        The end of the previous audio is decoded again, to crossfade into what follows it.
        """
        joined = self.overlap // self.model.codec.hop
        latents = torch.cat([previous[..., previous.shape[-1] - joined :], latents], dim=-1)
        codec = self.model.codec
        audio = codec.check_decoded(codec.from_latents(latents), latents)
        buffer.append(audio, start - self.overlap)

    @cached_property
    def _first_context(self) -> Tensor:
        return self._encode(self.context)

    def _before(self, buffer: Buffer, start: int) -> Tensor:
        """Return the latents [B, D, M] before a window: those of the audio so far."""
        return self._encode(self._audio_before(buffer, start))

    def _encode(self, audio: Tensor) -> Tensor:
        """Encode audio [1 or B, 1, T] to latents [B, D, L] for each song."""
        return self.model.codec.latents_of(audio.expand(self.count, -1, -1).to(self.model.device))

    def _audio_before(self, buffer: Buffer, start: int) -> Tensor:
        """Read the context's length of audio [B, 1, Tc] before a window."""
        length = self.context.shape[-1]
        made = buffer.read(max(0, start - length), start)
        given = self.context[..., made.shape[-1] :].expand(self.count, -1, -1)
        return torch.cat([given, made], dim=-1)

    @property
    def _from_noise(self) -> bool:
        """Whether windows start from drawn noise, as this level's model does or for want of audio.

        From noise, the coarser level's audio is what a window is to resemble.
        """
        return self.model.from_noise or (self.coarser is None and self.init is None)

    def _initial(self, start: int, noises: Iterator[Tensor] | None) -> tuple[Tensor, Tensor | None]:
        """Return a window's noise and initial latents [B, D, L].

        At a level that refines the coarser one, the noise is what that level makes of the audio: it
        was trained to start there.
        """
        stop = start + self.window
        if self.coarser is not None:
            refined = self._encode(self.coarser(start, stop))
            return next(noises) if noises else refined, refined
        if self.init is None:
            assert noises is not None
            return next(noises), None
        audio = self.init(start, stop)
        noise = next(noises) if noises else self._coarse_copy(audio)
        return noise, self._encode(audio)

    def _coarse_copy(self, audio: Tensor) -> Tensor:
        """Encode what the next coarser level makes of audio [B, 1, T] to latents [B, D, L]."""
        codec = self.model.codec
        tokens = codec.encode_streams(audio.to(self.model.device), ("round_trip",))["round_trip"]
        return codec.tokens_to_latents(tokens.expand(self.count, -1, -1))

    def _noise(self) -> Iterator[Tensor]:
        """Yield the noise [B, D, L] of each window."""
        n, channels = self.noise, self.model.codec.latent_dim or 0
        paths = [
            base_noise(channels, self.tokens, self.windows, n.style, n.step_size, n.seed + i)
            for i in range(self.count)
        ]
        for noises in zip(*paths, strict=True):
            yield torch.cat(noises).to(self.model.device)
