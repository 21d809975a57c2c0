"""The batch kernel beside torchvision v2 and Kornia, all in one process, interleaved.

Run: python benchmarks/kernel.py. 64 images of 224 x 224, uint8 in, float32 out: normalise, MixUp or
CutMix, RandomErasing. Prints medians, ratios and bandwidth as a share of a copy's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import kornia.augmentation as K
import numpy as np
import torch
from torchvision.transforms import v2

import fastaug
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import Output
from fastaug.plan.batch_plan import BatchPlan
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

N, SIZE, THREADS, ROUNDS = 64, 224, 2, 15


def plan_of(augment: list[fastaug.Augmentation]) -> BatchPlan:
    """A plan for N crops that have their size already."""
    side = np.full(N, SIZE, np.int64)
    return Planner([fastaug.Resize((SIZE, SIZE)), *augment]).plan(Ticket.of(np.arange(N)), side, side)


def interleaved(jobs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each job, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(ROUNDS + 2):
        for name, job in jobs.items():
            begin = time.perf_counter()
            job()
            if turn >= 2:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(t) for name, t in times.items()}


def main() -> None:
    """Measures and prints the table."""
    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (N, SIZE, SIZE, 3), np.uint8)
    pixels = torch.from_numpy(crops)
    nchw = pixels.permute(0, 3, 1, 2).contiguous()
    labels = torch.arange(N)
    executor = NativeExecutor(Output(torch.float32, False, fastaug.Normalize()), THREADS)
    mean, std = fastaug.IMAGENET_MEAN, fastaug.IMAGENET_STD
    source = np.zeros(N * SIZE * SIZE * 18, np.uint8)
    target, halves = np.empty_like(source), np.array_split(np.arange(len(source)), THREADS)
    cuts = [slice(int(h[0]), int(h[-1]) + 1) for h in halves]
    pool = ThreadPoolExecutor(THREADS)

    def copy() -> None:
        list(pool.map(lambda s: np.copyto(target[s], source[s]), cuts))

    for mixing in ("MixUp", "CutMix"):
        plan = plan_of([fastaug.RandomErasing(), getattr(fastaug, mixing)(1.0)])
        batchwise = getattr(v2, mixing)(num_classes=N, alpha=1.0)
        normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
        erase = v2.RandomErasing()
        theirs = K.AugmentationSequential(
            K.Normalize(torch.tensor(mean), torch.tensor(std)), K.RandomErasing(p=0.5)
        )
        mixes = getattr(K, f"Random{mixing}V2")(p=1.0, data_keys=["input", "class"])

        def tv(
            mix: v2.Transform = batchwise, norm: v2.Compose = normalise, erase: v2.RandomErasing = erase
        ) -> object:
            images = norm(nchw)
            return mix(torch.stack([erase(image) for image in images]), labels)

        def ko(pipe: K.AugmentationSequential = theirs, mix: K.MixAugmentationBaseV2 = mixes) -> object:
            return mix(pipe(nchw.float() / 255), labels)

        t = interleaved(
            {
                "fastaug": lambda p=plan: executor.run(p, pixels),
                "torchvision v2": tv,
                "kornia": ko,
                "copy": copy,
            }
        )
        moved = N * SIZE * SIZE * (12 + (6 if mixing == "MixUp" else 3))
        rate, copied = moved / t["fastaug"], 2 * len(source) / t["copy"]
        print(f"normalise + RandomErasing + {mixing}, {N} x {SIZE}², float32, {THREADS} threads")
        for name in ("fastaug", "torchvision v2", "kornia"):
            print(f"  {name:15} {t[name] * 1e3:8.2f} ms   {t[name] / t['fastaug']:6.1f} x")
        print(f"  bytes moved {rate / 1e9:.1f} GB/s, {rate / copied:.0%} of a copy's {copied / 1e9:.1f} GB/s")


if __name__ == "__main__":
    main()
