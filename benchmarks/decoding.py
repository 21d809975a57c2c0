"""Decoding alone, by stage: what a random crop of a JPEG costs on one core.

Run: python benchmarks/decoding.py [--data DIR]. A table for the photographs, for the same brought to 400
pixels at quality 90, and to 4,000 pixels (12 megapixels): DALI's decoder of boxes, then the box decoder
without an index, with one of rows and with one each 128 pixels. Medians of interleaved rounds, CPU
milliseconds an image, of one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import photos

import fastaug as fa
from fastaug.data.opening import open_source
from fastaug.data.source import Encoded
from fastaug.decode.graphs import built, crops_graph
from fastaug.decode.jobs import boxes_of, jobs_of
from fastaug.decode.jpeg import JOB, table_of
from fastaug.decode.scale import SCALING, scalings_of
from fastaug.machine.library import library
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

ROUNDS, SIDE, ROOM = 7, 224, 1 << 19
TILES = {"no index": None, "index of rows": 0, "index each 128 px": 128}


def timed(kernel: Any, table: np.ndarray) -> float:
    """CPU milliseconds an image."""
    following, begin = np.zeros(1, np.int64), time.thread_time()
    kernel(table.ctypes.data, len(table), following.ctypes.data, len(table))
    assert not table["fault"].any()
    return (time.thread_time() - begin) / len(table) * 1e3


def costs(data: Path, count: int) -> dict[str, list[float]]:
    """Medians: of DALI's decoder one, else to RGB without and with colour, and with scaling to 224²."""
    lib, source = library(), open_source(data)
    ids = np.arange(min(count, len(source)))
    described = source.describe(Ticket.of(ids))
    planner = Planner([fa.RandomResizedCrop(SIDE)])
    plan = planner.plan(Ticket.of(ids), described.height, described.width)
    boxes = boxes_of(plan, ids)
    files = [np.fromfile(source.name(int(i)), np.uint8) for i in ids]
    jobs = jobs_of(plan, ids, [Encoded(file) for file in files], described.kind)
    table, held = table_of(jobs)
    views, out = scalings_of(jobs), np.zeros((SIDE, SIDE, 3), np.uint8)
    views["out"] = out.ctypes.data
    pixels = np.zeros(int((boxes[:, 2] * boxes[:, 3]).max()) * 3, np.uint8)
    runs: dict[str, list[Callable[[], float]]] = {}
    pipe = built(crops_graph(files=False, batch_size=len(files), threads=1))

    def dali() -> float:
        begin = time.process_time()
        pipe.run(data=files, box=boxes)
        return (time.process_time() - begin) / len(files) * 1e3

    runs["DALI's image_slice"] = [dali]
    for name, tile in TILES.items():
        plain = table.copy()
        if tile is not None:
            rooms = np.zeros((len(table), ROOM), np.uint16)
            held.append(rooms)
            plain["tiles"], plain["tile_words"], plain["tile"] = [r.ctypes.data for r in rooms], ROOM, tile
            timed(lib.fastaug_jpeg_index, plain)
        coloured, scaled = plain.copy(), plain.copy()
        coloured["pixels"] = pixels.ctypes.data
        scaled["views"] = views.ctypes.data + np.arange(len(table)) * SCALING.itemsize
        scaled["view_count"] = 1
        assert plain.dtype == JOB
        runs[name] = [lambda t=t: timed(lib.fastaug_jpeg, t) for t in (plain, coloured, scaled)]
    found: dict[str, list[list[float]]] = {name: [[] for _ in stages] for name, stages in runs.items()}
    for _ in range(ROUNDS):
        for name, stages in runs.items():
            for times, stage in zip(found[name], stages, strict=True):
                times.append(stage())
    return {name: [median(times) for times in stages] for name, stages in found.items()}


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder in ImageFolder layout (default: a generated set)")
    parser.add_argument("--images", type=int, default=200)
    args = parser.parse_args()
    data = args.data or photos.generated()
    with tempfile.TemporaryDirectory() as name:
        folder, few = Path(name), max(1, args.images // 8)
        sets = {
            "the photographs": (data, args.images),
            "400 px, quality 90": (photos.resized(data, 400, folder, args.images, 90), args.images),
            "4,000 px": (photos.resized(data, 4000, folder, few), few),
        }
        for title, (where, count) in sets.items():
            print(f"\n| {title}: ms an image | codes and inverse DCT | + colour | + scaling |")
            print("|---|---|---|---|")
            for row, stages in costs(where, count).items():
                cells = [f"{ms:.2f}" for ms in stages] if len(stages) > 1 else ["", f"{stages[0]:.2f}", ""]
                print(f"| {row} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
