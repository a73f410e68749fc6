"""Several consecutive codes as one position: shorter sequences from a codec of high rate."""

import math
from functools import cached_property

from torch import Tensor
from torch.nn.functional import pad

from foundation.checks import check_at_least
from foundation.codec import Codec
from foundation.weights import fingerprint


class GroupedCodec(Codec):
    """A codec whose grid [B, K, L] becomes [B, K * G, L / G].

    Row k * G + g holds the codes of codebook k at positions g, G + g, 2 G + g and so on. Attention
    then costs the square of G less, and a window of as many positions is G times as long.

    Args:
        codec: the codec whose codes are grouped
        group: G, consecutive codes of a codebook in one position
    """

    def __init__(self, codec: Codec, group: int):
        super().__init__()
        check_at_least(1, group=group)
        self.codec, self.group = codec, group
        self.sample_rate, self.channels = codec.sample_rate, codec.channels
        self.hop, self.codebook_size = codec.hop * group, codec.codebook_size
        self.num_codebooks = codec.num_codebooks * group
        pieces = -(-(codec.piece or codec.hop) // codec.hop) * codec.hop
        self.piece = math.lcm(pieces, self.hop)  # begin where the codec's own do

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(f"{self.codec.fingerprint} in groups of {self.group}")

    def encode(self, audio: Tensor) -> Tensor:
        tokens = self.codec.encode(pad(audio, (0, -audio.shape[-1] % self.hop)))
        groups = tokens.unflatten(-1, (tokens.shape[-1] // self.group, self.group))
        return groups.transpose(2, 3).flatten(1, 2)

    def reach(self, names: tuple[str, ...]) -> int | None:
        reach = self.codec.reach(names)
        return None if reach is None else math.lcm(reach, self.hop) if reach else 0

    def decode(self, tokens: Tensor) -> Tensor:
        self.check_tokens(tokens)
        tokens = self.ungroup(tokens)
        return self.codec.check_decoded(self.codec.decode(tokens), tokens)

    def ungroup(self, tokens: Tensor) -> Tensor:
        """Put grouped tokens [B, K * G, L] back in order: [B, K, L * G]."""
        return tokens.unflatten(1, (-1, self.group)).transpose(2, 3).flatten(2)

    def code_vectors(self) -> Tensor | None:
        vectors = self.codec.code_vectors()
        return None if vectors is None else vectors.repeat_interleave(self.group, 0)
