"""The box decoder for sequential JPEGs: no more of a file is decoded than the box needs, and the thread that
decoded it scales it into its views. kernels/jpeg.h says which JPEGs; the others are refused."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.listing import Names
from ..data.source import OF_KIND, TURN, Described, Encoded, FilePath, Kind
from ..machine.library import OTHER_VERSION, library
from ..machine.limits import with_remedy
from .canvas import Canvas
from .graphs import Decode
from .jobs import VIEW, Jobs
from .scale import SCALING, scalings_of

log = logging.getLogger("fastaug")

_AT_ONCE = 8  # images of a call; between calls a batch that nobody waits for any more is given up
# The mirror of struct JpegJob in kernels/jpeg.h, where each field is explained.
JOB = np.dtype(
    [
        ("data", "u8"),
        ("bytes", "i8"),
        ("path", "u8"),
        ("views", "u8"),
        ("view_count", "i8"),
        ("pixels", "u8"),
        ("y0", "i4"),
        ("x0", "i4"),
        ("h", "i4"),
        ("w", "i4"),
        ("orientation", "i4"),
        ("whole", "i4"),
        ("scaled", "i4"),
        ("tiles", "u8"),
        ("tile_words", "i8"),
        ("checksum", "u8"),
        ("tile", "i4"),
        ("misfit", "i4"),
        ("fault", "i4"),
    ],
    align=True,
)
TILES = ("tiles", "tile_words", "tile", "checksum")  # what source.Tiles holds
# What each JpegFault in kernels/jpeg.h means.
FAULTS = (
    "",
    "cannot be read",
    "no memory",
    "no sound JPEG header",
    "a JPEG of a kind that the box decoder leaves to others",
    "smaller than its header said before",
    "damaged: a code that its Huffman tables do not have",
    "damaged: a block with more than 64 coefficients",
    "damaged: a coefficient out of range",
    "damaged: its data end too early",
    "damaged: more data than its blocks have",
    "damaged: a marker where none belongs",
)
NO_MEMORY, DAMAGE = 2, 6  # the first of them that is damage


class JpegDecoder:
    """Decodes on ``threads`` threads of its own, an image a thread at a time.

    Args:
        how: its options.
        threads: how many.
    """

    def __init__(self, how: Decode, threads: int) -> None:
        lib = library()
        assert lib is not None
        if lib.fastaug_jpeg_job_bytes() != JOB.itemsize:
            raise ImportError(OTHER_VERSION)
        self._lib, self._how, self._threads, self._said = lib, how, threads, False
        self._pool = ThreadPoolExecutor(threads, "fastaug-jpeg")  # starts threads when there is work

    def decode(
        self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Writes each job's views into their rows of the canvas; see ``Decoder.run``.

        Returns:
            For each job whose image is damaged, why, where ``how.strict``; and for each other job that is
            left to another decoder.
        """
        views = scalings_of(jobs)
        views["out"] = canvas.addresses(jobs.views)
        table, _held = table_of(jobs)
        count = np.bincount(jobs.views["job"], minlength=len(jobs))
        table["views"] = views.ctypes.data + (np.cumsum(count) - count) * SCALING.itemsize
        table["view_count"], table["scaled"] = count, self._how.scaled
        self.run(table, dropped)
        faults: dict[int, str] = {}
        refused: dict[int, str] = {}
        for k in np.flatnonzero(table["fault"]).tolist():
            fault = int(table["fault"][k])
            (faults if self._how.strict and fault >= DAMAGE else refused)[k] = FAULTS[fault]
        return faults, refused

    def index(self, table: npt.NDArray[np.void]) -> None:
        """Makes the tiles of a table's jobs, in the room that it gives, and fills in its faults."""
        self._all(self._lib.fastaug_jpeg_index, table, lambda: False)

    def run(self, table: npt.NDArray[np.void], dropped: Callable[[], bool] = lambda: False) -> None:
        """Decodes what a table of jobs says, and fills in its faults. Raises as ``_all``."""
        self._all(self._lib.fastaug_jpeg, table, dropped)
        if table["misfit"].any() and not self._said:
            self._said = True
            log.warning(
                "fastaug: an entropy index does not fit its files, which are decoded from their start, "
                "slower: make it anew with `fastaug index`; this is said once"
            )

    def _all(self, kernel: Any, table: npt.NDArray[np.void], dropped: Callable[[], bool]) -> None:
        """Has the threads do a table's jobs.

        Raises:
            MemoryError, RuntimeError: with the remedy, when there is no memory or no thread left.
        """
        following = np.zeros(1, np.int64)

        def work() -> None:
            while following[0] < len(table) and not dropped():
                kernel(table.ctypes.data, len(table), following.ctypes.data, _AT_ONCE)

        try:
            threads = min(self._threads, -(-len(table) // 2))
            for done in [self._pool.submit(work) for _ in range(threads)]:
                done.result()
        except RuntimeError as error:
            raise with_remedy(error) from error
        if (table["fault"] == NO_MEMORY).any():
            raise MemoryError("no memory left to decode a JPEG: free memory, or allow more")

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()


def table_of(jobs: Jobs) -> tuple[npt.NDArray[np.void], list[object]]:
    """The jobs without their views, JOB ``[J]``, and what holds the memory that it points to."""
    table, held = np.zeros(len(jobs), JOB), list[object]()
    for k, item in enumerate(jobs.items):
        if isinstance(item, FilePath):
            path = ctypes.create_string_buffer(item.data.tobytes())
            table["path"][k] = ctypes.addressof(path)
            held.append(path)
            if item.tiles is not None:
                for name, value in zip(TILES, item.tiles, strict=False):
                    table[name][k] = value
                held.append(item.tiles.owner)
        elif isinstance(item, Encoded):
            table["data"][k], table["bytes"][k] = item.data.ctypes.data, len(item.data)
            held.append(item.data)
    table["orientation"] = (jobs.kinds >> TURN & 7) + 1
    for k, name in enumerate(("y0", "x0", "h", "w")):
        table[name] = jobs.boxes[:, k]
    return table, held


def sequential(kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which images are sequential JPEGs, by the kinds of their headers."""
    found: npt.NDArray[np.bool_] = kinds & OF_KIND == Kind.SEQUENTIAL
    return found


def whole_jobs(names: Names, described: Described) -> tuple[npt.NDArray[np.intp], Jobs]:
    """The numbers of those files that are sequential JPEGs without a fault so far, and jobs of the whole of
    each, without views."""
    good = sequential(described.kind)
    good[list(described.faults)] = False
    ours = np.flatnonzero(good)
    boxes = np.zeros((len(ours), 4), np.int32)
    boxes[:, 2], boxes[:, 3] = described.height[ours], described.width[ours]
    items = [FilePath(names.raw(k)) for k in ours.tolist()]
    return ours, Jobs(items, described.kind[ours], boxes, np.zeros(0, VIEW))
