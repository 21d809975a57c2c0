"""Carries out plans on the GPU with the kernels of batch.cu and policy.cu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..machine.device import GpuDevice, Launch
from ..ops.mixing import MIX_CUT
from ..ops.policy import OP_KINDS
from ..plan.batch_plan import BatchPlan
from .output import Output

THREADS, PIXELS = 256, 4  # as in batch.cu and pixels4.h
POLICY_THREADS, POLICY_GROUPS = 256, 4  # as in policy.cu, as the next two
TASK = np.dtype([("row", "i4"), ("image", "i4"), ("op", "i4"), ("source", "i4"), ("target", "i4")])
TALLY_BYTES = 3 * 256 * 4 + 8 + 4 + 3 * 256 + 4  # the last 4 for alignment
_COUNTED = np.isin(OP_KINDS, ("Contrast", "AutoContrast", "Equalize"))
_LOOKS_AROUND = OP_KINDS.index("Sharpness")  # from this one on, a pixel depends on others
_NAMES = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.uint8: "uint8",
}


def describe(output: Output, plan: BatchPlan, crops: int, tables: int, noise: int, images: int) -> Launch:
    """The launch that carries out a plan.

    Args:
        output: the batch's format.
        plan: the batch.
        crops: address of uint8 ``[B, H, W, 3]`` on the device, as all that follow.
        tables: address of ``tables_of`` the plan.
        noise: address of the noise table.
        images: address of the output.
    """
    height, width = plan.size
    masked = (plan["grid_d"] > 0) | (plan["hide"] > 0) | (plan["n_holes"] > 0)
    does = "_shapes"
    if plan["mix"].max(initial=0) <= MIX_CUT:
        does = "_mix" * int(plan["mix"].any()) + "_masks" * int(masked.any())
    kernel = f"batch_{_NAMES[output.dtype]}_{'nhwc' if output.channels_last else 'nchw'}{does}"
    holes = tables + plan.rows.nbytes
    addresses = crops, tables, holes, holes + plan.holes.nbytes, noise, images
    blocks = -(-height * width // (THREADS * PIXELS))
    pointers = (np.uint64(address) for address in addresses)
    return Launch(
        kernel,
        len(plan) * blocks,
        THREADS,
        (
            *pointers,
            np.uint64(plan.seed),
            *output.scale,
            *output.bias,
            np.int32(height),
            np.int32(width),
            np.int32(blocks),
        ),
    )


def tables_of(plan: BatchPlan) -> torch.Tensor:
    """A plan's rows, then its holes and its masks: uint8."""
    return torch.cat([_bytes(table) for table in (plan.rows, plan.holes, plan.masks)])


@dataclass(frozen=True)
class Steps:
    """A batch's policies, cut into steps, in each of which an image goes through one operation at most.

    AugMix's chains are images of their own, side by side. An image moves from the crops (buffer 0) through
    buffers 1 and 2 in turns, so that its last operation writes to buffer 1: an image with fewer operations
    than others waits there, and is not copied along.

    Attributes:
        tasks: TASK ``[T]``, step by step; those whose images are counted come first in each.
        parts: for each step: where its tasks begin, where its counted ones end, where it ends.
        chains: 1, or AugMix's.
        buffers: how many there are besides the crops, ``[B, chains, H, W, 3]``: none where nothing looks
            around and AugMix, which needs the image itself at its end, is not there: then all happens in the
            crops themselves.
    """

    tasks: npt.NDArray[np.void]
    parts: list[tuple[int, int, int]]
    chains: int
    buffers: int


def policy_steps(plan: BatchPlan) -> Steps:
    """Cuts a plan's policies into steps."""
    n = len(plan)
    chains = max(1, int(plan["chains"].max(initial=0)))
    op = np.arange(len(plan.ops))
    image = np.repeat(np.arange(n), plan["n_ops"]) * chains + plan.ops["chain"]
    if chains > 1:  # a chain's operations side by side
        order = np.argsort(image, kind="stable")
        op, image = op[order], image[order]
    kind = plan.ops["kind"][op]
    depth = np.bincount(image, minlength=n * chains)
    step = np.arange(len(image)) - (np.cumsum(depth) - depth)[image]
    buffers = min(2, int(depth.max(initial=0)))
    if not plan["chains"].any() and kind.max(initial=0) < _LOOKS_AROUND:
        buffers = 0
    idle = np.flatnonzero(depth == 0) if buffers else image[:0]  # copied in the first step

    tasks = np.zeros(len(op) + len(idle), TASK)
    working, copied = tasks[: len(op)], tasks[len(op) :]
    working["op"], working["image"], copied["op"], copied["image"] = op, image, -1, idle
    tasks["row"] = tasks["image"] // chains
    if buffers:
        working["target"] = 2 - (depth[image] - step) % 2
        working["source"] = np.where(step, 3 - working["target"], 0)
        copied["target"] = 1
    rank = np.ones(len(tasks), np.int64)
    rank[: len(op)] = 2 * step + ~_COUNTED[kind]
    ends = [0, *np.bincount(rank, minlength=2 * int(depth.max(initial=0))).cumsum().tolist()]
    parts = list(zip(ends[:-1:2], ends[1::2], ends[2::2], strict=True))
    return Steps(tasks[np.argsort(rank, kind="stable")], parts, chains, buffers)


def describe_policies(
    plan: BatchPlan, steps: Steps, images: Sequence[int], rows: int, ops: int, tasks: int, tallies: int
) -> tuple[list[Launch], int]:
    """The launches that carry out a plan's policies, and which of ``images`` holds the result.

    Args:
        plan: the batch.
        steps: of the plan.
        images: addresses on the device: the crops, uint8 ``[B, H, W, 3]``, and ``steps.buffers`` more.
        rows: address of the plan's rows.
        ops: address of the plan's operations.
        tasks: address of the steps' tasks.
        tallies: address of TALLY_BYTES zeros for each image, chains included, where any is counted.
    """
    height, width = plan.size
    size = height * width
    blocks = -(-size // (POLICY_THREADS * POLICY_GROUPS * PIXELS))
    i32, u64 = np.int32, np.uint64
    buffers = [u64(images[min(k, steps.buffers)]) for k in range(3)]
    apply = "policy_apply_slanted" if plan.ops["tilt"].any() else "policy_apply"
    launches = []

    def launch(kernel: str, images: int, *arguments: np.generic) -> None:
        launches.append(Launch(kernel, images * blocks, POLICY_THREADS, (*arguments, i32(blocks))))

    for begin, counted, end in steps.parts:
        these = *buffers, u64(tasks + begin * TASK.itemsize), u64(ops), u64(tallies)
        if counted > begin:
            launch("policy_count", counted - begin, *these, i32(size))
        launch(apply, end - begin, *these, i32(height), i32(width))
    if not plan["chains"].any():
        return launches, min(1, steps.buffers)
    launch("policy_mix", len(plan), *buffers[:2], u64(rows), i32(steps.chains), i32(size))
    return launches, 0


class CudaExecutor:
    """One launch a batch, and one or two for each step of a policy, on torch's current stream.

    Args:
        output: the batches' format.
        device: where they are made.
    """

    name = "cuda"
    takes_unscaled = False

    def __init__(self, output: Output, device: GpuDevice) -> None:
        self._output, self._device = output, device
        device.load()
        self._noise = device.constant(torch.from_numpy(output.noise))
        self._launched = device.mark()

    def close(self) -> None:
        """Waits for the last launch: it may still read the noise table."""
        self._launched.synchronize()

    def run(self, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
        """Policies; then masks, mixing and normalisation in one pass: ``[B, 3, H, W]`` of the output's
        dtype."""
        n, (height, width) = len(plan), plan.size
        last = self._output.channels_last
        images = self._device.empty(
            (n, height, width, 3) if last else (n, 3, height, width), self._output.dtype
        )
        if n:  # CUDA refuses a launch of no blocks
            tables = self._device.upload(tables_of(plan))
            crops = self._policies(plan, crops.contiguous(), tables.data_ptr())
            addresses = (t.data_ptr() for t in (crops, tables, self._noise, images))
            self._device.launch(describe(self._output, plan, *addresses))
            self._launched = self._device.mark()
        return images.permute(0, 3, 1, 2) if last else images

    def _policies(self, plan: BatchPlan, crops: torch.Tensor, rows: int) -> torch.Tensor:
        if not plan["n_ops"].any():
            return crops
        device, steps = self._device, policy_steps(plan)
        lists = device.upload(torch.cat([_bytes(plan.ops), _bytes(steps.tasks)]))
        count = len(plan) * steps.chains
        images = [
            crops,
            *(device.empty((count, *crops.shape[1:]), torch.uint8) for _ in range(steps.buffers)),
        ]
        tallies = device.empty((count, TALLY_BYTES), torch.uint8)
        if any(counted > begin for begin, counted, _ in steps.parts):
            tallies.zero_()
        launches, result = describe_policies(
            plan,
            steps,
            [image.data_ptr() for image in images],
            rows,
            lists.data_ptr(),
            lists.data_ptr() + plan.ops.nbytes,
            tallies.data_ptr(),
        )
        for launch in launches:
            device.launch(launch)
        return images[result]


def _bytes(array: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
