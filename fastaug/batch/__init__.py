"""Carries out a plan on a batch of crops: the compiled kernels, or Kornia and torch ops."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol, cast

import torch

from ..checks import one_of
from ..decode import Crops
from ..device import Device, GpuDevice
from ..plan import BatchPlan
from .native import NOT_COMPILED, NativeExecutor, library
from .output import Output


class Executor(Protocol):
    """What carries out plans. Both stages spread over the threads or the device by themselves."""

    name: str

    def resample(self, plan: BatchPlan, crops: Crops) -> torch.Tensor:
        """Crops scaled and flipped: uint8 ``[B, H, W, 3]``."""

    def run(self, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
        """Images ``[B, 3, H, W]`` after policy, masks, mixing and Normalize; crops may be overwritten."""

    def close(self) -> None:
        """Ends threads, if it has any."""


def make_executor(name: str | None, output: Output, device: Device, threads: int) -> Executor:
    """The executor called ``name``: "native", "cuda", "kornia", or None for the best that there is here."""
    one_of("executor", name, (None, "native", "cuda", "kornia"))
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
    if name == "cuda" and not gpu:
        raise ValueError(
            f"executor='cuda' runs on an NVIDIA GPU, not on {device.target}; use "
            "executor='kornia' or device='cuda'"
        )
    if name == "native":
        return NativeExecutor(output, threads)
    if name == "cuda":
        if not find_spec("cupy"):
            raise ImportError(
                "executor='cuda' launches its kernels with CuPy, which is not installed; "
                "run `pip install 'fastaug[cuda12]'` (or `fastaug[cuda13]`), or use "
                "executor='kornia'"
            )
        from .cuda import CudaExecutor

        host = NativeExecutor(output, threads) if library() else None
        return CudaExecutor(output, cast(GpuDevice, device), host)
    return _kornia(output, device.target)


def _kornia(output: Output, device: torch.device) -> Any:
    if not find_spec("kornia"):
        native = "" if library() or device.type != "cpu" else f"; {NOT_COMPILED}"
        raise ImportError(
            "executor='kornia' needs Kornia, which is not installed; run `pip install kornia`" + native
        )
    from .kornia import KorniaExecutor  # importing Kornia takes seconds

    return KorniaExecutor(output, device)
