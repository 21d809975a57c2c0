"""Images that are arrays already, as a source."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .listing import Listing
from .source import Described, Ids, Kind, Stack


class Arrays:
    """Decoded images of one size.

    Args:
        listing: holds uint8 ``[N, H, W, 3]`` and labels.
    """

    in_memory = True

    def __init__(self, listing: Listing) -> None:
        assert listing.arrays is not None
        self.classes, self.summary = listing.classes, listing.summary
        self._listing, self._arrays = listing, listing.arrays

    def __len__(self) -> int:
        return len(self._listing)

    def sizes(self) -> tuple[Ids, Ids, Ids]:
        height, width = self._arrays.shape[1:3]
        return np.zeros(1, np.int64), np.array([height]), np.array([width])

    def bad(self) -> Ids:
        return np.zeros(0, np.int64)

    def largest_label(self) -> tuple[int, int]:
        return self._listing.largest_label()

    def describe(self, ids: Ids, ticket: object = None) -> Described:
        height, width = self._arrays.shape[1:3]
        n = len(ids)
        return Described(np.full(n, height), np.full(n, width), np.full(n, Kind.PIXELS, np.uint8))

    def fetch(self, ids: Ids, boxes: npt.NDArray[np.int32], ticket: object = None) -> Stack:
        return Stack(self._arrays, ids)

    def targets(self, ids: Ids, ticket: object = None) -> Ids:
        return self._listing.labels[ids]

    def name(self, i: int) -> str:
        return self._listing.name(i)

    def reason(self, i: int) -> str:
        return ""

    def identity(self) -> dict[str, Any]:
        return self._listing.identity()
