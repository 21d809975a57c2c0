"""Counter-based random numbers, vectorised: Philox4x32-10 over NumPy arrays.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the
generator of torch's and cuRAND's CUDA streams. ``kernels/philox.h`` is the same function in C++, which
plans are drawn with where it is compiled.

A number is a pure function of what it is for. The key is the user's seed; the counter is

    word 0   the sample's number
    word 1   the epoch (20 bits), above it the rank under a user's own sampler (12 bits)
    word 2   which draw of the stream
    word 3   the stream (8 bits), the view of the sample (8 bits, 0 for the first), and its occurrence in the
             epoch (16 bits); of a batch's numbers the stream and the batch's number in the epoch (24 bits)

Each augmentation has streams of its own, so adding one never changes another's draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from ..machine.library import library

U32 = np.uint32
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85

EPOCH_BITS = 20
OCCURRENCE_BITS, VIEW_BITS = 16, 8
STREAM_SHIFT = OCCURRENCE_BITS + VIEW_BITS
MOST_VIEWS = 1 << VIEW_BITS
MOST_VISITS = 1 << (OCCURRENCE_BITS - 1)  # of a sample in an epoch; those above are stand-ins'


STREAMS_EACH = 8


class Stream(IntEnum):
    """First stream of each kind; a list may hold up to eight of a kind, one stream each. Free from 0xD0."""

    CROP = 0x00
    FLIP = 0x08
    CUTOUT = 0x10
    GRID_MASK = 0x18
    ERASING = 0x20
    HIDE = 0x28
    HIDE_CELLS = 0x30  # drawn by the kernels: STREAM_HIDE_CELLS in plan.h
    NOISE = 0x38  # drawn by the kernels: STREAM_NOISE in plan.h
    MIXUP = 0x40
    CUTMIX = 0x48
    CHOICE = 0x50
    PARTNER = 0x58
    ORDER = 0x60
    POLICY = 0x68
    EXTRA = 0x70
    STAND_IN = 0x78
    CALL = 0x80
    DRAW = 0x88
    FMIX = 0xB0  # 0x90 to 0xAF are turns'
    GRID_MIX = 0xB8
    RESIZE_MIX = 0xC0
    MASK_MIX = 0xC8


def philox4x32(counter: npt.NDArray[np.uint32], seed: int) -> npt.NDArray[np.uint32]:
    """Ten rounds of Philox4x32.

    Args:
        counter: uint32 ``[4, ...]``, the four counter words.
        seed: the 64-bit key, low word first.

    Returns:
        uint32 of the same shape: four independent words for each counter.
    """
    c0, c1, c2, c3 = (word.astype(np.uint64) for word in counter)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a, b = c0 * _M0, c2 * _M1
        c0, c1 = (b >> _HIGH) ^ c1 ^ np.uint64(k0), b & _LOW
        c2, c3 = (a >> _HIGH) ^ c3 ^ np.uint64(k1), a & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3]).astype(U32)


def to_uniform(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """Words as float64 in the open interval (0, 1), evenly spaced by 2**-32."""
    return (words.astype(np.float64) + 0.5) * 2.0**-32


@dataclass(frozen=True)
class Keys:
    """The identities of n samples (or batches): all that their random numbers depend on.

    Args:
        seed: the user's seed, 0 to 2**64 - 1.
        index: uint32 ``[n]``, sample numbers.
        epoch: uint32 ``[n]`` or one number, with the rank in its high bits.
        occurrence: uint32 ``[n]`` or one number: of samples with the view above it, of a batch its number; 24
            bits.
    """

    seed: int
    index: npt.NDArray[np.uint32]
    epoch: npt.NDArray[np.uint32] | int = 0
    occurrence: npt.NDArray[np.uint32] | int = 0

    def __getitem__(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> Keys:
        """The keys of some of the rows."""

        def take(word: npt.NDArray[np.uint32] | int) -> npt.NDArray[np.uint32]:
            return np.broadcast_to(np.asarray(word, U32), self.index.shape)[rows]

        return Keys(self.seed, self.index[rows], take(self.epoch), take(self.occurrence))

    def words(self, stream: int, draws: int = 1, first: int = 0) -> npt.NDArray[np.uint32]:
        """Draws ``first`` … ``first + draws`` of a stream: uint32 ``[4 * draws, n]``."""
        n, lib = len(self.index), library()
        words = np.empty((3, n), U32)
        words[0], words[1] = self.index, self.epoch
        words[2] = np.asarray(self.occurrence, U32) | U32(stream << STREAM_SHIFT)
        if lib is not None:
            out = np.empty((4 * draws, n), U32)
            addresses = (row.ctypes.data for row in words)
            lib.fastaug_words(*addresses, n, first, draws, self.seed, out.ctypes.data)
            return out
        counter = np.empty((4, draws, n), U32)
        for place, word in zip((0, 1, 3), words, strict=True):
            counter[place] = word
        counter[2] = np.arange(first, first + draws, dtype=U32)[:, None]
        return philox4x32(counter, self.seed).transpose(1, 0, 2).reshape(4 * draws, n)

    def uniforms(self, stream: int, count: int = 1, first: int = 0) -> npt.NDArray[np.float64]:
        """``count`` uniforms in (0, 1) for each row: float64 ``[count, n]``; ``first`` as in words."""
        return to_uniform(self.words(stream, -(-count // 4), first)[:count])


def integers(
    uniform: npt.NDArray[np.float64], low: npt.ArrayLike, high: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Uniforms in (0, 1) as integers in [low, high)."""
    low, high = np.asarray(low), np.asarray(high)
    return low + np.floor(uniform * (high - low)).astype(np.int64)


def normals(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Standard normal numbers from two uniforms (Box and Muller 1958)."""
    return np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)


def log_gamma_variate(keys: Keys, stream: int, shape: float, first: int) -> npt.NDArray[np.float64]:
    """The logarithm of a Gamma(shape, 1) variate for each row: float64 ``[n]``.

    Marsaglia and Tsang 2000, with shape + 1 and the power of a uniform below 1, in logarithms so
    that tiny shapes do not underflow. ``first`` is the first draw of the stream that may be used.
    """
    d = (shape if shape >= 1 else shape + 1) - 1 / 3
    out = np.zeros(len(keys.index))
    todo = np.arange(len(keys.index))
    while todo.size:
        u, v, w, boost = keys[todo].uniforms(stream, 4, first)
        x = normals(u, v)
        cube = np.maximum((1 + x / np.sqrt(9 * d)) ** 3, 0)
        log_cube = np.log(np.maximum(cube, 1e-300))
        done = (cube > 0) & (np.log(w) < 0.5 * x * x + d - d * cube + d * log_cube)
        value = np.log(d) + log_cube + (np.log(boost) / shape if shape < 1 else 0.0)
        out[todo[done]] = value[done]
        todo, first = todo[~done], first + 1
    return out


def beta(keys: Keys, stream: int, alpha: float) -> npt.NDArray[np.float64]:
    """Beta(alpha, alpha) variates, one a row: float64 ``[n]`` in [0, 1]."""
    # The two gammas use draws far apart: neither is ever rejected 1000 times.
    a = log_gamma_variate(keys, stream, alpha, 16)
    b = log_gamma_variate(keys, stream, alpha, 1024)
    return 1 / (1 + np.exp(np.clip(b - a, -700, 700)))
