"""One level's pass over a song: from noise, or over the audio of the level before.

A pass says how many windows cover the song and makes them one after another onto its tape. As
context a window has the latents of its own level's audio before it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from codec.jukebox import JukeboxCodec
from jbdiff.audio_buffer import Tape
from jbdiff.module import COARSEST
from jbdiff.noise_paths import base_noise
from jbdiff.vdiffusion import OnStep, ignore_step

JOIN = 1024  # samples over which a level's windows pass into each other, a multiple of every hop
Read = Callable[[int, int], Tensor]  # samples start to stop of some audio [B, C, stop - start]


@runtime_checkable
class LevelModel(Protocol):
    """What a pass needs of a level's model; latents [B, D, L] are normalised."""

    level: int
    base_tokens: int
    context_tokens: int
    sample_rate: int
    codec: JukeboxCodec

    def encode(self, audio: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...
    def generate(
        self,
        noise: Tensor,
        context: Tensor,
        *,
        steps: int,
        guidance: float,
        guidance_rescale: float = 0.0,
        sampler: str = "ddim",
        init: Tensor | None = None,
        strength: float = 1.0,
        on_step: OnStep = ignore_step,
    ) -> Tensor: ...


@dataclass(frozen=True)
class Noise:
    """Style, step size and seed of a noise path; the song number i of a batch has seed + i."""

    style: str = "random"
    step_size: float = 0.6
    seed: int = 0


@dataclass(frozen=True)
class Sampling:
    """How a window is sampled; `strength` is how much of its starting audio it keeps."""

    steps: int
    strength: float
    sampler: str = "ddim"
    guidance: float = 1.0
    guidance_rescale: float = 0.0


@dataclass
class LevelPass:
    """One level over a song of `num_samples`: windows of `multiplier` times the model's tokens.

    `below` reads the audio it starts from, made by the level before; or, at the base, `init` reads
    the audio it is to resemble. With neither it starts from noise. `context` [1, 1, Tc] is what was
    heard before the song; without `follow` every window has only that as context.
    """

    model: LevelModel
    sampling: Sampling
    num_samples: int
    context: Tensor
    multiplier: int = 1
    count: int = 1
    noise: Noise = field(default_factory=Noise)
    below: Read | None = None
    init: Read | None = None
    follow: bool = True
    channels: int = 1
    style: str = "linear"

    @property
    def overlap(self) -> int:
        """Count the samples over which windows pass into each other."""
        return min(JOIN, self.context.shape[-1])

    @property
    def tokens(self) -> int:
        return self.multiplier * self.model.base_tokens

    @property
    def window(self) -> int:
        return self.tokens * self.model.codec.hop

    @property
    def windows(self) -> int:
        return -(-self.num_samples // self.window)

    @property
    def length(self) -> int:
        """The tape's length, in samples: whole windows."""
        return self.windows * self.window

    @property
    def calls(self) -> int:
        """Count the network calls of a window."""
        given = self.below is not None or self.init is not None
        skipped = int(self.sampling.strength * self.sampling.steps) if given else 0
        return self.sampling.steps - skipped

    @property
    def positions(self) -> int:
        """Count what a network call works on, both halves of a guided one."""
        return self.tokens * self.count * (1 if self.sampling.guidance == 1 else 2)

    def run(self, tape: Tape, on_step: OnStep) -> Iterator[None]:
        """Make the windows that the tape lacks; each is on the tape before the next one starts."""
        joined = self.overlap // self.model.codec.hop
        noises = islice(self._noise(), tape.windows, None) if self._from_noise else None
        for index in range(tape.windows, self.windows):
            start = index * self.window
            noise, init = self._start(start, noises)
            before = self._encode(self._before(tape, start))
            latents = self.model.generate(
                noise,
                before if self.follow else self._first_context,
                steps=self.sampling.steps,
                guidance=self.sampling.guidance,
                guidance_rescale=self.sampling.guidance_rescale,
                sampler=self.sampling.sampler,
                init=init,
                strength=self.sampling.strength,
                on_step=on_step,
            )
            # the end of what is there is decoded once more, to pass into what follows it
            latents = torch.cat([before[..., before.shape[-1] - joined :], latents], dim=-1)
            tape.append(self.model.decode(latents), start - self.overlap)
            yield

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def _first_context(self) -> Tensor:
        return self._encode(self.context)

    def _encode(self, audio: Tensor) -> Tensor:
        """Encode audio [1 or B, 1, T] to latents [B, D, L] for each song."""
        return self.model.encode(audio.expand(self.count, -1, -1).to(self.device))

    def _before(self, tape: Tape, start: int) -> Tensor:
        """Read the context's length of audio [B, 1, Tc] before a window."""
        length = self.context.shape[-1]
        made = tape.read(max(0, start - length), start)
        heard = self.context[..., made.shape[-1] :].expand(self.count, -1, -1)
        return torch.cat([heard, made], dim=-1)

    @property
    def _from_noise(self) -> bool:
        """Whether windows start from drawn noise: not over the audio of a coarser level."""
        return self.below is None and (self.init is None or self.model.level == COARSEST)

    def _start(self, start: int, noises: Iterator[Tensor] | None) -> tuple[Tensor, Tensor | None]:
        """Give a window's noise and initial latents [B, D, L].

        At levels 1 and 0 the noise end is what the coarser level makes of the audio: they were
        trained to start there.
        """
        stop = start + self.window
        if self.below is not None:
            lower = self._encode(self.below(start, stop))
            return lower, lower
        if self.init is None:
            return next(noises), None
        audio = self.init(start, stop)
        noise = next(noises) if noises else self._encode(self._coarser(audio))
        return noise, self._encode(audio)

    def _coarser(self, audio: Tensor) -> Tensor:
        """Pass audio [B, 1, T] through the codec's next coarser level."""
        vqvae, level = self.model.codec.vqvae, self.model.level + 1
        codes = vqvae.encode(audio.to(self.device), level)
        return vqvae.decode(codes, level)[..., : audio.shape[-1]]

    def _noise(self) -> Iterator[Tensor]:
        n, channels = self.noise, self.model.codec.vqvae.config.emb_width
        paths = [
            base_noise(channels, self.tokens, self.windows, n.style, n.step_size, n.seed + i)
            for i in range(self.count)
        ]
        for noises in zip(*paths, strict=True):
            yield torch.cat(noises).to(self.device)
