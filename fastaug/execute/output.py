"""What the images of a batch are to be: dtype, layout and the affine map of Normalize."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from ..data.form import RGB, Raster
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
        raster: of the pixels that it is made of.
        channels: how many are delivered: the raster's, or 1, the first of three that are equal.
        scale: float32 ``[C]``: an output value is pixel * scale + bias.
        bias: float32 ``[C]``.
        noise: float32 ``[4096]``, quantiles of normal noise in output units: of mean 0 and deviation 1; of
            pixels, those that ImageNet's mean and deviation make of these.
    """

    dtype: torch.dtype
    channels_last: bool
    normalize: Normalize | None
    raster: Raster = RGB
    channels: int = 3
    scale: npt.NDArray[np.float32] = field(init=False, repr=False)
    bias: npt.NDArray[np.float32] = field(init=False, repr=False)
    noise: npt.NDArray[np.float32] = field(init=False, repr=False)

    def delivered(self, images: torch.Tensor) -> torch.Tensor:
        """Of ``[B, C, H, W]`` the channels that are wanted."""
        if self.channels >= images.shape[1]:
            return images
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return images[:, : self.channels].contiguous(memory_format=layout)

    def __post_init__(self) -> None:
        count = self.raster.channels
        mean, std = np.zeros(count), np.ones(count)
        if self.normalize is not None:
            mean, std = self.normalize.of(count)
        unit = 1.0 if self.dtype == torch.uint8 else self.raster.white or 255.0
        object.__setattr__(self, "scale", (1 / (unit * std)).astype(np.float32))
        object.__setattr__(self, "bias", (-mean / std).astype(np.float32))
        noise = NOISE if self.dtype != torch.uint8 else (_MIDDLE + _SPREAD * NOISE).astype(np.float32)
        object.__setattr__(self, "noise", noise)
