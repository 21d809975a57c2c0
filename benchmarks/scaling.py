"""How fastaug's cost grows with batch, output and image size, threads, ranks and the data set's size.

Run: python benchmarks/scaling.py [--entries 14000000]. A table for each; medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

import fastaug as fa
from fastaug.data.cache import Scan, save
from fastaug.data.listing import Listing, Names
from fastaug.data.scanned import open_scanned
from fastaug.data.source import Kind
from fastaug.decode.jpeg import JpegDecoder
from fastaug.sampling.draws import Passes, permuted
from fastaug.sampling.epoch import OwnOrder, Place

sys.path.insert(0, str(Path(__file__).parent))
import photos

ROUNDS = 3


def loader(data: object, size: int = 224, batch: int = 64, threads: int | None = None):
    """Crop, flip, normalise."""
    augment = [fa.RandomResizedCrop(size), fa.RandomHorizontalFlip(), fa.Normalize()]
    return fa.loader(
        data, batch, True, num_workers=threads or os.cpu_count() or 1, augment=augment, device="cpu"
    )


def epochs(title: str, jobs: dict[str, object]) -> None:
    """Prints images/s and CPU milliseconds an image of each loader, measured in turns."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for turn in range(ROUNDS + 1):
        for name, batches in jobs.items():
            begin, cpu = time.perf_counter(), time.process_time()
            count = sum(len(images) for images, _ in batches)  # type: ignore[attr-defined]
            if turn:
                rates[name].append(
                    (count / (time.perf_counter() - begin), (time.process_time() - cpu) / count)
                )
    print(f"\n| {title} | images/s | CPU ms an image |\n|---|---|---|")
    for name, found in rates.items():
        print(
            f"| {name} | {median(r for r, _ in found):.0f} | {median(c for _, c in found) * 1e3:.3f} |",
            flush=True,
        )


def asleep(data: Path, counts: Sequence[int]) -> None:
    """Prints images/s of so many threads, decoding as it is and replaced by a sleep as long: what the rest of
    the line could keep fed, on a machine with these cores for the rest alone."""
    decode, rates = JpegDecoder._all, dict[str, list[float]]()
    one = loader(data, threads=1)
    for _ in one:
        pass
    begin, count = time.perf_counter(), sum(len(images) for images, _ in one)
    cost = (time.perf_counter() - begin) / count

    def sleep(self: JpegDecoder, kernel: object, table: np.ndarray, dropped: object) -> None:
        parts = [min(8, len(table) - k) for k in range(0, len(table), 8)]
        list(self._pool.map(lambda images: time.sleep(images * cost), parts))

    print(
        f"\n| threads | decoding | a sleep of its {cost * 1e3:.2f} ms | threads / sleep |\n|---|---|---|---|"
    )
    for threads in counts:
        for name, kernel in (("as it is", decode), ("asleep", sleep)):
            JpegDecoder._all = kernel  # type: ignore[method-assign]
            with loader(data, threads=threads, batch=256) as batches:
                rates[name] = []
                for turn in range(ROUNDS + 1):
                    begin, count = time.perf_counter(), sum(len(images) for images, _ in batches)
                    if turn:
                        rates[name].append(count / (time.perf_counter() - begin))
        JpegDecoder._all = decode  # type: ignore[method-assign]
        awake, slept = (median(found) for found in rates.values())
        print(f"| {threads} | {awake:.0f} | {slept:.0f} | {threads / cost:.0f} |", flush=True)


def training(data: object) -> None:
    """Prints what a batch costs a loop whose step takes a while, beside the loader's own time."""
    batches = loader(data)
    for _ in batches:
        pass
    begin, count = time.perf_counter(), sum(1 for _ in batches)
    alone = (time.perf_counter() - begin) / count
    print("\n| training step, ms (off the CPU) | ms a batch | the longer of step and loader |\n|---|---|---|")
    for share in (0.0, 0.5, 1.0, 2.0):
        step, begin = share * alone, time.perf_counter()
        for _ in batches:
            time.sleep(step)
        each = (time.perf_counter() - begin) / count
        print(f"| {step * 1e3:.0f} | {each * 1e3:.0f} | {max(step, alone) * 1e3:.0f} |", flush=True)


def synthetic(entries: int) -> Listing:
    """A source of so many names as ImageNet has them; there are no such files."""
    row = np.frombuffer(b"train/n00000000/n00000000_00000000.JPEG", np.uint8)
    blob = np.tile(row, (entries, 1))
    digits, number = 8, np.arange(entries)
    for d in range(digits):
        blob[:, row.size - 5 - digits + d] = 48 + number // 10 ** (digits - 1 - d) % 10
    names = Names(blob.reshape(-1), np.arange(entries + 1, dtype=np.int64) * row.size)
    return Listing(np.zeros(entries, np.int64), ["a"], "root", names)


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def entries_here(entries: int, cache: str) -> None:
    """In a process of its own: opens an index of so many entries from the cache, then orders an epoch."""
    os.environ["XDG_CACHE_HOME"] = cache
    listing = synthetic(entries)
    size = np.full(entries, 400, np.int32)
    kind = np.full(entries, Kind.JPEG, np.uint8)
    save(listing, Scan(size, size, kind, np.ones((entries, 2), np.int64)))
    del size, kind
    before, kept = resident(), []
    opened = timed(lambda: kept.append(open_scanned(listing)))
    taken = resident() - before
    names = (listing.paths.blob.nbytes + listing.paths.offsets.nbytes) if listing.paths else 0
    order = timed(lambda: permuted(np.arange(entries), entries, 0, 0))
    first = timed(
        lambda: next(
            OwnOrder(Passes(entries, True, entries), 256, False, 3, 8).tickets(0, Place(5, entries // 2))
        )
    )
    print(
        f"| {entries:,} | {opened:.2f} | {taken / 2**20:.0f} | {names / 2**20:.0f} | {order:.2f} | "
        f"{first * 1e3:.2f} |",
        flush=True,
    )


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=14_000_000, help="the largest synthetic data set")
    parser.add_argument("--images", type=int, default=512)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = photos.generated(args.images)
        epochs("batch size", {str(b): loader(data, batch=b) for b in (16, 64, 256)})
        epochs("output side, pixels", {str(s): loader(data, size=s) for s in (96, 160, 224, 320)})
        epochs("threads", {str(t): loader(data, threads=t) for t in (1, 2, 4)})
        epochs(
            "longer side of the images, pixels",
            {str(s): loader(photos.resized(data, s, Path(name), 96)) for s in (256, 512, 1024, 2048)},
        )
        asleep(photos.repeated(data, 8 * args.images, Path(name)), (1, 2, 4, 8, 16, 32, 64))
        training(data)
        print("\n| ranks | ms to find a rank's batch of 256 among 1,281,167 samples |\n|---|---|")
        for world in (1, 8, 64, 512):
            batches = OwnOrder(Passes(1_281_167, True, 1_281_167), 256, False, world - 1, world).tickets(
                0, Place()
            )
            print(f"| {world} | {median(timed(lambda: next(batches)) for _ in range(9)) * 1e3:.2f} |")  # noqa: B023
        print(
            "\n| entries | index opened, s | MiB it takes | MiB of the names | an epoch's order, s | "
            "ms to a batch in the middle |\n|---|---|---|---|---|---|",
            flush=True,
        )
        for entries in [n for n in (10_000, 100_000, 1_000_000) if n < args.entries] + [args.entries]:
            subprocess.run([sys.executable, __file__, "--here", str(entries), name], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        entries_here(int(sys.argv[2]), sys.argv[3])
    else:
        main()
