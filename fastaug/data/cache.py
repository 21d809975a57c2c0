"""The cache of header scans: one .npz for each list of files. It may be absent, damaged or unwritable."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..files import cache_folder, replacing
from .listing import Listing

log = logging.getLogger("fastaug")

FORMAT = 5  # a new one also when files get another kind


@dataclass(frozen=True, eq=False)
class Scan:
    """What the headers of N images say.

    Attributes:
        height: int32 ``[N]``, pixels; 0 where an image cannot be used.
        width: int32 ``[N]``.
        kind: uint8 ``[N]``, a ``Kind`` each, some with the bit PROFILE.
        stamp: int64 ``[N, 2]``, each file's size in bytes and time of change in ns; empty for data in memory.
    """

    height: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    stamp: npt.NDArray[np.int64]


def cache_file(listing: Listing) -> Path:
    """Where the scan of a list of files is kept."""
    assert listing.paths is not None
    key = hashlib.blake2b(digest_size=16)
    key.update(os.fsencode(os.path.abspath(listing.root or ".")))
    key.update(listing.paths.offsets.tobytes())
    key.update(listing.paths.blob.tobytes())
    return cache_folder() / f"index-{key.hexdigest()}.npz"


def load(file: Path, n: int) -> Scan | None:
    """The scan of n files that the cache holds; None: to be made anew."""
    try:
        with np.load(file, allow_pickle=False) as data:
            if int(data["format"]) != FORMAT or len(data["height"]) != n:
                return None
            return Scan(data["height"], data["width"], data["kind"], data["stamp"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def save(file: Path, scan: Scan) -> None:
    """Keeps a scan; one that cannot be written is left out."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as out:
            np.savez(
                out,
                format=FORMAT,
                height=scan.height,
                width=scan.width,
                kind=scan.kind,
                stamp=scan.stamp,
            )
    except OSError:
        log.warning("fastaug: the index cannot be kept in %s; it is made anew each time", file.parent)
