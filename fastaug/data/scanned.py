"""Files, and encoded images in memory, as a source: one scan of their headers, cached for files.

With sizes known, crop boxes are one NumPy expression. Only headers are read: the first 64 KB of a JPEG, the
whole of other formats. What is no regular file is not read (a pipe would never end), and an image of more
than ``max_pixels`` is not decoded. A file that changed since is read again before it is planned for. A fault
of the machine is raised, and neither kept nor counted.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..checks import quoted
from ..machine.library import library
from ..machine.limits import explained, reason_of, with_remedy
from ..sampling.epoch import Ticket
from .cache import Scan, load, save
from .entropy import open_index
from .headers import Header, kind_of, read_header
from .listing import Listing, Names
from .progress import progress
from .source import OF_KIND, PROFILE, TURN, Described, Encoded, Fetched, FilePath, Ids, Kind

log = logging.getLogger("fastaug")

MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs: half a gigabyte of RGB

_HEAD = 1 << 16
_LARGEST = 1 << 30  # bytes that are read of a file that begins like no image
_AT_ONCE = 256
_NOTHING = np.zeros(0, np.uint8)


class Scanned:
    """Encoded images whose headers were read.

    Args:
        listing: the images and their labels, no arrays.
        scan: what their headers say; its arrays are taken over.
        max_pixels: images with more cannot be used; None: no limit.
    """

    in_memory = False

    def __init__(self, listing: Listing, scan: Scan, max_pixels: int | None) -> None:
        self.classes, self.summary, self.names = listing.classes, listing.summary, listing.names
        self._rows = listing.rows
        self._listing, self._max_pixels = listing, max_pixels
        self._height, self._width, self._kind, self._stamp = scan.height, scan.width, scan.kind, scan.stamp
        self._lock = threading.Lock()  # over what is read again
        self.index = open_index(listing.root) if listing.paths is not None else None

    def __len__(self) -> int:
        return len(self._listing)

    def sizes(self) -> tuple[Ids, Ids, Ids]:
        ids = np.flatnonzero(self._usable(slice(None)))
        return ids, self._height[ids].astype(np.int64), self._width[ids].astype(np.int64)

    def bad(self) -> Ids:
        return np.flatnonzero(~self._usable(slice(None)))

    def largest_label(self) -> tuple[int, int] | None:
        return self._listing.largest_label()

    def describe(self, ticket: Ticket) -> Described:
        """Sizes from the scan; of files that changed since, from their headers now."""
        ids = ticket.ids
        self._refresh(ids)
        with self._lock:  # another thread may just change them
            height, width = (sides[ids].astype(np.int64).clip(1) for sides in (self._height, self._width))
            kind, usable = self._kind[ids], self._usable(ids)
        faults = {int(k): self.reason(int(ids[k])) for k in np.flatnonzero(~usable)}
        return Described(ids, height, width, kind, self._rows[ids], faults)

    def fetch(self, described: Described, which: Ids, boxes: npt.NDArray[np.int32]) -> Fetched:
        """Paths of files, which the decoder reads; bytes of what is in memory."""
        ids = described.ids[which]
        paths, blobs = self._listing.paths, self._listing.blobs
        if paths is not None:
            blob, offsets = paths.blob, paths.offsets
            data = [blob[offsets[i] : offsets[i + 1]] for i in ids.tolist()]
            if self.index is None:
                return [FilePath(path) for path in data]
            tiles = self.index.tiles([path.tobytes() for path in data], self._stamp[ids])
            return [FilePath(*pair) for pair in zip(data, tiles, strict=True)]
        assert blobs is not None
        return [Encoded(np.frombuffer(blobs[i], np.uint8)) for i in ids.tolist()]

    def labels(self) -> Ids | None:
        return self._listing.labels if self._listing.fields is None else None

    def name(self, i: int) -> str:
        return self._listing.name(i)

    def reason(self, i: int) -> str:
        if self._usable(np.array([i]))[0]:
            return ""
        height, width = int(self._height[i]), int(self._width[i])
        if height:
            return f"{height}x{width} pixels are more than max_pixels={self._max_pixels}"
        try:
            return _look(self._listing, i)[0].reason or "could not be read at first"
        except OSError as error:
            return str(error)

    def identity(self) -> dict[str, Any]:
        return self._listing.identity()

    def _usable(self, samples: Ids | slice) -> npt.NDArray[np.bool_]:
        height, width = self._height[samples].astype("i8"), self._width[samples].astype("i8")
        good: npt.NDArray[np.bool_] = height > 0
        return good if self._max_pixels is None else good & (height * width <= self._max_pixels)

    def by_pillow(self) -> Ids:
        """Numbers of the images of kinds that DALI does not decode rightly, so that Pillow does, slower."""
        return np.flatnonzero(self._usable(slice(None)) & (self._kind & OF_KIND == Kind.OTHER))

    @property
    def unindexed(self) -> str:
        """The folder of files that have no entropy index; "" where there is one, or no folder."""
        return "" if self.index is not None else self._listing.root or ""

    def decoders(self) -> dict[str, int]:
        """How many images are decoded by what: on the CPU, and as far as headers tell."""
        kinds = self._kind[self._usable(slice(None))] & OF_KIND
        box, pillow = int((kinds == Kind.SEQUENTIAL).sum()), int((kinds == Kind.OTHER).sum())
        return {"the box decoder": box, "DALI": len(kinds) - box - pillow, "Pillow, slower": pillow}

    def look_again(self, ids: Ids) -> None:
        """Reads the headers of these images, changed or not."""
        if not len(ids):
            return
        with _readers(self._listing) as look:
            found = list(look(ids))
        with self._lock:
            for i, (header, stamp) in zip(ids.tolist(), found, strict=True):
                self._kind[i], self._height[i], self._width[i] = (
                    number_of(header),
                    header.height,
                    header.width,
                )
                if len(self._stamp):
                    self._stamp[i] = stamp

    def _refresh(self, ids: Ids) -> None:
        """Reads the headers of those files that changed since they were read."""
        paths = self._listing.paths
        if paths is not None:
            self.look_again(ids[(stamps_of(paths, ids) != self._stamp[ids]).any(1)])


def stamps_of(paths: Names, ids: Ids) -> npt.NDArray[np.int64]:
    """The stamps of files, each a size in bytes and a time of change in ns: int64 ``[B, 2]``.

    Raises:
        OSError: for faults of the machine.
    """
    stamps, lib = np.full((len(ids), 2), -1, np.int64), library()
    ids = np.ascontiguousarray(ids, np.int64)
    if lib is not None and len(ids) and 0 <= ids.min() <= ids.max() < len(paths.offsets) - 1:
        pointers = (array.ctypes.data for array in (paths.blob, paths.offsets, ids))
        lib.fastaug_stamps(*pointers, len(ids), stamps.ctypes.data)
    for k in np.flatnonzero(stamps[:, 0] < 0).tolist():  # with a word on what is wrong
        stamps[k] = _stamp(paths.raw(int(ids[k])).tobytes())
    return stamps


def open_scanned(listing: Listing, max_pixels: int | None = MAX_PIXELS) -> Scanned:
    """A listing of files or encoded images as a source: its headers from the cache where they are there, else
    by a scan (with a progress bar).

    Args:
        listing: the images.
        max_pixels: images with more cannot be used; None: no limit.

    Raises:
        ValueError: when no image can be used at all.
    """
    files = listing.paths is not None
    scan = load(listing) if files else None
    if scan is None:
        source = Scanned(listing, scanned := scan_headers(listing), max_pixels)
        if files:
            save(listing, scanned)
    else:  # what was bad may have been mended since
        source = Scanned(listing, scan, max_pixels)
        source.look_again(source.bad())
    if len(source.bad()) == len(listing):
        raise ValueError(
            f"none of the {len(listing)} images can be read; the first, {quoted(listing.name(0))}: "
            f"{source.reason(0)}; check that they are images of a format that Pillow reads"
        )
    slow = source.by_pillow()
    if len(slow):
        log.warning(
            "fastaug: %d of %d images are of kinds that DALI does not decode rightly, %s the first; "
            "Pillow decodes them, slower",
            len(slow),
            len(listing),
            quoted(listing.name(int(slow[0]))),
        )
    return source


def described_files(paths: Names) -> Described:
    """What the headers of files say, read now."""
    listing = Listing(np.zeros(len(paths), np.int64), paths=paths)
    return Scanned(listing, scan_headers(listing), MAX_PIXELS).describe(Ticket.of(np.arange(len(paths))))


def scan_headers(listing: Listing) -> Scan:
    """Reads the header of every image.

    Raises:
        OSError, RuntimeError: for faults of the machine; nothing is kept then.
    """
    n = len(listing)
    height, width, kind = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.uint8)
    stamp = np.zeros((0 if listing.paths is None else n, 2), np.int64)
    with _readers(listing) as look:
        parts = (look(np.arange(at, min(at + _AT_ONCE, n))) for at in range(0, n, _AT_ONCE))
        found = progress(chain.from_iterable(parts), "Reading image headers", n)
        for i, (header, mark) in enumerate(found):
            kind[i], height[i], width[i] = number_of(header), header.height, header.width
            if len(stamp):
                stamp[i] = mark
    return Scan(height, width, kind, stamp)


Stamp = tuple[int, int]  # a file's size in bytes and time of change in ns; zeros for what is no file


class Read(NamedTuple):
    """What reading a file gave.

    Attributes:
        data: uint8, its bytes, or the first of them; empty where it cannot be read.
        stamp: of the file that was read.
        reason: why it cannot be read; "" where it can.
    """

    data: npt.NDArray[np.uint8]
    stamp: Stamp
    reason: str = ""


def read(path: bytes, limit: int = -1) -> Read:
    """Reads a file, or its first bytes.

    Raises:
        OSError: for faults of the machine, with the remedy.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # of a pipe, opening would wait
    except OSError as error:
        return Read(_NOTHING, (0, 0), reason_of(error))
    except ValueError:
        return Read(_NOTHING, (0, 0), "a NUL byte in the path")
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            return Read(_NOTHING, (0, 0), "not a regular file")
        with open(number, "rb", buffering=0, closefd=False) as file:
            data = file.readall() if limit < 0 or limit >= found.st_size else file.read(limit)
    except OSError as error:
        error.filename = path
        raise explained(error) from error
    finally:
        os.close(number)
    return Read(np.frombuffer(data, np.uint8), (found.st_size, found.st_mtime_ns))


def _stamp(path: bytes) -> Stamp:
    try:
        found = os.stat(path)
    except OSError as error:
        reason_of(error)
        return 0, 0
    except ValueError:
        return 0, 0
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (0, 0)


@contextmanager
def _readers(listing: Listing) -> Iterator[Callable[[Ids], Iterable[tuple[Header, Stamp]]]]:
    """What reads the headers of images on threads, and gives the stamps of the files that were read."""
    try:
        with ThreadPoolExecutor(8, "fastaug-scan") as pool:
            yield lambda ids: pool.map(lambda i: _look(listing, i), ids.tolist())
    except RuntimeError as error:
        raise with_remedy(error) from error


def _look(listing: Listing, i: int) -> tuple[Header, Stamp]:
    if listing.blobs is not None:
        return read_header(np.frombuffer(listing.blobs[i], np.uint8)), (0, 0)
    assert listing.paths is not None
    path = listing.paths.raw(i).tobytes()
    head = read(path, _HEAD)
    if head.reason:
        return Header(Kind.UNKNOWN, reason=head.reason), head.stamp
    kind = kind_of(head.data)
    if len(head.data) == head.stamp[0] or kind in (Kind.JPEG, Kind.UNKNOWN):
        header = read_header(head.data)
        if header.height or len(head.data) == head.stamp[0]:
            return header, head.stamp
    whole = read(path, _LARGEST if kind == Kind.UNKNOWN else -1)
    return read_header(whole.data) if not whole.reason else Header(kind, reason=whole.reason), whole.stamp


def number_of(header: Header) -> int:
    """What a header says of an image, as ``Described.kind`` has it."""
    return int(header.kind) | (header.orientation - 1) << TURN | (PROFILE if header.profile else 0)
