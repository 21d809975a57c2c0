"""Carries out a plan on a batch of pixels: the compiled kernels, or Kornia and torch ops."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol, cast

import torch

from ..checks import one_of
from ..data.form import RGB, Raster
from ..machine.device import Device, GpuDevice
from ..machine.library import NOT_COMPILED, library
from ..plan.batch_plan import BatchPlan
from .native import NativeExecutor
from .output import Output
from .tensors import TensorExecutor


class Executor(Protocol):
    """What carries out plans, on threads of its own or on the device."""

    name: str
    takes_unscaled: bool  # crops that were not copied out of their images

    def run(self, plan: BatchPlan, crops: Any) -> torch.Tensor:
        """Images ``[B, 3, H, W]`` after policy, masks, mixing and Normalize.

        Args:
            plan: the batch.
            crops: its pixels, uint8 ``[B, H, W, 3]``, which may be overwritten; or ``Unscaled``, where no
                policy changes them.
        """

    def close(self) -> None:
        """Ends threads, if it has any."""


def choose_executor(name: str | None, device: Device, raster: Raster = RGB) -> str:
    """The executor's name: the given one, or for None the best that there is here.

    Raises:
        ValueError: when it cannot run on the device.
        ImportError: when what it needs is not installed.
    """
    one_of("executor", name, (None, "native", "cuda", "kornia"))
    if raster.wide:
        if name is not None:
            raise ValueError(
                f"executor={name!r} takes uint8 RGB, and these images are floats or have other channels: "
                "leave it out, and torch's operations do the work"
            )
        return "tensors"
    gpu = device.target.type == "cuda"
    if name is None:
        if gpu:
            name = "cuda" if find_spec("cupy") else "kornia"
        else:
            name = "native" if device.target.type == "cpu" and library() else "kornia"
    if name == "native" and device.target.type != "cpu":
        raise ValueError(
            f"executor='native' runs on the CPU, not on {device.target}; use "
            f"executor={'cuda' if gpu else 'kornia'!r} or device='cpu'"
        )
    if name == "native" and not library():
        raise ImportError(NOT_COMPILED)
    if name == "cuda" and not gpu:
        raise ValueError(
            f"executor='cuda' runs on an NVIDIA GPU, not on {device.target}; use "
            "executor='kornia' or device='cuda'"
        )
    if name == "cuda" and not find_spec("cupy"):
        raise ImportError(
            "executor='cuda' launches its kernels with CuPy, which is not installed; "
            "run `pip install 'fastaug[cuda12]'` (or `fastaug[cuda13]`), or use "
            "executor='kornia'"
        )
    if name == "kornia" and not find_spec("kornia"):
        native = "" if library() or device.target.type != "cpu" else f"; {NOT_COMPILED}"
        raise ImportError(
            "executor='kornia' needs Kornia, which is not installed; run `pip install kornia`" + native
        )
    return name


def maker(name: str, device: Device) -> Callable[[Output, int], Executor]:
    """What makes the executor of this name, given the format of images and a number of threads."""
    if name == "native":
        return NativeExecutor

    def make(output: Output, threads: int) -> Executor:
        if name == "cuda":
            from .cuda import CudaExecutor

            return CudaExecutor(output, cast(GpuDevice, device))
        if name == "tensors":
            return TensorExecutor(output, device.target)
        from .kornia import KorniaExecutor  # importing Kornia takes seconds

        return KorniaExecutor(output, device.target)

    return make


def make_executor(name: str | None, output: Output, device: Device, threads: int) -> Executor:
    """The executor that ``choose_executor`` chooses."""
    return maker(choose_executor(name, device), device)(output, threads)
