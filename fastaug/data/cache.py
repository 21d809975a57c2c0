"""The cache of header scans, a file for each list of files. It may be absent, damaged or unwritable."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..files import cache_folder, load_cached, save_cached
from .listing import Listing

log = logging.getLogger("fastaug")

FORMAT = 6  # a new one also when files get another kind
_ROW = np.dtype([("height", "<i4"), ("width", "<i4"), ("kind", "u1"), ("stamp", "<i8", (2,))])


@dataclass(frozen=True, eq=False)
class Scan:
    """What the headers of N images say.

    Attributes:
        height: int32 ``[N]``, pixels; 0 where an image cannot be used.
        width: int32 ``[N]``.
        kind: uint8 ``[N]``, a ``Kind`` each, with the bits TURN and PROFILE.
        stamp: int64 ``[N, 2]``, each file's size in bytes and time of change in ns; empty for data in memory.
    """

    height: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    stamp: npt.NDArray[np.int64]


def load(listing: Listing) -> Scan | None:
    """The scan of a list of files that the cache holds; None: to be made anew."""
    n = len(listing)
    content = load_cached(name_of(listing), n * _ROW.itemsize)
    if content is None or len(content) != n * _ROW.itemsize:
        return None
    rows = np.frombuffer(content, _ROW)
    return Scan(*(rows[name].copy() for name in ("height", "width", "kind", "stamp")))


def save(listing: Listing, scan: Scan) -> None:
    """Keeps a scan; one that cannot be written is left out."""
    rows = np.zeros(len(listing), _ROW)
    for name in ("height", "width", "kind", "stamp"):
        rows[name] = getattr(scan, name)
    if save_cached(name_of(listing), rows.tobytes()) is None:
        where = cache_folder() or "a home folder: there is none"
        log.warning("fastaug: the index cannot be kept in %s; it is made anew each time", where)


def name_of(listing: Listing) -> str:
    """What the file with the scan of a list of files is called."""
    assert listing.paths is not None
    key = hashlib.blake2b(b"%d\0" % FORMAT, digest_size=16)
    key.update(os.fsencode(os.path.abspath(listing.root or ".")))
    key.update(listing.paths.offsets.tobytes())
    key.update(listing.paths.blob.tobytes())
    return f"{key.hexdigest()}.index"
