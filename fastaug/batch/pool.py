"""Output memory that is used again: fresh pages for every batch cost more than the kernel itself."""

from __future__ import annotations

import weakref
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

_ALIGN = 64
_KEEP = 8  # free buffers kept of one size


class Pool:
    """Lends NumPy buffers and takes them back when nobody uses them any more.

    What is watched is the lent array, which ``torch.from_numpy`` tensors, their views and whatever
    autograd saved all keep alive; watching the tensor would give memory back too early.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = defaultdict(list)

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of unspecified content, its first element at a multiple of 64 bytes."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        free = self._free[size]
        try:
            raw = free.pop()
        except IndexError:
            raw = np.empty(size + _ALIGN, np.uint8)
        start = -raw.ctypes.data % _ALIGN
        lent = raw[start : start + size].view(dtype).reshape(shape)
        weakref.finalize(lent, _give_back, free, raw).atexit = False
        return lent


def _give_back(free: list[npt.NDArray[np.uint8]], raw: npt.NDArray[np.uint8]) -> None:
    if len(free) < _KEEP:
        free.append(raw)
