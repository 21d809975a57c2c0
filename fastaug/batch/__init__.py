"""Carries out a plan on a batch of crops: the compiled kernels, or Kornia and torch ops."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ..checks import one_of
from ..decode import Crops
from ..plan import BatchPlan
from .native import NativeExecutor, library
from .output import Output


class Executor(Protocol):
    """What carries out plans. Both stages spread over the threads or the device by themselves."""

    name: str

    def resample(self, plan: BatchPlan, crops: Crops) -> npt.NDArray[np.uint8]:
        """Crops scaled and flipped: uint8 ``[B, H, W, 3]``."""

    def run(self, plan: BatchPlan, crops: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Masked, mixed and normalised images ``[B, 3, H, W]``."""

    def close(self) -> None:
        """Ends threads, if it has any."""



def make_executor(name: str | None, output: Output, device: torch.device, threads: int) -> Executor:
    """The executor called ``name``: "native", "kornia", or None for the best that there is here."""
    one_of("executor", name, (None, "native", "kornia"))
    if name is None:
        name = "native" if device.type == "cpu" and library() is not None else "kornia"
    if name == "kornia":
        from .kornia import KorniaExecutor  # importing Kornia takes seconds

        return KorniaExecutor(output, device)
    if device.type != "cpu":
        raise ValueError(f"executor='native' runs on the CPU, not on {device}; use "
                         "executor='kornia' or device='cpu'")
    return NativeExecutor(output, threads)
