"""CPU time of the loader beside that of a DALI pipeline that only decodes and scales the crops.

Run: python benchmarks/overhead.py [FOLDER]. Without a folder, scikit-image's photographs. Both in one
process, in turn, after a warm-up; files are in the page cache.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from nvidia.dali import fn, pipeline_def, types

import fastaug
from fastaug.data.datasets import as_listing
from fastaug.data.opening import open_source
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket
from fastaug.tools.demo import make_photos

BATCH, THREADS, ROUNDS = 64, 2, 7


@pipeline_def(batch_size=BATCH, num_threads=THREADS, device_id=None, prefetch_queue_depth=1)
def crops():
    """Read, decode the box, scale it to 224 x 224."""
    path = fn.external_source(name="path", dtype=types.UINT8, ndim=1, batch=True)
    box = fn.external_source(name="box", dtype=types.INT32, ndim=1, batch=True)
    image = fn.decoders.image_slice(fn.io.file.read(path), box[:2], box[2:], axes=[0, 1])
    return fn.resize(image, size=[224, 224], antialias=True, interp_type=types.INTERP_LINEAR)


def main() -> None:
    """Measures and prints CPU milliseconds an image."""
    with tempfile.TemporaryDirectory() as folder:
        data = sys.argv[1] if len(sys.argv) > 1 else str(make_photos(Path(folder)))
        listing = as_listing(data)
        source, n = open_source(listing), len(listing)
        pipe = crops()
        pipe.build()
        planner = Planner([fastaug.RandomResizedCrop(224)])
        assert listing.paths is not None

        def dali(epoch: int) -> None:
            for first in range(0, n, BATCH):
                where = np.arange(first, min(first + BATCH, n))
                sizes = source.describe(Ticket.of(where))
                plan = planner.plan(Ticket.of(where, epoch=epoch), sizes.height, sizes.width)
                box = np.stack([plan["y0"], plan["x0"], plan["h"], plan["w"]], 1)
                pipe.run(path=[listing.paths.raw(int(i)) for i in where], box=box)

        full = [
            fastaug.RandomResizedCrop(224),
            fastaug.RandomHorizontalFlip(),
            fastaug.GridMask(p=0.5),
            fastaug.Cutout(56),
            fastaug.OneOf([fastaug.MixUp(0.2), fastaug.CutMix(1.0)]),
            fastaug.Normalize(),
        ]
        wanted = {"loader: crop, flip, normalise": "standard", "loader: with masks and mixing": full}
        loaders = {
            name: fastaug.loader(data, BATCH, num_workers=THREADS, augment=augment)
            for name, augment in wanted.items()
        }
        jobs = {"DALI alone: decode, resize": dali}
        jobs.update({k: lambda epoch, v=v: [None for _ in v] for k, v in loaders.items()})  # type: ignore[misc]
        spent: dict[str, list[float]] = {name: [] for name in jobs}
        for turn in range(ROUNDS + 2):
            for name, job in jobs.items():
                begin = time.process_time()
                job(turn)
                if turn >= 2:
                    spent[name].append((time.process_time() - begin) / n * 1e3)
        base = statistics.median(spent["DALI alone: decode, resize"])
        for name, values in spent.items():
            print(
                f"{name:32} {statistics.median(values):6.3f} ms CPU an image  "
                f"{statistics.median(values) / base - 1:+.0%}"
            )


if __name__ == "__main__":
    main()
