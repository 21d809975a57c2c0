"""``fastaug index``: notes where in each JPEG of a folder decoding can begin: crops are then decoded without
what lies above and beside it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..data.entropy import NAME, ROW, TILE, Draft, EntropyIndex, room_of
from ..data.listing import Names, images_under
from ..data.pillow import extensions
from ..data.progress import progress
from ..data.scanned import described_files, stamps_of
from ..decode.graphs import Decode
from ..decode.jpeg import JpegDecoder, table_of, whole_jobs
from ..machine.library import NOT_COMPILED, library

_CHUNK = 512  # files at a time
_SAVE, _SHARE = 60.0, 20.0  # seconds between two saves, at least; and so many times what a save takes


def index(folder: str, tile: int = TILE, limit: int | None = None) -> int:
    """Makes a folder's index, with all CPU threads.

    Stopped, it goes on from there; run again, it looks at new and changed files only.

    Args:
        folder: any folder with JPEGs, in folders of their own or not.
        tile: pixels from one noted place to the next in a row of blocks, a power of two from 16 on; 0: one
            place for each row.
        limit: bytes that the index may have; JPEGs beyond are left out.

    Returns:
        The exit status: 0, or 130 stopped by the user.

    Raises:
        OSError, ValueError: when there is no such folder or no image in it, or it cannot be written to.
        ImportError: without compiled kernels.
    """
    if library() is None:
        raise ImportError(NOT_COMPILED)
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{folder!r} is no folder; give one that holds images")
    root = Path(folder)
    names = Names.of(sorted(images_under(folder)))
    if not len(names):
        raise ValueError(f"{folder!r} holds no image ({', '.join(extensions())}); give a folder that does")
    before = _earlier(root, tile)
    draft, decoder = Draft(root, tile), JpegDecoder(Decode(), os.cpu_count() or 1)
    left_out, others, status, count = 0, 0, 0, 0
    try:
        found = progress(_found(names, before, decoder, tile), "Indexing", len(names))
        saved, took = time.monotonic(), 0.0
        for path, stamp, entry in found:
            if entry is None:
                others += 1
            elif limit is not None and draft.length + ROW.itemsize + 2 * len(entry[1]) > limit:
                left_out += 1
            else:
                draft.add(path, stamp, *entry)
                count += 1
            if time.monotonic() - saved > max(_SAVE, _SHARE * took):
                begin = time.monotonic()
                draft.save()
                saved, took = time.monotonic(), time.monotonic() - begin
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        status = 130
    finally:
        decoder.close()
        draft.save()
        size = draft.length
        draft.close()
    print(f"{root / NAME}: {count} JPEGs, {size / 2**20:.1f} MiB")
    if others:
        print(f"{others} other images need none: the box decoder does not decode them")
    if left_out:
        print(f"{left_out} JPEGs are left out: the index would be larger than {limit} bytes")
    return status


Entry = tuple[int, npt.NDArray[np.uint16]]  # checksum and tiles


def _earlier(root: Path, tile: int) -> EntropyIndex | None:
    """The index that is there, where its tiles are those that are asked for."""
    try:
        found = EntropyIndex(root / NAME)
    except (OSError, ValueError):
        return None
    return found if found.tile == tile else None


def _found(
    names: Names, before: EntropyIndex | None, decoder: JpegDecoder, tile: int
) -> Iterator[tuple[bytes, Sequence[int], Entry | None]]:
    """Each file with its stamp, and its entry; None where it has none."""
    for first in range(0, len(names), _CHUNK):
        paths = names[first : first + _CHUNK]
        raw = [os.fsencode(path) for path in paths]
        stamps = stamps_of(names, np.arange(first, first + len(paths)))
        known = before.tiles(raw, stamps) if before is not None else [None] * len(raw)
        entries: list[Entry | None] = [None] * len(raw)
        for k, tiles in enumerate(known):
            if tiles is not None and before is not None:
                at = (tiles.address - before.words.ctypes.data) // 2
                entries[k] = tiles.checksum, before.words[at : at + tiles.words]
        todo = [k for k in range(len(raw)) if known[k] is None]
        for k, entry in zip(todo, _made([paths[k] for k in todo], decoder, tile), strict=True):
            entries[k] = entry
        yield from zip(raw, stamps.tolist(), entries, strict=True)


def _made(paths: Sequence[str], decoder: JpegDecoder, tile: int) -> list[Entry | None]:
    """The entries of files; None for those that the box decoder does not decode, or that are damaged."""
    made: list[Entry | None] = [None] * len(paths)
    names = Names.of(paths)
    described = described_files(names)
    ours, jobs = whole_jobs(names, described)
    table, _held = table_of(jobs)
    sides = zip(described.height[ours].tolist(), described.width[ours].tolist(), strict=True)
    rooms = [np.zeros(room_of(height, width, tile), np.uint16) for height, width in sides]
    table["tiles"], table["tile_words"] = [r.ctypes.data for r in rooms], [len(r) for r in rooms]
    table["tile"] = tile
    decoder.index(table)
    for k, room, job in zip(ours.tolist(), rooms, table, strict=True):
        if not job["fault"]:
            made[k] = int(job["checksum"]), room[: job["tile_words"]]
    return made
