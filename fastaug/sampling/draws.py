"""Which sample stands at each position of an epoch: pure arithmetic, the same on every rank."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..machine.library import library
from .philox import EPOCH_BITS, MOST_VISITS, U32, Keys, Stream

Ints = npt.NDArray[np.int64]
Visits = tuple[Ints, npt.NDArray[np.uint32]]
_BLOCK = 1 << 20  # positions of an endless epoch that are drawn together, at least
_SPREAD = 64  # visits to a sample in such a block that have random numbers of their own
_KEPT = 3  # blocks
_ROUNDS = 8
_CHUNK = 1 << 16  # elements at a time: stays in cache


class Draws(Protocol):
    """What an epoch visits."""

    @property
    def length(self) -> int | None:
        """Samples of an epoch; None: it has no end."""

    @property
    def name(self) -> str:
        """What states and messages call it."""

    def at(self, position: Ints, seed: int, epoch: int) -> Visits:
        """The samples at some positions, int64, and how often the epoch visited each before, uint32."""


@dataclass(frozen=True)
class Passes:
    """Every sample once, then every sample once more, and so on; an epoch is a stretch of that.

    Args:
        n: number of samples.
        shuffle: a new permutation for each pass; otherwise ascending order.
        length: of an epoch; n, unless it was given.
    """

    n: int
    shuffle: bool
    length: int | None

    @property
    def name(self) -> str:
        stretch = "" if self.length == self.n else f", {said_length(self.length)}"
        return ("shuffled" if self.shuffle else "ascending") + stretch

    def at(self, position: Ints, seed: int, epoch: int) -> Visits:
        before = epoch * (self.length or 0)
        number, place = np.divmod(position + before, self.n)
        visits = number - before // self.n
        if visits.max(initial=0) >= MOST_VISITS:
            raise ValueError(f"an epoch visits each sample up to {MOST_VISITS} times; give an epoch_length")
        ids = np.empty_like(place)
        for each in np.unique(number).tolist():
            here = number == each
            key = each & ((1 << EPOCH_BITS) - 1)
            ids[here] = permuted(place[here], self.n, seed, key) if self.shuffle else place[here]
        return ids, visits.astype(U32)


@dataclass(frozen=True, eq=False)
class Weighted:
    """Samples drawn with replacement, each with a weight, as by torch's WeightedRandomSampler; every position
    by itself, keyed by (seed, epoch, position).

    Args:
        weights: float64 ``[N]``, at least 0.
        length: of an epoch; None: it has no end.
    """

    weights: npt.NDArray[np.float64]
    length: int | None
    _edges: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        edges = np.cumsum(self.weights)
        object.__setattr__(self, "_edges", edges / edges[-1])

    @property
    def name(self) -> str:
        return f"weighted {zlib.crc32(self.weights.tobytes()):08x}, {said_length(self.length)}"

    def at(self, position: Ints, seed: int, epoch: int) -> Visits:
        return _in_blocks(self, position, self.length, len(self.weights), seed, epoch)

    def block(self, seed: int, epoch: int, number: int, size: int) -> Visits:
        """The samples of one block, and how often it visited each before."""
        u = _uniforms(seed, epoch, number, size)
        ids = np.searchsorted(self._edges, u, side="right").clip(0, len(self.weights) - 1).astype(np.int64)
        return ids, counted(ids)


@dataclass(frozen=True)
class Mixed:
    """Several data sets one after another: which of them a position shows is drawn by weight, and each is
    gone through without replacement.

    Args:
        sizes: numbers of samples.
        weights: of the data sets, at least 0.
        shuffle: a new permutation of each for each pass; otherwise ascending order.
        length: of an epoch; None: it has no end.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    shuffle: bool
    length: int | None

    @property
    def name(self) -> str:
        order = "shuffled" if self.shuffle else "ascending"
        shares = " : ".join(f"{weight:g}" for weight in self.weights)
        return f"mixed {shares} of {self.sizes}, {order}, {said_length(self.length)}"

    def at(self, position: Ints, seed: int, epoch: int) -> Visits:
        return _in_blocks(self, position, self.length, sum(self.sizes), seed, epoch)

    def block(self, seed: int, epoch: int, number: int, size: int) -> Visits:
        """The samples of one block, and how often it visited each before."""
        edges = np.cumsum(self.weights) / np.sum(self.weights)
        part = np.searchsorted(edges[:-1], _uniforms(seed, epoch, number, size), side="right")
        turn, ids, visits = counted(part).astype(np.int64), np.empty(size, np.int64), np.zeros(size, U32)
        first = np.cumsum(self.sizes) - self.sizes
        for k, n in enumerate(self.sizes):
            here = np.flatnonzero(part == k)
            passes, place = np.divmod(turn[here], n)
            for each in np.unique(passes).tolist():
                some = passes == each
                key, own = (seed + (k + 1) * 0x9E3779B97F4A7C15) % (1 << 64), (number + each) % (1 << 12)
                found = (
                    permuted(place[some], n, key, epoch | own << EPOCH_BITS) if self.shuffle else place[some]
                )
                ids[here[some]] = first[k] + found
            visits[here] = passes
        return ids, visits


def said_length(length: int | None) -> str:
    """For people, and in states."""
    return "endless" if length is None else f"{length} samples an epoch"


def counted(values: Ints) -> npt.NDArray[np.uint32]:
    """How often each value stood before it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    first = np.repeat(new, np.diff(np.r_[new, len(values)]))
    out = np.empty(len(values), U32)
    out[order] = np.arange(len(values)) - first
    return out


def _uniforms(seed: int, epoch: int, number: int, size: int) -> npt.NDArray[np.float64]:
    keys = Keys(seed, np.arange(size, dtype=U32), epoch)
    high, low = keys.words(Stream.DRAW, 1, number)[:2].astype(np.float64)
    return (high + (low + 0.5) * 2.0**-32) * 2.0**-32


def _in_blocks(draws: Any, position: Ints, length: int | None, n: int, seed: int, epoch: int) -> Visits:
    """A finite epoch is one block. In one without end, blocks follow each other, each drawn by itself."""
    size = length or max(n, _BLOCK)
    number, place = np.divmod(position, size)
    ids, visits = np.empty(len(position), np.int64), np.empty(len(position), U32)
    for each in np.unique(number).tolist():
        here = number == each
        found, before = _block(draws, seed, epoch, each, size)
        ids[here], visits[here] = found[place[here]], before[place[here]]
        if length is None:
            visits[here] = (each * _SPREAD + np.minimum(visits[here], _SPREAD - 1)) % (MOST_VISITS // 2)
    return ids, visits


@lru_cache(_KEPT)
def _block(draws: Any, seed: int, epoch: int, number: int, size: int) -> Visits:
    found: Visits = draws.block(seed, epoch, number, size)
    return found


def class_weights(labels: Sequence[int] | Ints) -> npt.NDArray[np.float64]:
    """A weight for each sample, so that all classes come equally often."""
    ids = np.asarray(labels)
    _, inverse, count = np.unique(ids, return_inverse=True, return_counts=True)
    weights: npt.NDArray[np.float64] = 1.0 / count[inverse.reshape(-1)]
    return weights


def permuted(position: Ints, n: int, seed: int, epoch: int) -> Ints:
    """The sample at each position of a shuffled epoch, without storing the permutation.

    A Feistel network over the next power of two, keyed by Philox; what falls outside [0, n) goes round again
    (cycle walking, Black and Rogaway 2002), so it is a permutation of [0, n) exactly. Compiled where that is
    possible.

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
    flat, lib = np.ascontiguousarray(position, np.int64).reshape(-1), library()
    out = np.empty_like(flat)
    if lib is not None:
        keys = np.ascontiguousarray(keys)
        addresses = flat.ctypes.data, keys.ctypes.data, out.ctypes.data
        lib.fastaug_permuted(addresses[0], len(flat), n, bits, addresses[1], len(keys), addresses[2])
        return out.reshape(position.shape)
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
