"""What the images of a batch are to be: dtype, layout and the affine map of Normalize."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
import torch

from ..ops.holes import NOISE_TABLE
from ..ops.normalize import Normalize


@cache
def noise_table() -> npt.NDArray[np.float32]:
    """4096 quantiles of the standard normal distribution, scaled to variance 1: float32.

    Kernels index it with Philox bits. A table instead of logarithms, because log and cos differ
    between devices by a bit or so.
    """
    middle = (torch.arange(NOISE_TABLE, dtype=torch.float64) + 0.5) / NOISE_TABLE
    quantiles = torch.special.ndtri(middle)
    return (quantiles / quantiles.std(correction=0)).numpy().astype(np.float32)


@dataclass(frozen=True, eq=False)
class Output:
    """The format of a batch of images.

    Attributes:
        dtype: torch.float32, float16, bfloat16 or uint8.
        channels_last: memory layout NHWC instead of NCHW; the shape is ``[B, 3, H, W]`` in both.
        normalize: mean and deviation, or None: values in [0, 1] (uint8: raw pixels).
    """

    dtype: torch.dtype
    channels_last: bool
    normalize: Normalize | None

    @cached_property
    def _mean_std(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        if self.normalize is None:
            return np.zeros(3), np.ones(3)
        return np.array(self.normalize.mean), np.array(self.normalize.std)

    @cached_property
    def scale(self) -> npt.NDArray[np.float32]:
        """float32 ``[3]``: an output value is pixel * scale + bias."""
        unit = 1.0 if self.dtype == torch.uint8 else 255.0
        return (1 / (unit * self._mean_std[1])).astype(np.float32)

    @cached_property
    def bias(self) -> npt.NDArray[np.float32]:
        """float32 ``[3]``."""
        return (-self._mean_std[0] / self._mean_std[1]).astype(np.float32)
