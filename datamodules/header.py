"""What all the tokens of a store have in common."""

from dataclasses import dataclass

import numpy as np

from foundation.codec import LATENTS, Codec
from foundation.errors import UserError

VERSION = 2  # of the store's form; a store of version 1 has no number


@dataclass(frozen=True)
class Header:
    """What all the tokens of a store have in common, in the codec's terms."""

    fingerprint: str
    sample_rate: int
    hop: int
    codebook_size: int
    streams: tuple[str, ...]
    num_codebooks: int = 1
    latent_dim: int | None = None

    @classmethod
    def of(cls, codec: Codec, streams: tuple[str, ...]) -> "Header":
        return cls(
            codec.fingerprint,
            codec.sample_rate,
            codec.hop,
            codec.codebook_size,
            tuple(streams),
            codec.num_codebooks,
            codec.latent_dim if LATENTS in streams else None,
        )

    def validate(self) -> None:
        """Raise ValueError for what no codec has."""
        counts = [self.sample_rate, self.hop, self.codebook_size, self.num_codebooks]
        counts += [] if self.latent_dim is None else [self.latent_dim]
        if any(type(count) is not int or count < 1 for count in counts):
            raise ValueError(f"rates and sizes must be whole numbers from 1, got {counts}")
        if not isinstance(self.fingerprint, str):
            raise ValueError(f"the fingerprint must be a text, got {self.fingerprint!r}")
        if not self.streams or not all(isinstance(name, str) for name in self.streams):
            raise ValueError(f"streams must be names, got {self.streams!r}")

    def check(self, other: "Header", place: object) -> None:
        """Raise UserError for another codec's tokens in `place`, or where a stream is missing."""
        if (self.fingerprint, self.hop) != (other.fingerprint, other.hop):
            raise UserError(
                f"the tokens in {place} were made by codec {self.fingerprint} (hop "
                f"{self.hop}), this model's codec is {other.fingerprint} "
                f"(hop {other.hop}): encode again"
            )
        if self.num_codebooks != other.num_codebooks:
            raise UserError(
                f"the tokens in {place} have {self.num_codebooks} codebooks, this model's "
                f"codec has {other.num_codebooks}: encode again"
            )
        missing = sorted(set(other.streams) - set(self.streams))
        if missing:
            raise UserError(
                f"{place} has the streams {list(self.streams)} and lacks {missing}: encode "
                f"again with --streams '[{', '.join(other.streams)}]'"
            )

    def rows(self, stream: str) -> int:
        """Count the numbers of a stream at each position: codebooks, or channels of latents."""
        return (self.latent_dim or 0) if stream == LATENTS else self.num_codebooks

    def dtype(self, stream: str) -> np.dtype:
        """Return what a stream is written in."""
        kind = "<u2" if self.codebook_size <= 2**16 else "<u4"
        return np.dtype("<f2" if stream == LATENTS else kind)

    def width(self, stream: str) -> int:
        """Count the bytes of a stream at each position."""
        return self.rows(stream) * self.dtype(stream).itemsize

    def num_bytes(self, length: int) -> int:
        """Count the bytes of a track of `length` positions."""
        return length * sum(map(self.width, self.streams))

    def begin(self, stream: str, length: int) -> int:
        """Return where a stream begins in the bytes of a track of `length` positions."""
        before = self.streams[: self.streams.index(stream)]
        return length * sum(map(self.width, before))
