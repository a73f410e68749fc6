"""A random order of any length that takes no memory: a keyed permutation of 0 .. n - 1.

A Feistel network (Luby and Rackoff 1988) permutes the smallest power of two that holds n; numbers
from n on are permuted again until they fall below n (cycle walking: Black and Rogaway 2002).
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDS = 6
MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # of SplitMix64


def mix(x: np.ndarray) -> np.ndarray:
    """Scramble 64-bit numbers (SplitMix64's finaliser: Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * MIX[0]
    x = (x ^ (x >> np.uint64(27))) * MIX[1]
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Permutation:
    """A permutation of 0 .. length - 1 that `key` alone decides; called with positions in it."""

    length: int
    key: str

    @cached_property
    def bits(self) -> tuple[int, int]:
        """Bits of a number's lower and upper half."""
        total = max(2, (self.length - 1).bit_length())
        return total // 2, total - total // 2

    @cached_property
    def round_keys(self) -> np.ndarray:
        digest = hashlib.blake2b(self.key.encode(), digest_size=8 * ROUNDS).digest()
        return np.frombuffer(digest, "<u8").astype(np.uint64)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Return the numbers at `positions` of the order, int64 like them."""
        numbers = self._shuffle(positions.astype(np.uint64))
        while (beyond := numbers >= self.length).any():
            numbers[beyond] = self._shuffle(numbers[beyond])
        return numbers.astype(np.int64)

    def _shuffle(self, numbers: np.ndarray) -> np.ndarray:
        """Permute all numbers of `sum(self.bits)` bits: the halves change places each round."""
        (low, high), x = self.bits, numbers
        for key in self.round_keys:
            left, right = x >> np.uint64(low), x & np.uint64((1 << low) - 1)
            left = (left ^ mix(right + key)) & np.uint64((1 << high) - 1)
            x = (right << np.uint64(high)) | left
            low, high = high, low
        return x
