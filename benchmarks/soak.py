"""A long run with bad files among good ones: does memory stay flat, the pace the same, nothing leak?

Run: python benchmarks/soak.py [--batches 50000]. Small JPEGs, of which one in a hundred is bad, through the
loader with masks and mixing, batch after batch. Printed at the end: resident memory, pace and the numbers
of threads and open files, early and late; and whether they are within bounds:

- memory grows by at most 64 MiB after the first tenth,
- the last tenth is at most 5 % slower than the first, by CPU time in units of a yardstick: a fixed piece of
  work done every few batches, because other programs on the machine slow down both (CPU time and time on
  the clock are printed too),
- threads (of Python and all) and open files are as many at the end as at the first tenth's end, and as many
  after closing as before the loader was made, but for what DALI keeps for good.
"""

from __future__ import annotations

import argparse
import gc
import io
import logging
import os
import resource
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import fastaug as fa

FILES, BATCH, SIDE = 1000, 16, 32
GROWTH, SLOWER = 64 << 20, 0.05
AUGMENT = [
    fa.RandomResizedCrop(SIDE),
    fa.RandomHorizontalFlip(),
    fa.GridMask((8, 16), p=0.5),
    fa.OneOf([fa.MixUp(0.2), fa.CutMix(1.0)]),
    fa.Normalize(),
]


class Reading(NamedTuple):
    """What the process uses at one moment."""

    clock: float
    cpu: float
    yardstick: float
    memory: int
    tasks: int
    threads: int
    handles: int


class Yardstick:
    """A fixed piece of work.

    Attributes:
        spent: CPU seconds that it took so far.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._numbers, self._image = rng.random(40_000), rng.integers(0, 256, (96, 96, 3), np.uint8)
        self.spent = 0.0

    def use(self) -> None:
        """Does it once: some sorting, some encoding of a JPEG, some Python."""
        begin = time.thread_time()
        np.sort(self._numbers)
        Image.fromarray(self._image).save(io.BytesIO(), "JPEG")
        sum(k * k for k in range(10_000))
        self.spent += time.thread_time() - begin


def reading(yardstick: Yardstick) -> Reading:
    """Now."""
    gc.collect()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as file:
        memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    now = time.monotonic(), usage.ru_utime + usage.ru_stime - yardstick.spent, yardstick.spent
    handles = []
    for _ in range(10):  # images are open just now, but not always
        handles.append(len(os.listdir("/proc/self/fd")))
        time.sleep(0.005)
    return Reading(*now, memory, len(os.listdir("/proc/self/task")), len(threading.enumerate()), min(handles))


def images(folder: Path, count: int) -> list[tuple[str, int]]:
    """Small JPEGs; of every hundred one is bad, in four ways."""
    rng = np.random.default_rng(0)
    pairs = []
    for k in range(count):
        path = folder / f"{k:05}.jpg"
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        small.resize((48, 36), Image.Resampling.BICUBIC).save(path)
        if k % 100 == 50:
            data = path.read_bytes()
            path.write_bytes((b"", b"<html>", data[: len(data) // 2], data[:300])[k // 100 % 4])
        pairs.append((str(path), k % 10))
    return pairs


def soak(
    folder: Path, batches: int, on_error: str, yardstick: Yardstick
) -> tuple[list[Reading], Reading, int]:
    """Readings at the first batch and after each tenth, one after closing, and the number of bad files."""
    pairs = images(folder, FILES)
    tenths = []
    with fa.loader(
        pairs, BATCH, True, augment=AUGMENT, num_classes=10, on_error=on_error, max_bad=None, num_workers=2
    ) as loader:
        done = 0
        while done < batches:
            for _ in loader:
                done += 1
                if done % 20 == 0:
                    yardstick.use()
                if done == 1 or done % (batches // 10) == 0:
                    tenths.append(reading(yardstick))
                if done == batches:
                    break
        bad = len(loader.bad_files)
    time.sleep(0.5)
    return tenths, reading(yardstick), bad


def main() -> int:
    """Runs, prints, and returns 0 when all is within bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, default=50_000)
    parser.add_argument("--on-error", choices=("skip", "replace"), default="replace")
    parser.add_argument("--pace", action=argparse.BooleanOptionalAction, default=True, help="judge the pace")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    noise = os.open(os.devnull, os.O_WRONLY)  # DALI prints each bad file each time
    os.dup2(noise, 2)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        few = images(Path(scratch), BATCH)
        with fa.loader(few, 8, augment=AUGMENT, num_classes=10, num_workers=2) as warm:
            list(warm)  # loads what stays loaded
        yardstick = Yardstick()
        before = reading(yardstick)
        tenths, after, bad = soak(Path(scratch), args.batches, args.on_error, yardstick)
    cpu = [b.cpu - a.cpu for a, b in pairwise(tenths)]
    clock = [b.clock - a.clock for a, b in pairwise(tenths)]
    unit = [b.yardstick - a.yardstick for a, b in pairwise(tenths)]
    slower = cpu[-1] / unit[-1] / (cpu[0] / unit[0]) - 1
    rows = [("before", before), *((f"{k}/10", r) for k, r in enumerate(tenths)), ("closed", after)]
    for k, (name, r) in enumerate(rows, -2):
        pace = ""
        if 0 <= k < len(cpu):
            pace = f"  {cpu[k]:.1f} s CPU, {cpu[k] / unit[k]:.2f} x the yardstick's, {clock[k]:.1f} s"
        print(
            f"{name:6}  {r.memory / 2**20:6.1f} MiB  {r.tasks} threads, {r.threads} of Python  "
            f"{r.handles} open files{pace}"
        )
    first, last = tenths[1], tenths[-1]
    growth = last.memory - first.memory
    bounds = {
        f"{bad} bad files of {FILES}": bad == FILES // 100,
        f"memory grew by {growth / 2**20:.1f} MiB": growth <= GROWTH,
        f"the last tenth took {slower:+.1%} against the first": not args.pace or slower <= SLOWER,
        "threads stay": first.tasks == last.tasks and first.threads == last.threads,
        "open files stay": first.handles == last.handles,
        "threads go": after.tasks <= before.tasks and after.threads <= before.threads,
        "open files go": after.handles <= before.handles,
    }
    for what, good in bounds.items():
        print(f"{'ok ' if good else 'NOT'} {what}")
    return 0 if all(bounds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
