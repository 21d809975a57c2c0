"""Files, and encoded images in memory, as a source: one scan of their headers, cached for files.

With sizes known, crop boxes are one NumPy expression. Only headers are read: the first 64 KB of a JPEG, the
whole of other formats. What is no regular file is not opened (a pipe would never end), and an image of more
than ``max_pixels`` is not decoded. A file that changed since is read again before it is planned for.
"""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from .cache import Scan, cache_file, load, save
from .headers import Header, kind_of, read_header
from .listing import Listing
from .progress import progress
from .source import Described, Encoded, Fetched, FilePath, Ids, Kind

MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs: half a gigabyte of RGB

_HEAD = 1 << 16
_AT_ONCE = 256


class Scanned:
    """Encoded images whose headers were read.

    Args:
        listing: the images and their labels, no arrays.
        scan: what their headers say; its arrays are taken over.
        max_pixels: images with more cannot be used; None: no limit.
    """

    in_memory = False

    def __init__(self, listing: Listing, scan: Scan, max_pixels: int | None) -> None:
        self.classes, self.summary = listing.classes, listing.summary
        self._listing, self._max_pixels = listing, max_pixels
        self._height, self._width, self._kind, self._stamp = scan.height, scan.width, scan.kind, scan.stamp
        self._lock = threading.Lock()  # over what is read again

    def __len__(self) -> int:
        return len(self._listing)

    def sizes(self) -> tuple[Ids, Ids, Ids]:
        ids = np.flatnonzero(self._usable(slice(None)))
        return ids, self._height[ids].astype(np.int64), self._width[ids].astype(np.int64)

    def bad(self) -> Ids:
        return np.flatnonzero(~self._usable(slice(None)))

    def largest_label(self) -> tuple[int, int]:
        return self._listing.largest_label()

    def describe(self, ids: Ids, ticket: object = None) -> Described:
        """Sizes from the scan; of files that changed since, from their headers now."""
        self._refresh(ids)
        height, width = (sides[ids].astype(np.int64).clip(1) for sides in (self._height, self._width))
        faults = {int(k): self.reason(int(ids[k])) for k in np.flatnonzero(~self._usable(ids))}
        return Described(height, width, self._kind[ids], faults)

    def fetch(self, ids: Ids, boxes: npt.NDArray[np.int32], ticket: object = None) -> Fetched:
        """Paths of files, which the decoder reads; bytes of what is in memory."""
        paths, blobs = self._listing.paths, self._listing.blobs
        if paths is not None:
            blob, offsets = paths.blob, paths.offsets
            return [FilePath(blob[offsets[i] : offsets[i + 1]]) for i in ids.tolist()]
        assert blobs is not None
        return [Encoded(np.frombuffer(blobs[i], np.uint8)) for i in ids.tolist()]

    def targets(self, ids: Ids, ticket: object = None) -> Ids:
        return self._listing.labels[ids]

    def name(self, i: int) -> str:
        return self._listing.name(i)

    def reason(self, i: int) -> str:
        if self._usable(np.array([i]))[0]:
            return ""
        height, width = int(self._height[i]), int(self._width[i])
        if height:
            return f"{height}x{width} pixels are more than max_pixels={self._max_pixels}"
        return _why_unreadable(self._listing, i)

    def identity(self) -> dict[str, Any]:
        return self._listing.identity()

    def _usable(self, samples: Ids | slice) -> npt.NDArray[np.bool_]:
        height, width = self._height[samples].astype("i8"), self._width[samples].astype("i8")
        good: npt.NDArray[np.bool_] = height > 0
        return good if self._max_pixels is None else good & (height * width <= self._max_pixels)

    def _refresh(self, ids: Ids) -> None:
        """Reads the headers of those files that changed since they were read."""
        if self._listing.paths is None:
            return
        stamps = {int(i): _stamp(self._listing, i) for i in ids}
        changed = {i: stamp for i, stamp in stamps.items() if (stamp != self._stamp[i]).any()}
        if not changed:
            return
        headers = {i: read_header(_read(self._listing, i)) for i in changed}
        with self._lock:
            for i, header in headers.items():
                self._kind[i], self._height[i], self._width[i] = header.kind, header.height, header.width
                self._stamp[i] = changed[i]


def open_scanned(listing: Listing, max_pixels: int | None = MAX_PIXELS) -> Scanned:
    """A listing of files or encoded images as a source: its headers from the cache where they are there, else
    by a scan (with a progress bar).

    Args:
        listing: the images.
        max_pixels: images with more cannot be used; None: no limit.

    Raises:
        ValueError: when no image can be used at all.
    """
    file = None if listing.paths is None else cache_file(listing)
    scan = load(file, len(listing)) if file else None
    if scan is None:
        source = Scanned(listing, scanned := scan_headers(listing), max_pixels)
        if file:
            save(file, scanned)
    else:  # what was bad may have been mended since
        source = Scanned(listing, scan, max_pixels)
        source.describe(source.bad())
    if len(source.bad()) == len(listing):
        raise ValueError(
            f"none of the {len(listing)} images can be read; the first, {listing.name(0)}: "
            f"{source.reason(0)}; check that they are JPEG, PNG, WebP, BMP or TIFF files that "
            "you may read"
        )
    return source


def scan_headers(listing: Listing) -> Scan:
    """Reads the header of every image."""
    n = len(listing)
    height, width = np.zeros(n, np.int32), np.zeros(n, np.int32)
    kind, stamp = np.zeros(n, np.uint8), np.zeros((0, 2), np.int64)
    with ThreadPoolExecutor(8, "fastaug-scan") as pool:
        found: list[Header] = []
        for i in progress(range(n), "Reading image headers", n):
            if i % _AT_ONCE == 0:
                found = list(pool.map(lambda k: _header(listing, k), range(i, min(i + _AT_ONCE, n))))
            header = found[i % _AT_ONCE]
            kind[i], height[i], width[i] = header.kind, header.height, header.width
        if listing.paths is not None:
            stamp = np.array(list(pool.map(lambda i: _stamp(listing, i), range(n))))
    return Scan(height, width, kind, stamp)


def _header(listing: Listing, i: int) -> Header:
    head = _head(listing, i)
    header = read_header(head)
    return read_header(_read(listing, i)) if not header.height and _goes_on(head) else header


def _stamp(listing: Listing, i: int) -> npt.NDArray[np.int64]:
    """A file's size in bytes and time of change in ns."""
    names = listing.paths
    assert names is not None
    try:
        found = os.stat(names.blob[names.offsets[i] : names.offsets[i + 1]].tobytes())
    except OSError:
        return np.zeros(2, np.int64)
    return np.array([found.st_size if stat.S_ISREG(found.st_mode) else 0, found.st_mtime_ns])


def _read(listing: Listing, i: int, limit: int = -1) -> npt.NDArray[np.uint8]:
    """The bytes of sample i, or the first few; empty when it cannot be read."""
    if listing.blobs is not None:
        return np.frombuffer(listing.blobs[i], np.uint8)
    assert listing.paths is not None
    path = listing.paths.raw(i).tobytes()
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                return np.frombuffer(file.read(limit), np.uint8)
    except OSError:
        pass
    return np.zeros(0, np.uint8)


def _head(listing: Listing, i: int) -> npt.NDArray[np.uint8]:
    head = _read(listing, i, _HEAD)
    read_whole = kind_of(head) not in (Kind.JPEG, Kind.UNKNOWN)
    return _read(listing, i) if len(head) == _HEAD and read_whole else head


def _why_unreadable(listing: Listing, i: int) -> str:
    if listing.paths is not None:
        path = listing.paths.raw(i).tobytes()
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return "not a regular file"
            with open(path, "rb"):
                pass
        except OSError as error:
            return os.strerror(error.errno or 0)
    return _header(listing, i).reason or "could not be read at first"


def _goes_on(head: npt.NDArray[np.uint8]) -> bool:
    """Whether a head may be that of a JPEG whose sizes stand further in."""
    return len(head) == _HEAD and head[0] == 0xFF
