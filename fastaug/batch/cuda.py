"""Carries out plans on the GPU with the kernels of batch.cu and policy.cu."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..decode import Crops
from ..device import GpuDevice, Launch
from ..plan import OP_KINDS, BatchPlan
from .native import NativeExecutor
from .output import Output, noise_table
from .torch_resample import resample

THREADS, PIXELS = 256, 4  # as in batch.cu
POLICY_THREADS, POLICY_PIXELS, COUNTS_BYTES = 256, 8, 3 * 256 * 4 + 8  # as in policy.cu
_COUNTED = [OP_KINDS.index(name) for name in ("Contrast", "AutoContrast", "Equalize")]
_NAMES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16",
          torch.uint8: "uint8"}  # fmt: skip


def describe(
    output: Output, plan: BatchPlan, crops: int, rows: int, table: int, images: int
) -> Launch:
    """The launch that carries out a plan.

    Args:
        output: the batch's format.
        plan: the batch.
        crops: address of uint8 ``[B, H, W, 3]`` on the device, as all that follow.
        rows: address of the plan's rows.
        table: address of the noise table.
        images: address of the output.
    """
    height, width = plan.size
    rows_mask = (plan["grid_d"] > 0) | (plan["hide"] > 0) | (plan["n_holes"] > 0)
    kernel = (f"batch_{_NAMES[output.dtype]}_{'nhwc' if output.channels_last else 'nchw'}"
              f"{'_mix' if plan['mix'].any() else ''}{'_masks' if rows_mask.any() else ''}")
    blocks = -(-height * width // (THREADS * PIXELS))
    pointers = (np.uint64(address) for address in (crops, rows, table, images))
    return Launch(kernel, len(plan) * blocks, THREADS,
                  (*pointers, np.uint64(plan.seed), *output.scale, *output.bias,
                   np.int32(height), np.int32(width), np.int32(blocks)))  # fmt: skip


def describe_policies(
    plan: BatchPlan, images: Sequence[int], rows: int, ops: int, counts: int, sums: int
) -> tuple[list[Launch], int]:
    """The launches that carry out a plan's policies, and which of ``images`` holds the result.

    Args:
        plan: the batch.
        images: addresses of uint8 ``[B, H, W, 3]`` on the device: the crops, and one more to go back
            and forth between; two more where AugMix keeps the crops.
        rows: address of the plan's rows.
        ops: address of the plan's operations.
        counts: address of COUNTS_BYTES a sample.
        sums: address of float32 ``[B, H, W, 3]``, for AugMix.
    """
    height, width = plan.size
    n, most = plan.ops.shape
    size = height * width
    blocks = -(-size // (POLICY_THREADS * POLICY_PIXELS))
    i32, u64 = np.int32, np.uint64
    launches = []

    def launch(kernel: str, grid: int, *arguments: np.generic) -> None:
        launches.append(Launch(kernel, grid, POLICY_THREADS, arguments))

    used = np.arange(most) < plan["n_ops"][:, None]
    chains = int(plan["chains"].max(initial=0))
    kept = 1 if chains else 0  # AugMix's chains all begin with the crops
    if chains:
        launch("policy_weigh", n * blocks, u64(images[0]), u64(sums), u64(rows), i32(0), i32(1), i32(size),
               i32(blocks))
    result = 0
    for chain in range(max(1, chains)):
        mine = used & (plan.ops["chain"] == chain)
        place = np.where(mine, mine.cumsum(1) - 1, -1)
        result = 0
        for slot in range(int(mine.sum(1).max(initial=0))):
            kinds = plan.ops["kind"][place == slot]
            target = kept + (result == kept)  # the other of two
            if np.isin(kinds, _COUNTED).any():
                launch("policy_count", n, u64(images[result]), u64(rows), u64(ops), u64(counts), i32(most),
                       i32(chain), i32(slot), i32(size))
            launch("policy_apply", n * blocks, u64(images[result]), u64(images[target]), u64(rows), u64(ops),
                   u64(counts), i32(most), i32(chain), i32(slot), i32(height), i32(width), i32(blocks))
            result = target
        if chains:
            launch("policy_weigh", n * blocks, u64(images[result]), u64(sums), u64(rows), i32(1 + chain),
                   i32(0), i32(size), i32(blocks))
    if chains:
        result = kept
        launch("policy_end", n * blocks, u64(sums), u64(images[result]), i32(size), i32(blocks))
    return launches, result


class CudaExecutor:
    """One launch a batch, and two for each operation of a policy, on torch's current stream.

    Crops that were decoded on the CPU are scaled there, straight into page-locked memory, and go to
    the device as uint8: a quarter of float32's bytes.

    Args:
        output: the batches' format.
        device: where they are made.
        host: scales what was decoded on the CPU; None: torch's operations do.
    """

    name = "cuda"

    def __init__(self, output: Output, device: GpuDevice, host: NativeExecutor | None) -> None:
        self._output, self._device, self._host = output, device, host
        device.load()
        self._table = device.constant(torch.from_numpy(noise_table()))
        self._launched = device.mark()

    def close(self) -> None:
        """Ends the threads, and waits for the last launch: it may still read the noise table."""
        if self._host is not None:
            self._host.close()
        self._launched.synchronize()

    def resample(self, plan: BatchPlan, crops: Crops) -> torch.Tensor:
        """The crops at the output's size, flipped where the plan says: uint8 ``[B, H, W, 3]``."""
        out = self._device.staging((len(plan), *plan.size, 3))
        scale = resample if self._host is None else self._host.resample
        return self._device.upload(scale(plan, crops, out))

    def run(self, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
        """Policies; then masks, mixing and normalisation in one pass: ``[B, 3, H, W]`` of the output's
        dtype."""
        n, (height, width) = len(plan), plan.size
        last = self._output.channels_last
        images = self._device.empty((n, height, width, 3) if last else (n, 3, height, width),
                                    self._output.dtype)  # fmt: skip
        if n:  # CUDA refuses a launch of no blocks
            rows = self._device.upload(torch.from_numpy(np.ascontiguousarray(plan.rows).view(np.uint8)))
            crops = self._policies(plan, crops.contiguous(), rows)
            self._device.launch(describe(self._output, plan, crops.data_ptr(), rows.data_ptr(),
                                         self._table.data_ptr(), images.data_ptr()))
            self._launched = self._device.mark()
        return images.permute(0, 3, 1, 2) if last else images

    def _policies(self, plan: BatchPlan, crops: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if not plan["n_ops"].any():
            return crops
        device, n = self._device, len(plan)
        ops = device.upload(torch.from_numpy(np.ascontiguousarray(plan.ops).view(np.uint8)))
        counts = device.empty((n, COUNTS_BYTES), torch.uint8)
        mixing = bool(plan["chains"].any())
        images = [crops, *(device.empty(tuple(crops.shape), torch.uint8) for _ in range(2 if mixing else 1))]
        sums = device.empty(tuple(crops.shape) if mixing else (1,), torch.float32)
        launches, result = describe_policies(plan, [image.data_ptr() for image in images], rows.data_ptr(),
                                             ops.data_ptr(), counts.data_ptr(), sums.data_ptr())
        for launch in launches:
            device.launch(launch)
        return images[result]
