"""Where crops go that are made before a batch is: sample after sample, of each all its views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.form import Raster


class Rows:
    """Memory for samples' crops.

    Args:
        room: uint8, of which as much is used as samples need.
        most: so many samples at most.
        sizes: (H, W) of each view.
        raster: of the pixels.

    Attributes:
        bytes: uint8 ``[rows, bytes of a sample]``, as many rows as there is room for.
    """

    def __init__(
        self, room: npt.NDArray[np.uint8], most: int, sizes: Sequence[tuple[int, int]], raster: Raster
    ) -> None:
        self.sizes, self.raster = sizes, raster
        each = [height * width * raster.bytes for height, width in sizes]
        self._ends = np.cumsum(each)
        self._first = self._ends - each
        total = int(self._ends[-1])
        rows = min(len(room) // total, most)
        self.bytes = room[: rows * total].reshape(rows, total)

    @classmethod
    def of(cls, count: int, sizes: Sequence[tuple[int, int]], raster: Raster) -> Rows:
        """New memory for so many samples."""
        total = sum(height * width for height, width in sizes) * raster.bytes
        return cls(np.empty(count * total, np.uint8), count, sizes, raster)

    def __len__(self) -> int:
        return len(self.bytes)

    def addresses(self, view: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Where views of samples lie."""
        return (self.bytes.ctypes.data + row * self.bytes.shape[1] + self._first[view]).astype(np.uint64)

    def image(self, view: int, row: int) -> npt.NDArray[Any]:
        """A view of a sample: ``[H, W, C]``, as the raster has it."""
        part = self.bytes[row, self._first[view] : self._ends[view]]
        return part.view(self.raster.dtype).reshape(*self.sizes[view], self.raster.channels)

    def images(self, row: int) -> list[npt.NDArray[Any]]:
        """All views of a sample."""
        return [self.image(view, row) for view in range(len(self.sizes))]
