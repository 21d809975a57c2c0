"""Images that the kernels make, beside the CPU's kernels' and Kornia's, and what making them costs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, closing
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import pytest
import torch
from measure import copy_rate, pixels_on, timing_of

from fastaug.execute import Executor, make_executor
from fastaug.execute.output import Output
from fastaug.machine.device import Device, GpuDevice, PlainDevice
from fastaug.machine.library import library
from fastaug.plan.batch_plan import BatchPlan

Case = tuple[BatchPlan, torch.Tensor]  # a plan and the crops that it is carried out on
CPU = PlainDevice(torch.device("cpu"))
copied, pixels = cache(copy_rate), cache(pixels_on)  # once for a device


def here() -> set[str]:
    """What images can be compared with; skips the test where that is nothing."""
    found = {"native"} if library() is not None else set()
    found |= {"kornia"} if find_spec("kornia") else set()
    if not found:
        pytest.skip("nothing to compare with: no compiled kernels, no Kornia")
    return found


def images_of(device: Device, executor: Executor, case: Case) -> torch.Tensor:
    """A plan's images, made on a stream of the device's and brought back."""
    plan, crops = case
    with device.working():
        images = executor.run(plan, device.upload(crops.clone()))
        device.mark().synchronize()
        return images.cpu()


class Difference(NamedTuple):
    """What images differ by; None: that is not here to compare with.

    Attributes:
        values: how many values are not those of the CPU's kernels.
        sizes: of what height and width the images with such values are.
        distance: the greatest difference from Kornia's.
    """

    values: int | None
    sizes: list[tuple[int, int]]
    distance: float | None

    def __str__(self) -> str:
        words = []
        if self.values is not None:
            words.append(f"{self.values} values differ from the CPU's")
        if self.sizes:
            words.append("at " + ", ".join(f"{height}x{width}" for height, width in self.sizes))
        if self.distance is not None:
            words.append(f"{self.distance:.1e} from Kornia's")
        return "; ".join(words)


def difference(
    device: Device, output: Output, cases: Iterable[Case], name: str = "cuda", others: set[str] | None = None
) -> Difference:
    """What the executor called ``name`` makes of cases, beside the ``others``: all that are here."""
    others = here() if others is None else others
    values, distances, sizes = 0, [0.0], []
    with ExitStack() as stack:
        made = stack.enter_context(closing(make_executor(name, output, device, 1)))
        beside = {
            other: stack.enter_context(closing(make_executor(other, output, CPU, 1))) for other in others
        }
        for case in cases:
            got = images_of(device, made, case)
            want = {other: images_of(CPU, executor, case) for other, executor in beside.items()}
            if "native" in want and (unequal := int((got != want["native"]).sum())):
                values += unequal
                sizes.append(case[0].size)
            if "kornia" in want:
                distances.append(float((got.float() - want["kornia"].float()).abs().max()))
    return Difference(
        values if "native" in others else None, sizes, max(distances) if "kornia" in others else None
    )


def cost(device: GpuDevice, output: Output, plan: BatchPlan, launches: int) -> dict[str, float]:
    """Images a second, and the host's seconds for a batch, of carrying out a plan: for ``record``."""
    with closing(make_executor("cuda", output, device, 1)) as executor:
        timing = timing_of(device, executor, plan, pixels(device, len(plan), plan.size), launches)
    return {"rate": len(plan) / timing.device, "host": timing.host}
