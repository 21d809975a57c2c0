"""Carries out plans on the GPU with the kernels of batch.cu."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from ..decode import Crops
from ..device import GpuDevice, Launch
from ..plan import BatchPlan
from .output import Output, noise_table

THREADS, PIXELS = 256, 4  # as in batch.cu
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


class HostExecutor(Protocol):
    """What scales crops in host memory, into memory that it is given."""

    def resample(self, plan: BatchPlan, crops: Crops, out: torch.Tensor | None = None) -> torch.Tensor: ...

    def close(self) -> None: ...


class CudaExecutor:
    """One launch a batch, on torch's current stream.

    Crops that were decoded on the CPU are scaled there, straight into page-locked memory, and go to
    the device as uint8: a quarter of float32's bytes.

    Args:
        output: the batches' format.
        device: where they are made.
        host: scales what was decoded on the CPU.
    """

    name = "cuda"

    def __init__(self, output: Output, device: GpuDevice, host: HostExecutor) -> None:
        self._output, self._device, self._host = output, device, host
        device.load()
        self._table = device.constant(torch.from_numpy(noise_table()))

    def close(self) -> None:
        """Ends the threads."""
        self._host.close()

    def resample(self, plan: BatchPlan, crops: Crops) -> torch.Tensor:
        """The crops at the output's size, flipped where the plan says: uint8 ``[B, H, W, 3]``."""
        out = self._device.staging((len(plan), *plan.size, 3))
        return self._device.upload(self._host.resample(plan, crops, out))

    def run(self, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
        """Masks, mixing and normalisation in one pass: ``[B, 3, H, W]`` of the output's dtype."""
        n, (height, width) = len(plan), plan.size
        last = self._output.channels_last
        images = self._device.empty((n, height, width, 3) if last else (n, 3, height, width),
                                    self._output.dtype)  # fmt: skip
        if n:  # CUDA refuses a launch of no blocks
            rows = self._device.upload(torch.from_numpy(np.ascontiguousarray(plan.rows).view(np.uint8)))
            crops = crops.contiguous()
            self._device.launch(describe(self._output, plan, crops.data_ptr(), rows.data_ptr(),
                                         self._table.data_ptr(), images.data_ptr()))
        return images.permute(0, 3, 1, 2) if last else images
