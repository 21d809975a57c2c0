"""Batches of made-up pixels with plans for them, and what a device needs to carry them out.

For benchmarks/gpu.py and the tests. The device's time and the host's stand apart: a loader's host works while
the device does, so a batch costs the larger of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice

import numpy as np
import torch

import fastaug as fa
from fastaug.execute import Executor
from fastaug.machine.device import GpuDevice, Timing
from fastaug.ops.base import Augmentation
from fastaug.plan.batch_plan import BatchPlan
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

_PAUSES = (1 << 22, 1 << 25, 1 << 28)  # clock cycles: 2, 17, 140 ms or so


def augmentations(size: tuple[int, int], mixing: bool, masks: bool) -> list[Augmentation]:
    """A list that calls for one variant of the batch kernel."""
    side = max(size)
    out: list[Augmentation] = [fa.Resize(size)]
    if masks:
        out += [
            fa.GridMask((3, 3 + side), p=0.7),
            fa.HideAndSeek((0, max(1, side // 8))),
            fa.RandomErasing(value="random"),
            fa.Cutout(max(1, side // 3)),
        ]
    if mixing:
        out += [fa.OneOf([fa.MixUp(0.4, per="sample"), fa.CutMix(1.0, per="sample")], per="sample")]
    return out


def plan_of(augment: list[Augmentation], n: int, seed: int) -> BatchPlan:
    """A plan for n images that need no scaling."""
    planner = Planner(augment)
    height, width = (np.full(n, side, np.int64) for side in planner.size)
    return planner.plan(Ticket.of(np.arange(n), seed=seed, step=seed), height, width)


def crops_of(n: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Random pixels: uint8 ``[n, H, W, 3]``."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, *size, 3), np.uint8))


def pixels_on(device: GpuDevice, n: int, size: tuple[int, int]) -> list[torch.Tensor]:
    """Four batches of crops on the device: in turns, so that none is in a cache when it is read again."""
    with device.working():
        return [device.upload(crops_of(n, size, seed)) for seed in range(4)]


def timing_of(
    device: GpuDevice, executor: Executor, plan: BatchPlan, pixels: list[torch.Tensor], count: int
) -> Timing:
    """What a plan costs on pixels that are on the device already."""
    return timed(device, [partial(executor.run, plan, batch) for batch in pixels], count)


def timed(device: GpuDevice, calls: Sequence[Callable[[], object]], count: int) -> Timing:
    """What one of the calls costs: medians over five runs of ``count`` calls, the given ones in turn.

    Raises:
        RuntimeError: when the host is too slow, or stopped by a full queue, for the device's time to be told.
    """
    runs: list[Timing] = []
    with device.working():
        for call in calls:  # once: compiles, takes memory
            call()
        for pause in _PAUSES:
            runs = [device.timed(islice(cycle(calls), count), pause) for _ in range(5)]
            if all(run.queued for run in runs):
                device_s, host_s = np.median([run[:2] for run in runs], 0) / count
                return Timing(float(device_s), float(host_s), queued=True)
    raise RuntimeError(
        f"starting {count} calls took the host {runs[-1].host:.3f} s, longer than the device "
        "can be made to wait; time fewer"
    )


def copy_rate(device: GpuDevice, nbytes: int = 1 << 28) -> float:
    """Bytes a second that a device-to-device copy reads and writes together."""
    with device.working():
        a, b = (device.empty((nbytes,), torch.uint8) for _ in range(2))
    return 2 * nbytes / timed(device, [lambda: b.copy_(a)], 20).device
