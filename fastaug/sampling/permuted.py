"""A shuffled epoch without storing it: a keyed permutation of sample numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..philox import U32, Keys, Stream

Ints = npt.NDArray[np.int64]
_ROUNDS = 8
_CHUNK = 1 << 16  # elements at a time: stays in cache


def permuted(position: Ints, n: int, seed: int, epoch: int) -> Ints:
    """The sample at each position of a shuffled epoch, without storing the permutation.

    A Feistel network over the next power of two, keyed by Philox; what falls outside [0, n) goes
    round again (cycle walking, Black and Rogaway 2002), so it is a permutation of [0, n) exactly.

    Args:
        position: int64, any shape, in [0, n).
        n: number of samples, 1 to 2**32.
        seed: the user's seed.
        epoch: the epoch.

    Returns:
        int64 of the same shape.
    """
    bits = max((n - 1).bit_length(), 6)
    keys = Keys(seed, np.zeros(1, U32), epoch).words(Stream.ORDER, _ROUNDS // 4)[:, 0]
    flat = position.reshape(-1)
    out = np.empty_like(flat)
    for begin in range(0, len(flat), _CHUNK):
        value = _feistel(flat[begin : begin + _CHUNK].astype(np.uint64), bits, keys)
        outside = np.flatnonzero(value >= n)
        while outside.size:
            value[outside] = _feistel(value[outside], bits, keys)
            outside = outside[value[outside] >= n]
        out[begin : begin + _CHUNK] = value
    return out.reshape(position.shape)


def _feistel(
    value: npt.NDArray[np.uint64], bits: int, keys: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint64]:
    """An unbalanced Feistel network on ``bits`` bits, alternating which part is mixed into which."""
    low_bits = np.uint64(bits // 2)
    high_bits = np.uint64(bits) - low_bits
    low = value & ((np.uint64(1) << low_bits) - np.uint64(1))
    high = value >> low_bits
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << high_bits) - np.uint64(1)
    for number, key in enumerate(keys):
        if number % 2:
            high ^= _scramble(low, key) & high_mask
        else:
            low ^= _scramble(high, key) & low_mask
    return high << low_bits | low


def _scramble(value: npt.NDArray[np.uint64], key: np.uint32) -> npt.NDArray[np.uint64]:
    """A keyed 64-bit mix: two multiplications by odd constants with xor-shifts between."""
    mixed = (value + np.uint64(key)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed >> np.uint64(32)
