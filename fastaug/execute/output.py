"""What the images of a batch are to be: dtype, layout and the affine map of Normalize."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from ..ops.holes import NOISE_TABLE
from ..ops.normalize import Normalize


def _noise() -> npt.NDArray[np.float32]:
    """4096 quantiles of the standard normal distribution, scaled to variance 1: float32.

    Kernels index it with Philox bits. A table instead of logarithms, because log and cos differ
    between devices by a bit or so.
    """
    middle = (torch.arange(NOISE_TABLE, dtype=torch.float64) + 0.5) / NOISE_TABLE
    quantiles = torch.special.ndtri(middle)
    return (quantiles / quantiles.std(correction=0)).numpy().astype(np.float32)


NOISE = _noise()
_MIDDLE, _SPREAD = 255 * 0.449, 255 * 0.226  # of ImageNet's pixels, all channels together


@dataclass(frozen=True, eq=False)
class Output:
    """The format of a batch of images.

    Attributes:
        dtype: torch.float32, float16, bfloat16 or uint8.
        channels_last: memory layout NHWC instead of NCHW; the shape is ``[B, 3, H, W]`` in both.
        normalize: mean and deviation, or None: values in [0, 1] (uint8: raw pixels).
        scale: float32 ``[3]``: an output value is pixel * scale + bias.
        bias: float32 ``[3]``.
        noise: float32 ``[4096]``, quantiles of normal noise in output units: of mean 0 and deviation 1; of
            pixels, those that ImageNet's mean and deviation make of these.
    """

    dtype: torch.dtype
    channels_last: bool
    normalize: Normalize | None
    scale: npt.NDArray[np.float32] = field(init=False, repr=False)
    bias: npt.NDArray[np.float32] = field(init=False, repr=False)
    noise: npt.NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mean, std = np.zeros(3), np.ones(3)
        if self.normalize is not None:
            mean, std = np.array(self.normalize.mean), np.array(self.normalize.std)
        unit = 1.0 if self.dtype == torch.uint8 else 255.0
        object.__setattr__(self, "scale", (1 / (unit * std)).astype(np.float32))
        object.__setattr__(self, "bias", (-mean / std).astype(np.float32))
        noise = NOISE if self.dtype != torch.uint8 else (_MIDDLE + _SPREAD * NOISE).astype(np.float32)
        object.__setattr__(self, "noise", noise)
