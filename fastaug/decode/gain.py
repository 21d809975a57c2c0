"""What an entropy index would bring on a user's data: measured on a few files, and said once."""

from __future__ import annotations

import logging
import time

import numpy as np

from ..data.entropy import NAME, ROW, TILE, room_of
from ..data.scanned import Scanned
from ..data.source import FilePath
from ..plan.planner import Planner, ViewsPlanner
from ..sampling.epoch import Ticket
from .graphs import Decode
from .jobs import VIEW, Jobs, boxes_of
from .jpeg import JpegDecoder, sequential, table_of

log = logging.getLogger("fastaug")

MANY = 5000  # images from which on it is worth a word
_FILES, _TIMES = 8, 3
_LEAST = 1.1  # times as fast

_said: set[str] = set()


def say_gain(source: Scanned, root: str, planner: Planner | ViewsPlanner) -> None:
    """Logs what an index would bring for a folder that has none, where that is much; once for each folder."""
    if root in _said:
        return
    _said.add(root)
    ids = np.linspace(0, len(source) - 1, _FILES).astype(np.int64)
    ticket = Ticket.of(ids)
    described = source.describe(ticket)
    good = sequential(described.kind)
    good[list(described.faults)] = False
    if not good.any():
        return
    plan = planner.plan(ticket, described.height, described.width)
    boxes = boxes_of(plan, np.flatnonzero(good))
    items = [
        item for item in source.fetch(described, np.flatnonzero(good), boxes) if isinstance(item, FilePath)
    ]
    table, _held = table_of(Jobs(items, described.kind[good], boxes, np.zeros(0, VIEW)))
    pixels = [np.zeros((h, w, 3), np.uint8) for _, _, h, w in boxes]
    table["pixels"] = [p.ctypes.data for p in pixels]
    room = max(room_of(*sides, TILE) for sides in zip(described.height, described.width, strict=True))
    rooms = np.zeros((len(table), room), np.uint16)
    indexed = table.copy()
    indexed["tiles"], indexed["tile_words"], indexed["tile"] = [r.ctypes.data for r in rooms], room, TILE
    decoder = JpegDecoder(Decode(), 1)
    decoder.index(indexed)
    spent: list[list[float]] = [[], []]
    for _ in range(_TIMES):
        for times, jobs in zip(spent, (table, indexed), strict=True):
            begin = time.perf_counter()
            decoder.run(jobs)
            times.append((time.perf_counter() - begin) / len(jobs) * 1e3)
    decoder.close()
    without, with_one = min(spent[0]), min(spent[1])
    if indexed["fault"].any() or without < _LEAST * with_one:
        return
    size = (2 * indexed["tile_words"].mean() + ROW.itemsize) * len(source)
    log.warning(
        "fastaug: `fastaug index %s` would decode these JPEGs %.1f times as fast (%.2f ms an image instead "
        "of %.2f, measured on %d), by a file %s of about %.0f MB there",
        root,
        without / with_one,
        with_one,
        without,
        len(table),
        NAME,
        max(1, size / 1e6),
    )
