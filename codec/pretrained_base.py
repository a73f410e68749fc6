"""Codecs around models of other libraries: formats, pieces, tokens and latents by the contract."""

import json
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from codec.decode_pieces import Network, decode_in_pieces
from codec.pretrained_files import (
    TRANSFORMERS,
    Library,
    find_folder,
    load_model,
    read_settings,
)
from foundation.codec import LATENTS, Codec, with_channels
from foundation.errors import UserError
from foundation.pieces import Piece, Read, pieces, read_stacked
from foundation.precision import full_precision
from foundation.weights import fingerprint


class Pretrained(Codec):
    """A model of another library in a local folder, or under a name on the hub.

    Long audio is encoded and decoded in pieces, each with a margin: exact for convolutions, whose
    reach is shorter; recurrent layers and attention see a piece at a time.

    Attributes:
        model_class: its name in the library
        kind: what config.json calls it
        formats: the sample rates in Hz that it is known at, with their channels
        piece_seconds, margin_seconds: of a piece, and what is added to both its sides
        margins_encoded: whether margins are added in encoding, too
        local: whether positions and samples depend on nothing beyond half a margin

    Args:
        path: the folder, as save_pretrained writes it
        hub: instead of path, OWNER/NAME or OWNER/NAME@REVISION, downloaded once
    """

    library: Library = TRANSFORMERS
    model_class: str
    kind: str
    formats: dict[int, int]
    subfolder = ""
    piece_seconds, margin_seconds, margins_encoded = 20.0, 1.0, True
    local = False
    model: Any  # of a package that may not be installed

    def __init__(self, path: str | None = None, hub: str | None = None):
        super().__init__()
        self.library.load_class(self.model_class)  # before anything is downloaded
        folder = find_folder(path, hub, self.library, self.subfolder)
        self._settings = read_settings(folder, self.library, self.kind)
        self.model = load_model(folder, self.library, self.model_class)
        self.sample_rate, self.channels, self.hop = self.read_format()
        if self.formats.get(self.sample_rate) != self.channels:
            known = " or ".join(f"{rate} Hz of {n}" for rate, n in self.formats.items())
            raise UserError(
                f"{folder} is of {self.sample_rate} Hz and {self.channels} channels, "
                f"{type(self).__name__} takes {known}: docs/codecs.md has a class for each"
            )
        self.requires_grad_(False).eval()

    def __deepcopy__(self, memo: dict) -> "Pretrained":
        return self  # settings of models are copied; the weights never change, and some can't be

    @abstractmethod
    def read_format(self) -> tuple[int, int, int]:
        """Return the model's sample rate, channels and hop."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash all weights, all settings, and the number of codebooks."""
        settings = json.dumps(self._settings, sort_keys=True)
        label = f"{type(self).__name__} {self.num_codebooks} {settings}"
        return fingerprint(label, self.model.state_dict())

    def _positions(self, seconds: float) -> int:
        """Round seconds up to positions."""
        return -int(-seconds * self.sample_rate // self.hop)

    @abstractmethod
    def encode_piece(self, stream: str, audio: Tensor) -> Tensor:
        """Encode a piece of audio [B, C, L * hop] to tokens [B, K, L] or latents [B, D, L]."""

    def encode_in_pieces(
        self, read: Read, num_samples: int, names: tuple[str, ...]
    ) -> Iterator[dict[str, Tensor]]:
        """Encode as `Codec.encode_in_pieces` says, in the pieces that `encode` works in."""
        self.check_streams(names)
        device = next(self.model.parameters()).device
        for group, audio in read_stacked(read, self._pieces(num_samples), device):
            part = group[0]  # all are alike
            encoded = {name: self._encode_part(name, audio, part) for name in names}
            for name, values in encoded.items():
                self.check_encoded(values, part.stop - part.start, name)
            for row in range(len(group)):
                yield {name: values[row : row + 1] for name, values in encoded.items()}

    def reach(self, names: tuple[str, ...]) -> int | None:
        """Return a margin, which is enough for encoder and decoder one after the other."""
        return self._positions(self.margin_seconds) * self.hop if self.local else None

    def _encode(self, stream: str, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] to a stream [B, K, L] or [B, D, L], L = ceil(T / hop)."""
        audio = with_channels(audio, self.channels)
        parts = [
            self._encode_part(stream, audio[..., part.taken], part)
            for part in self._pieces(audio.shape[-1])
        ]
        return torch.cat(parts, dim=-1)

    def _pieces(self, num_samples: int) -> list[Piece]:
        margin = self._positions(self.margin_seconds) if self.margins_encoded else 0
        return pieces(
            num_samples, self._positions(self.piece_seconds) * self.hop, margin * self.hop
        )

    @torch.no_grad()
    def _encode_part(self, stream: str, audio: Tensor, part: Piece) -> Tensor:
        """Encode the samples of a piece [B, C, first to last] and return start to stop of it."""
        if part.start == part.stop:
            return self._nothing(stream, audio)
        fitted = with_channels(audio, self.channels).float()
        with full_precision(audio):
            encoded = self.encode_piece(stream, pad(fitted, (0, -fitted.shape[-1] % self.hop)))
        return encoded[..., part.kept(self.hop)]

    def _nothing(self, stream: str, audio: Tensor) -> Tensor:
        rows = self.latent_dim if stream == LATENTS else self.num_codebooks
        dtype = torch.float32 if stream == LATENTS else torch.int64
        return torch.zeros(len(audio), rows or 0, 0, dtype=dtype, device=audio.device)

    @torch.no_grad()
    def _decode(self, network: Network, encoded: Tensor) -> Tensor:
        """Decode [B, D, L] by a network to audio [B, C, L * hop] in [-1, 1]."""
        piece, margin = self._positions(self.piece_seconds), self._positions(self.margin_seconds)
        with full_precision(encoded):
            audio = decode_in_pieces(network, encoded, self.channels, self.hop, piece, margin)
        return audio.clamp(-1, 1)


class PretrainedTokens(Pretrained):
    """A pretrained codec of tokens.

    Attributes:
        fewest: codebooks that can be decoded

    Args:
        path: the folder, as save_pretrained writes it
        hub: instead of path, OWNER/NAME or OWNER/NAME@REVISION, downloaded once
        num_codebooks: how many of the codebooks tokens have, from the coarsest; all if null
    """

    fewest = 1

    def __init__(
        self, path: str | None = None, hub: str | None = None, num_codebooks: int | None = None
    ):
        super().__init__(path, hub)
        most = self.count_codebooks()
        self.num_codebooks = most if num_codebooks is None else num_codebooks
        if not self.fewest <= self.num_codebooks <= most:
            raise UserError(f"num_codebooks must be {self.fewest} to {most}, got {num_codebooks}")
        self.codebook_size = self.model.config.codebook_size

    def count_codebooks(self) -> int:
        """Return how many codebooks the model has."""
        return self.model.config.num_quantizers

    def read_format(self) -> tuple[int, int, int]:
        config = self.model.config
        return config.sampling_rate, config.audio_channels, prod(config.upsampling_ratios)

    def encode(self, audio: Tensor) -> Tensor:
        return self._encode("tokens", audio)

    def decode(self, tokens: Tensor) -> Tensor:
        self.check_tokens(tokens)
        return self._decode(self.to_audio, tokens)

    def encode_piece(self, stream: str, audio: Tensor) -> Tensor:
        return self.to_codes(audio)

    @abstractmethod
    def to_codes(self, audio: Tensor) -> Tensor:
        """Encode a piece of audio [B, C, L * hop] to tokens [B, K, L]."""

    @abstractmethod
    def to_audio(self, tokens: Tensor) -> Tensor:
        """Decode a piece of tokens [B, K, L] to audio [B, C, about L * hop]."""


class Residual(PretrainedTokens):
    """A codec whose tokens are residual codes of latents that its decoder takes unrounded, too.

    Latents are scaled by the mean and deviation of the sum of all codebooks' vectors.
    """

    stream_names = ("tokens", LATENTS)
    shift: Tensor
    scale: Tensor

    def __init__(
        self, path: str | None = None, hub: str | None = None, num_codebooks: int | None = None
    ):
        super().__init__(path, hub, num_codebooks)
        vectors = self.stage_vectors()  # [K, V, D]
        variance = vectors.var(1, unbiased=False).sum(0)
        self.register_buffer("shift", vectors.mean(1).sum(0)[:, None])
        self.register_buffer("scale", variance.sqrt().clamp(min=1e-6)[:, None])
        self.latent_dim = vectors.shape[-1]

    @abstractmethod
    def stage_vectors(self) -> Tensor:
        """Return the vectors [K, V, D] of all codebooks in the space of latents."""

    @abstractmethod
    def quantise(self, latents: Tensor) -> Tensor:
        """Round latents [B, D, L] as the encoder makes them to codes [B, K, L]."""

    @abstractmethod
    def look_up(self, tokens: Tensor) -> Tensor:
        """Sum the vectors of tokens [B, K, L] to latents [B, D, L] as the decoder takes them."""

    def encode_piece(self, stream: str, audio: Tensor) -> Tensor:
        if stream == LATENTS:
            return (self.model.encoder(audio) - self.shift) / self.scale
        return super().encode_piece(stream, audio)

    def to_codes(self, audio: Tensor) -> Tensor:
        return self.quantise(self.model.encoder(audio))

    def to_audio(self, tokens: Tensor) -> Tensor:
        return self.model.decoder(self.look_up(tokens))

    def to_latents(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] to latents [B, D, ceil(T / hop)], which no codebook rounds."""
        return self._encode(LATENTS, audio)

    def from_latents(self, latents: Tensor) -> Tensor:
        """Decode latents [B, D, L] as they are to audio [B, C, L * hop] in [-1, 1]."""
        return self._decode(self.model.decoder, self._denormalise(latents))

    @torch.no_grad()
    def tokens_to_latents(self, tokens: Tensor) -> Tensor:
        self.check_tokens(tokens)
        return (self.look_up(tokens) - self.shift) / self.scale

    @torch.no_grad()
    def latents_to_tokens(self, latents: Tensor) -> Tensor:
        return self.quantise(self._denormalise(latents))

    def code_vectors(self) -> Tensor:
        return self.stage_vectors()[: self.num_codebooks] / self.scale[:, 0]

    def _denormalise(self, latents: Tensor) -> Tensor:
        self.check_latents(latents)
        return latents.float() * self.scale + self.shift
