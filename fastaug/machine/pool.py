"""Output memory that is used again: fresh pages for every batch cost more than the kernel itself."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

_ALIGN = 64
_KEEP = 8  # free buffers kept, the largest

Buffer = tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]  # the memory, and the array of it that is lent


class Pool:
    """Lends NumPy buffers, and lends them again when nobody uses them any more.

    Who still uses one is read off reference counts when the next is asked for. A finalizer would run on the
    thread that drops a batch, the user's, and a KeyboardInterrupt that hits it there would be lost. The lent
    array is what ``torch.from_numpy`` tensors, their views and whatever autograd saved keep alive.
    """

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []
        self._lock = threading.Lock()
        self._unused = _counts(_buffer(np.empty(1 + _ALIGN, np.uint8), (1,), np.dtype(np.uint8)))

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of unspecified content, its first element at a multiple of 64 bytes."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize + _ALIGN
        with self._lock:
            free = [buffer for buffer in self._buffers if _counts(buffer) == self._unused]
            fitting = next((buffer for buffer in free if buffer[0].nbytes == size), None)
            free.sort(key=lambda buffer: -buffer[0].nbytes)
            for dropped in [fitting] if fitting else free[_KEEP:]:
                self._buffers = [buffer for buffer in self._buffers if buffer is not dropped]
            made = _buffer(np.empty(size, np.uint8) if fitting is None else fitting[0], shape, kind)
            self._buffers.append(made)
            return made[1]


def _buffer(memory: npt.NDArray[np.uint8], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Buffer:
    start = -memory.ctypes.data % _ALIGN
    return memory, memory[start : start + memory.nbytes - _ALIGN].view(dtype).reshape(shape)


def _counts(buffer: Buffer) -> tuple[int, int]:
    """How often memory and array are referred to; always counted from here, so numbers can be compared."""
    return sys.getrefcount(buffer[0]), sys.getrefcount(buffer[1])
