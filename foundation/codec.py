"""The contract of a neural audio codec: audio to tokens and latents, and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from foundation.errors import UserError
from foundation.pieces import Read, pieces, read_stacked
from foundation.returned import check_returned

Held = TypeVar("Held", bound=nn.Module)
LATENTS = "latents"  # the stream of `to_latents`, floats [B, D, L]; all others are tokens


def check_codec(codec: object) -> None:
    """Raise UserError unless this is a codec, an object."""
    if not isinstance(codec, Codec):
        raise UserError(
            f"codec must be an instance, such as codec.spectral.SpectralCodec(), got {codec!r}"
        )


class Codec(nn.Module, ABC):
    """Turn audio into a grid of tokens and back; frozen: never trained, averaged or saved.

    A subclass sets the attributes and implements `fingerprint`, `encode` and `decode`.

    Attributes:
        sample_rate: of the audio, in Hz
        channels: of the audio that `decode` returns
        hop: samples of audio a token covers
        num_codebooks: K, tokens at each position
        codebook_size: V, how many values a token has
        latent_dim: D, channels of the continuous latents; None if there are none, and then the four
            methods about latents raise UserError
        piece: samples of a long track that are encoded at once, about
        stream_names: the streams that `encode_streams` knows; "tokens" is `encode`'s, and "latents"
            `to_latents`'s, of a codec whose `from_latents` decodes latents without rounding them
    """

    sample_rate: int
    channels: int = 1
    hop: int
    num_codebooks: int = 1
    codebook_size: int
    latent_dim: int | None = None
    piece: int = 2**18
    stream_names: tuple[str, ...] = ("tokens",)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of weights and settings: tokens are only read with the codec that made them."""

    @abstractmethod
    def encode(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] at `sample_rate` to tokens [B, K, ceil(T / hop)], int64.

        Audio of other than `channels` channels is mixed down or repeated.
        """

    @abstractmethod
    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, K, L] to audio [B, C, L * hop] in [-1, 1]."""

    def tokens_to_latents(self, tokens: Tensor) -> Tensor:
        """Look up the latents [B, D, L] of tokens [B, K, L], scaled to mean 0 and deviation 1."""
        raise UserError(f"{type(self).__name__} has no continuous latents, only tokens")

    def latents_to_tokens(self, latents: Tensor) -> Tensor:
        """Round latents [B, D, L] to the nearest tokens [B, K, L]."""
        raise UserError(f"{type(self).__name__} has no continuous latents, only tokens")

    def to_latents(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] to the latents [B, D, ceil(T / hop)] of its tokens."""
        return self.tokens_to_latents(self.encode(audio))

    def from_latents(self, latents: Tensor) -> Tensor:
        """Decode latents [B, D, L], rounded to tokens, to audio [B, C, L * hop] in [-1, 1]."""
        tokens = self.latents_to_tokens(latents)
        return self.check_decoded(self.decode(tokens), tokens)

    @property
    def continuous(self) -> bool:
        """Whether latents are a stream of their own, which no codebook rounds."""
        return LATENTS in self.stream_names

    @property
    def token_streams(self) -> tuple[str, ...]:
        """The streams of tokens, or that of latents where the codec has no others."""
        tokens = tuple(name for name in self.stream_names if name != LATENTS)
        return tokens or self.stream_names

    def code_vectors(self) -> Tensor | None:
        """Return the vector of each code [K, V, D], from which networks may start; or None."""
        return None

    def encode_streams(self, audio: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Encode audio [B, C, T] to each named stream: tokens [B, K, L] or latents [B, D, L]."""
        self.check_streams(names)
        return {
            name: self.to_latents(audio) if name == LATENTS else self.encode(audio)
            for name in names
        }

    def reach(self, names: tuple[str, ...]) -> int | None:
        """Return how many samples on each side a position of these streams depends on, at most.

        Whole hops. Audio of any length is then encoded in pieces, in constant memory. None: a
        position may depend on all samples, so a track is encoded at once.
        """
        return None

    def encode_in_pieces(
        self, read: Read, num_samples: int, names: tuple[str, ...]
    ) -> Iterator[dict[str, Tensor]]:
        """Encode audio that `read(start, stop)` returns as [C, T], to pieces of each stream.

        Put together they are what `encode_streams` returns for all of it. An accelerator encodes
        several at once.
        """
        context = self.reach(names)
        length = num_samples if context is None else -(-self.piece // self.hop) * self.hop
        parts = pieces(num_samples, length, context or 0)
        device = next(self.parameters(), torch.empty(0)).device
        for group, audio in read_stacked(read, parts, device):
            streams = self.encode_streams(audio, names)
            for name, encoded in streams.items():
                self.check_encoded(encoded, audio.shape[-1], name)
            for row, part in enumerate(group):
                own = slice(row, row + 1), ..., part.kept(self.hop)
                yield {name: encoded[own] for name, encoded in streams.items()}

    def check_streams(self, names: tuple[str, ...]) -> None:
        """Raise UserError for streams and attributes that this codec doesn't have."""
        for name in ("sample_rate", "channels", "hop", "num_codebooks", "codebook_size"):
            value = getattr(self, name, None)
            if not isinstance(value, int) or value < 1:
                owner = type(self).__name__
                raise UserError(f"{owner}.{name} must be a whole number above 0, got {value}")
        if unknown := sorted(set(names) - set(self.stream_names)):
            raise UserError(
                f"{type(self).__name__} has the streams {self.stream_names}, not {unknown}"
            )

    def check_tokens(self, tokens: Tensor) -> None:
        """Raise UserError unless tokens are a grid [B, K, L] of this codec's codes."""
        if tokens.dtype not in (torch.int64, torch.int32):
            raise UserError(f"tokens must be int64, as encode returns them, got {tokens.dtype}")
        if tokens.dim() != 3 or tokens.shape[1] != self.num_codebooks:
            raise UserError(
                f"tokens must be [batch, {self.num_codebooks}, length], got {list(tokens.shape)}"
            )
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.codebook_size:
            raise UserError(
                f"tokens must be 0 to {self.codebook_size - 1}, "
                f"got {int(tokens.min())} to {int(tokens.max())}"
            )

    def check_latents(self, latents: Tensor) -> None:
        """Raise UserError unless latents are [B, D, L] with this codec's D."""
        if latents.dim() != 3 or latents.shape[1] != self.latent_dim:
            raise UserError(
                f"latents must be [batch, {self.latent_dim}, length], got {list(latents.shape)}"
            )

    def check_encoded(self, encoded: Tensor, num_samples: int, stream: str = "tokens") -> None:
        """Raise UserError unless a stream is what the codec must return for so many samples."""
        length = -(-num_samples // self.hop)
        if stream == LATENTS:
            self._check_encoded_latents(encoded, length)
        else:
            self._check_encoded_tokens(encoded, length, num_samples)

    def latents_of(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] to latents; UserError if `to_latents` returns anything else."""
        latents = self.to_latents(audio)
        self.check_encoded(latents, audio.shape[-1], LATENTS)
        return latents

    def check_decoded(self, audio: Tensor, given: Tensor) -> Tensor:
        """Return the audio of tokens [B, K, L] or latents [B, D, L]; ValueError if it isn't."""
        method = "from_latents" if given.is_floating_point() else "decode"
        shape = (len(given), self.channels, given.shape[-1] * self.hop)
        check_returned(self, method, audio, shape)
        return audio

    def _check_encoded_latents(self, latents: Tensor, length: int) -> None:
        fits = latents.dim() == 3 and latents.shape[1:] == (self.latent_dim, length)
        if not fits or not latents.is_floating_point() or not latents.isfinite().all():
            raise UserError(
                f"{type(self).__name__}.to_latents must return finite floats [batch, "
                f"{self.latent_dim}, {length}], got {latents.dtype} {list(latents.shape)}"
            )

    def _check_encoded_tokens(self, tokens: Tensor, length: int, num_samples: int) -> None:
        grid = tokens.dim() == 3 and tokens.shape[1:] == (self.num_codebooks, length)
        inside = not tokens.numel() or 0 <= int(tokens.min()) <= tokens.max() < self.codebook_size
        if grid and inside and tokens.dtype == torch.int64:
            return
        span = f", from {tokens.min():g} to {tokens.max():g}" if tokens.numel() else ""
        raise UserError(
            f"{type(self).__name__}.encode must return int64 tokens [batch, {self.num_codebooks}, "
            f"{length}] from 0 to {self.codebook_size - 1} for {num_samples} samples, got "
            f"{tokens.dtype} {list(tokens.shape)}{span}"
        )


class Frozen(nn.Module, Generic[Held]):
    """Hold a pretrained module that moves with its owner but isn't trained, averaged or saved.

    It keeps its precision where the owner's changes: rounded weights make other codes.
    """

    module: Held

    def __init__(self, module: Held):
        super().__init__()
        object.__setattr__(self, "module", module.eval().requires_grad_(False))  # not registered

    def _apply(self, fn, recurse: bool = True) -> "Frozen":  # called by .to() and the Trainer
        self.module._apply(lambda value: fn(value).to(value.dtype))
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict) -> "Frozen":
        return self  # weight averaging copies the owner but not the codec


def with_channels(audio: Tensor, channels: int) -> Tensor:
    """Return audio [B, C, T] as [B, channels, T], its mean repeated where C differs."""
    if audio.dim() == 3 and audio.shape[1] == channels:
        return audio
    return mono(audio).expand(-1, channels, -1)


def mono(audio: Tensor) -> Tensor:
    """Mix audio [B, C, T] down to [B, 1, T]."""
    if audio.dim() != 3:
        raise UserError(f"audio must be [batch, channels, samples], got {list(audio.shape)}")
    return audio.mean(dim=1, keepdim=True)
