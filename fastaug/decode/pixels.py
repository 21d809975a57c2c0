"""Images that are pixels already: only scaled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..data.source import Kind, Pixels, Stack
from .jobs import Canvas, Jobs
from .scale import Decoded, Scaler, done


class PixelDecoder:
    """Scales the boxes of images in memory, uint8 ``[h, w, 3]`` whose pixels lie side by side.

    Args:
        scaler: its threads are used.
    """

    def __init__(self, scaler: Scaler) -> None:
        self._scaler = scaler

    def takes(self, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Pixels alone."""
        return kinds == Kind.PIXELS

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """Never finds a fault: a source that gives pixels has read them."""
        if isinstance(jobs.items, Stack):
            pointers, strides = jobs.items.memory()
        else:
            arrays = [item.array for item in jobs.items if isinstance(item, Pixels)]
            pointers = np.array([array.ctypes.data for array in arrays], np.uint64)
            strides = np.array([array.strides[0] for array in arrays], np.int64)
        corner = jobs.boxes[:, 0] * strides + jobs.boxes[:, 1] * 3
        decoded = Decoded(pointers + corner.astype(np.uint64), strides, jobs.items)
        done(self._scaler.start(jobs, decoded, canvas.host))
        return {}

    def close(self) -> None:
        """Holds nothing."""
