"""One cached scan of a source: image sizes, and files that cannot be read or are refused.

With sizes known, crop boxes are one NumPy expression. Only headers are read: the first 64 KB of a
JPEG, the whole of other formats. Sizes are after EXIF orientation, as the decoder delivers them.
Files of kinds that DALI decodes wrongly count as unreadable (see ``guards``).
What is no regular file is not opened (a pipe would never end), and an image of more than
``max_pixels`` is not decoded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..decode.graphs import built, load_dali
from ..files import cache_folder, replacing
from .guards import refused
from .progress import progress
from .source import Source

log = logging.getLogger("fastaug")

MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs: half a gigabyte of RGB

_HEAD = 1 << 16
# How the formats begin that are read whole; of anything else the rest is not read.
_STARTS = (b"\x89PNG", b"RIFF", b"BM", b"II", b"MM", b"P", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51")
_BATCH = 256
FORMAT = 3  # of the cache; a new one also when other files are refused


Sizes = npt.NDArray[np.int64]
_ALL = slice(None)


def _all_fit(height: Sizes, width: Sizes) -> npt.NDArray[np.bool_]:
    return np.ones(len(height), bool)


@dataclass(eq=False)
class Index:
    """Sizes of a source's images; 0 x 0 where a file cannot be read.

    Attributes:
        source: the images.
        height: int32 ``[N]``, pixels.
        width: int32 ``[N]``, pixels.
        stamp: int64 ``[N, 2]``, each file's size in bytes and time of change in ns; empty for data
            in memory.
        max_pixels: images with more count as unreadable; None: no limit.
        fits: which of these heights and widths (int64) can be used. Those of changed files may not.
    """

    source: Source
    height: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    stamp: npt.NDArray[np.int64]
    max_pixels: int | None = MAX_PIXELS
    fits: Callable[[Sizes, Sizes], npt.NDArray[np.bool_]] = _all_fit

    @property
    def bad(self) -> npt.NDArray[np.int64]:
        """Numbers of the samples that cannot be used."""
        return np.flatnonzero(~self.usable())

    def usable(self, samples: npt.NDArray[np.int64] | slice = _ALL) -> npt.NDArray[np.bool_]:
        """Which of the samples can be used, as far as their headers tell."""
        height, width = self.height[samples].astype("i8"), self.width[samples].astype("i8")
        good = height > 0
        if self.max_pixels is not None:
            good &= height * width <= self.max_pixels
        good[good] = self.fits(height[good], width[good])
        return good

    def reason(self, i: int) -> str:
        """Why sample i cannot be used; "" when it can."""
        if self.usable(np.array([i]))[0]:
            return ""
        height, width = int(self.height[i]), int(self.width[i])
        if self.max_pixels is not None and height * width > self.max_pixels:
            return f"{height}x{width} pixels are more than max_pixels={self.max_pixels}"
        if height:
            return f"{height}x{width} pixels fit the augmentations no more"
        return _why_unreadable(self.source, i)

    def one_size(self) -> tuple[int, int] | None:
        """(height, width) when all usable images share it, else None."""
        good = self.usable()
        h, w = self.height[good], self.width[good]
        return (int(h[0]), int(w[0])) if h.min() == h.max() and w.min() == w.max() else None

    def sizes(self, samples: npt.NDArray[np.int64]) -> tuple[Sizes, Sizes]:
        """Heights and widths of these samples, 1 x 1 where they are not known."""
        height, width = (sides[samples].astype("i8").clip(1) for sides in (self.height, self.width))
        return height, width

    def refresh(self, samples: npt.NDArray[np.int64]) -> None:
        """Reads the headers again of those files that changed since they were indexed."""
        if self.source.paths is None:
            return
        stamps = {int(i): _stamp(self.source, i) for i in samples}
        changed = {i: stamp for i, stamp in stamps.items() if (stamp != self.stamp[i]).any()}
        peeker = _Peeker() if changed else None
        for i, stamp in changed.items():
            assert peeker is not None
            self.height[i], self.width[i] = peeker.one(_read(self.source, i))
            self.stamp[i] = stamp


def read_index(source: Source, max_pixels: int | None = MAX_PIXELS) -> Index:
    """The source's index, from the cache where it is there, else by a scan (with a progress bar).

    Args:
        source: the images.
        max_pixels: images with more count as unreadable; None: no limit.

    Raises:
        ValueError: when no image can be read at all.
    """
    n = len(source)
    if source.arrays is not None:
        h, w = source.arrays.shape[1:3]
        return Index(source, np.full(n, h, np.int32), np.full(n, w, np.int32), np.zeros((0, 2), "i8"))
    file = _cache_file(source)
    index = _load(file, source) if file else None
    if index is None:
        index = scan(source)
        if file:
            _save(file, index)
    else:  # what was bad may have been mended since
        index.refresh(index.bad)
    index.max_pixels = max_pixels
    if len(index.bad) == n:
        raise ValueError(
            f"none of the {n} images can be read; the first, {source.name(0)}: "
            f"{index.reason(0)}; check that they are JPEG, PNG, WebP, BMP or TIFF files that "
            "you may read"
        )
    return index


def scan(source: Source) -> Index:
    """Reads the header of every image."""
    n = len(source)
    size = np.zeros((2, n), np.int32)
    with ThreadPoolExecutor(8, "fastaug-index") as pool:
        peeker = _Peeker()
        heads: list[npt.NDArray[np.uint8]] = []
        for i in progress(range(n), "Reading image headers", n):
            if i % _BATCH == 0:
                heads = list(pool.map(lambda k: _head(source, k), range(i, min(i + _BATCH, n))))
                shapes = peeker.many(heads)
            head, shape = heads[i % _BATCH], shapes[i % _BATCH]
            if shape == (0, 0) and _goes_on(head):
                shape = peeker.one(_read(source, i))
            size[:, i] = shape
        stamps = np.zeros((0, 2), np.int64)
        if source.paths is not None:
            stamps = np.array(list(pool.map(lambda i: _stamp(source, i), range(n))))
    return Index(source, size[0], size[1], stamps)


def _stamp(source: Source, i: int) -> npt.NDArray[np.int64]:
    assert source.paths is not None
    try:
        found = os.stat(source.paths.raw(i).tobytes())
    except OSError:
        return np.zeros(2, np.int64)
    return np.array([found.st_size if stat.S_ISREG(found.st_mode) else 0, found.st_mtime_ns])


def _read(source: Source, i: int, limit: int = -1) -> npt.NDArray[np.uint8]:
    """The bytes of sample i, or the first few; empty when it cannot be read."""
    if source.blobs is not None:
        return np.frombuffer(source.blobs[i], np.uint8)
    assert source.paths is not None
    path = source.paths.raw(i).tobytes()
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                return np.frombuffer(file.read(limit), np.uint8)
    except OSError:
        pass
    return np.zeros(0, np.uint8)


def _head(source: Source, i: int) -> npt.NDArray[np.uint8]:
    head = _read(source, i, _HEAD)
    return _read(source, i) if len(head) == _HEAD and head[:8].tobytes().startswith(_STARTS) else head


def _why_unreadable(source: Source, i: int) -> str:
    if source.paths is not None:
        path = source.paths.raw(i).tobytes()
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return "not a regular file"
            with open(path, "rb"):
                pass
        except OSError as error:
            return os.strerror(error.errno or 0)
    data = _head(source, i)
    if _goes_on(data):
        data = _read(source, i)
    return (refused(data) or "no readable image header") if len(data) else "empty"


def _goes_on(head: npt.NDArray[np.uint8]) -> bool:
    """Whether a head may be that of a JPEG whose sizes stand further in."""
    return len(head) == _HEAD and head[0] == 0xFF


class _Peeker:
    """DALI's header parser over batches; a batch with an error is read again one by one."""

    def __init__(self) -> None:
        dali = load_dali()

        @dali.pipeline_def(batch_size=_BATCH, num_threads=1, device_id=None, prefetch_queue_depth=1)
        def peek():  # type: ignore[no-untyped-def]
            data = dali.fn.external_source(name="data", dtype=dali.types.UINT8, ndim=1, batch=True)
            return dali.fn.peek_image_shape(data, dtype=dali.types.INT32)

        self._pipe = built(peek())

    def many(self, heads: Sequence[npt.NDArray[np.uint8]]) -> list[tuple[int, int]]:
        """(height, width) of each; (0, 0) where the header cannot be read, or the image is refused."""
        shapes = [(0, 0)] * len(heads)
        given = [k for k, head in enumerate(heads) if len(head) and not refused(head)]
        for k, shape in zip(given, self._peek([heads[k] for k in given]), strict=True):
            shapes[k] = shape
        return shapes

    def one(self, head: npt.NDArray[np.uint8]) -> tuple[int, int]:
        """(height, width) of one image, or (0, 0)."""
        return self.many([head])[0]

    def _peek(self, heads: list[npt.NDArray[np.uint8]]) -> list[tuple[int, int]]:
        if not heads:
            return []
        try:
            return [_positive(shape) for shape in self._pipe.run(data=heads)[0].as_array()]
        except RuntimeError:
            return [(0, 0)] if len(heads) == 1 else [self._peek([head])[0] for head in heads]


def _positive(shape: npt.NDArray[np.int32]) -> tuple[int, int]:
    height, width = int(shape[0]), int(shape[1])
    return (height, width) if min(height, width) > 0 else (0, 0)


# ---- the cache: one .npz for each list of files ----


def _cache_file(source: Source) -> Path | None:
    if source.paths is None:
        return None
    key = hashlib.blake2b(digest_size=16)
    key.update(os.fsencode(os.path.abspath(source.root or ".")))
    key.update(source.paths.offsets.tobytes())
    key.update(source.paths.blob.tobytes())
    return cache_folder() / f"index-{key.hexdigest()}.npz"


def _load(file: Path, source: Source) -> Index | None:
    try:
        with np.load(file, allow_pickle=False) as data:
            if int(data["format"]) != FORMAT or len(data["height"]) != len(source):
                return None
            return Index(source, data["height"], data["width"], data["stamp"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None  # absent or damaged: the scan writes it anew


def _save(file: Path, index: Index) -> None:
    """A cache that cannot be written is left out."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as out:
            np.savez(out, format=FORMAT, height=index.height, width=index.width, stamp=index.stamp)
    except OSError:
        log.warning("fastaug: the index cannot be kept in %s; it is made anew each time", file.parent)
