"""A pass of a level whose latents no codebook rounds: they are kept, and decoded all at once.

The audio of such a codec is no exact copy: encoded again it would give other latents, and windows
decoded one by one would get phases that don't meet. So windows follow each other as latents, and
the audio is that of all of them, without joins.
"""

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from foundation.codec import Codec
from jbdiff.audio_buffer import AudioBuffer, Buffer
from jbdiff.generation import encode_end
from jbdiff.level_pass import LevelPass


class LatentBuffer:
    """Latents [B, D, L] that grow window by window on disk; read as audio [B, C, T]."""

    def __init__(self, path: Path, shape: tuple[int, int, int], codec: Codec):
        self.path, self.codec = path, codec
        self.latents = AudioBuffer(path, shape, overlap=0)
        self._decoded = torch.zeros(shape[0], codec.channels, 0)

    @property
    def end(self) -> int:
        """Count the samples that the latents so far decode to."""
        return self.latents.end * self.codec.hop

    @property
    def windows(self) -> int:
        return self.latents.windows

    def append(self, latents: Tensor, begin: int) -> None:
        """Append latents [B, D, L], the first of which is number `begin`."""
        self.latents.append(latents, begin)

    def read(self, start: int, stop: int) -> Tensor:
        """Return samples start to stop [B, C, stop - start], silence where there are none yet."""
        if self._decoded.shape[-1] != self.end:
            self._decoded = self._decode()
        out = self._decoded.new_zeros(*self._decoded.shape[:2], stop - start)
        first, last = max(0, start), min(stop, self.end)
        if first < last:
            out[..., first - start : last - start] = self._decoded[..., first:last]
        return out

    @torch.no_grad()
    def _decode(self) -> Tensor:
        """Decode all latents so far; the codec works in pieces, so that long ones fit."""
        latents = self.latents.read(0, self.latents.end)
        device = next(self.codec.parameters(), latents).device
        audio = self.codec.from_latents(latents.to(device))
        return self.codec.check_decoded(audio, latents).float().cpu()


class LatentPass(LevelPass):
    """A pass whose `context` [1, C, Tc] may be shorter than the model's, or empty.

    Where it is, the network's null context stands for what isn't there.
    """

    def open(self, path: Path) -> LatentBuffer:
        codec = self.model.codec
        shape = (self.count, codec.latent_dim or 0, self.windows * self.tokens)
        return LatentBuffer(path, shape, codec)

    @cached_property
    def _heard(self) -> Tensor:
        """The latents [B, D, N] of the audio before the song."""
        return encode_end(self.model, self.context).expand(self.count, -1, -1)

    @cached_property
    def _first_context(self) -> Tensor:
        return self.model.fill_context(self._heard)

    def _before(self, buffer: Buffer, start: int) -> Tensor:
        assert isinstance(buffer, LatentBuffer)
        stop = start // self.model.codec.hop
        made = buffer.latents.read(max(0, stop - self.model.context_tokens), stop)
        return self.model.fill_context(torch.cat([self._heard, made.to(self._heard)], dim=-1))

    def _append(self, buffer: Buffer, start: int, previous: Tensor, latents: Tensor) -> None:
        buffer.append(latents, start // self.model.codec.hop)
