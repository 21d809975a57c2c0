"""Images that are arrays already, as a source."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..sampling.epoch import Ticket
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
        self.classes, self.summary, self.names = listing.classes, listing.summary, listing.names
        self._rows = listing.rows
        self._listing, self._arrays = listing, listing.arrays

    def __len__(self) -> int:
        return len(self._listing)

    def sizes(self) -> tuple[Ids, Ids, Ids]:
        height, width = self._arrays.shape[1:3]
        return np.zeros(1, np.int64), np.array([height]), np.array([width])

    def bad(self) -> Ids:
        return np.zeros(0, np.int64)

    def largest_label(self) -> tuple[int, int] | None:
        return self._listing.largest_label()

    def describe(self, ticket: Ticket) -> Described:
        height, width = self._arrays.shape[1:3]
        ids, n = ticket.ids, len(ticket.ids)
        kinds = np.full(n, Kind.PIXELS, np.uint8)
        return Described(ids, np.full(n, height), np.full(n, width), kinds, self._rows[ids])

    def fetch(self, described: Described, which: Ids, boxes: npt.NDArray[np.int32]) -> Stack:
        return Stack(self._arrays, described.ids[which])

    def labels(self) -> Ids | None:
        return self._listing.labels if self._listing.fields is None else None

    def name(self, i: int) -> str:
        return self._listing.name(i)

    def reason(self, i: int) -> str:
        return ""

    def identity(self) -> dict[str, Any]:
        return self._listing.identity()
