"""Entropy indices: where the decoding of a folder's JPEGs can begin, in one memory-mapped file beside them.

The file is 64 bytes of header, a row for each JPEG in the order of ``name``, then all rows' tiles, as
kernels/jpeg_index.h describes them. A row is used for a file of the same name, size and time of change alone,
and the decoder compares a checksum of the file and its tiles. Numbers in it are not trusted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ..files import replacing
from .source import Tiles

log = logging.getLogger("fastaug")

TILE = 128  # pixels from one tile to the next, by default: half as many give no faster crops
NAME = ".fastaug-index"  # of the file, in the folder that it is about
_MAGIC = b"fastaug index 1\n"
_HEADER = np.dtype([("magic", "S16"), ("tile", "<i8"), ("rows", "<i8"), ("words", "<i8"), ("unused", "S24")])
# name: a digest of the path below the folder; size, mtime: of the file, in bytes and ns; first, words: its
# tiles among all.
ROW = np.dtype(
    [
        ("name", "<u8"),
        ("size", "<i8"),
        ("mtime", "<i8"),
        ("checksum", "<u8"),
        ("first", "<i8"),
        ("words", "<i8"),
    ]
)


class EntropyIndex:
    """An index file that is open for reading.

    Args:
        path: the file.
        root: the folder of the files that will be asked for; None: the index's own.

    Raises:
        ValueError: when it is none, or not whole.
        OSError: when it cannot be read.

    Attributes:
        tile: pixels from one tile to the next; 0: a tile for each MCU row.
        rows: ROW ``[N]``.
        words: uint16, all tiles.
    """

    def __init__(self, path: Path, root: str | None = None) -> None:
        size = path.stat().st_size
        content = np.memmap(path, np.uint8, "r") if size >= _HEADER.itemsize else np.zeros(0, np.uint8)
        header = content[: _HEADER.itemsize].view(_HEADER)
        if not len(header) or bytes(header["magic"][0]) != _MAGIC:
            raise ValueError(f"{os.fspath(path)!r} is no entropy index of this version of fastaug")
        self.tile, rows, words = (int(header[name][0]) for name in ("tile", "rows", "words"))
        table = _HEADER.itemsize + rows * ROW.itemsize
        if min(rows, words) < 0 or size != table + 2 * words or not 0 <= self.tile <= 1 << 16:
            raise ValueError(f"{os.fspath(path)!r} is not whole")
        self.rows, self.words = content[_HEADER.itemsize : table].view(ROW), content[table:].view("<u2")
        self._names, self._address = self.rows["name"], self.words.ctypes.data
        self._root = os.fsencode(path.parent if root is None else root)
        own = root is None or os.path.samefile(root, path.parent)
        self._above = b"" if own else os.fsencode(os.path.basename(os.path.abspath(root or ""))) + b"/"

    def tiles(self, paths: Sequence[bytes], stamps: npt.NDArray[np.int64]) -> list[Tiles | None]:
        """The tiles of files, None for those that it does not know as they are.

        Args:
            paths: the files.
            stamps: int64 ``[B, 2]``, each one's size and time of change.
        """
        names = np.array([digest(path, self._root, self._above) for path in paths], np.uint64)
        places = np.searchsorted(self._names, names)
        found: list[Tiles | None] = []
        for name, place, stamp in zip(names.tolist(), places.tolist(), stamps.tolist(), strict=True):
            row = self.rows[place] if place < len(self.rows) else None
            found.append(self._of(row, name, stamp) if row is not None else None)
        return found

    def _of(self, row: np.void, name: int, stamp: Sequence[int]) -> Tiles | None:
        known, size, mtime, checksum, first, words = row.tolist()
        fits = known == name and [size, mtime] == list(stamp)
        if not fits or first < 0 or not 0 < words <= len(self.words) - first:
            return None
        return Tiles(self._address + 2 * first, words, self.tile, checksum, self)


class Draft:
    """An index that is being made; its tiles wait in a file without a name.

    Args:
        folder: what it is about, and where it goes.
        tile: as of EntropyIndex.
    """

    def __init__(self, folder: Path, tile: int) -> None:
        self._folder, self._tile = folder, tile
        self._rows: list[tuple[int, ...]] = []
        self._spool: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._words = 0

    @property
    def length(self) -> int:
        """How long the file would be now, bytes."""
        return _HEADER.itemsize + len(self._rows) * ROW.itemsize + 2 * self._words

    def add(self, path: bytes, stamp: Sequence[int], checksum: int, words: npt.NDArray[np.uint16]) -> None:
        """A file's tiles."""
        name = digest(path, os.fsencode(self._folder))
        self._rows.append((name, *stamp, checksum, self._words, len(words)))
        self._spool.write(words.astype("<u2").tobytes())
        self._words += len(words)

    def save(self) -> None:
        """Writes the index as far as it is, whole, in place of the one before."""
        rows = np.array(self._rows, ROW)
        rows = rows[np.argsort(rows["name"], kind="stable")]
        header = np.array([(_MAGIC, self._tile, len(rows), self._words, b"")], _HEADER)
        self._spool.seek(0)
        with replacing(self._folder / NAME) as file:
            file.write(header.tobytes())
            file.write(rows.tobytes())
            shutil.copyfileobj(self._spool, file, 1 << 20)
        self._spool.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Drops what waits."""
        self._spool.close()


def room_of(height: int, width: int, tile: int) -> int:
    """Numbers of 16 bits that an image's tiles have at most, whatever its orientation."""

    def words(h: int, w: int) -> int:
        return -(-h // 8) * (1 if not tile else -(-w // tile) + 1) * 4

    return max(words(height, width), words(width, height))


def digest(path: bytes, folder: bytes, above: bytes = b"") -> int:
    """A file's path below a folder, behind what stands above that, as a number."""
    below = path[len(folder) :].lstrip(b"/") if path.startswith(folder) else path
    return int.from_bytes(hashlib.blake2b(above + below, digest_size=8).digest(), "little")


def open_index(root: str | None) -> EntropyIndex | None:
    """The index of a folder or of the one above it, where there is one that can be used."""
    if root is None:
        return None
    folder = Path(root)
    for path in (folder / NAME, folder.absolute().parent / NAME):
        if path.is_file():
            try:
                return EntropyIndex(path, root)
            except (ValueError, OSError) as error:
                log.warning("fastaug: %s; it is left aside: make it anew with `fastaug index`", error)
    return None
