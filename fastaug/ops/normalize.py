"""Normalize."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import channel_values, number
from .base import Augmentation, Stage

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_LEAST = 1e-6  # so that values fit into a float32, and almost into a float16


@dataclass(frozen=True)
class Normalize(Augmentation):
    """(pixel / 255 - mean) / std for each channel. As torchvision's ``Normalize`` on [0, 1].

    Args:
        mean: three numbers, or one for each channel, of pixels in [0, 1].
        std: likewise, at least 1e-6.

    Example:
        >>> import fastaug
        >>> fastaug.Normalize(0.5, 0.25).mean
        (0.5, 0.5, 0.5)
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    stage: ClassVar[Stage] = Stage.NORMALIZE
    once: ClassVar[bool] = True

    def _check(self) -> None:
        self._set(
            mean=channel_values("Normalize mean", self.mean), std=channel_values("Normalize std", self.std)
        )
        if max(self.mean) > 1:
            raise ValueError(
                f"Normalize mean {self.mean} is above 1, and pixels are divided by 255 first; is it "
                "meant for pixels up to 255? Divide mean and std by 255"
            )
        for value in self.std:
            number("Normalize std", value, _LEAST, math.inf)

    def of(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each channel: float64 ``[channels]``.

        Raises:
            ValueError: where they are for another number of channels.
        """
        for values in (self.mean, self.std):
            if len(values) not in (1, channels) and len(set(values)) > 1:
                raise ValueError(
                    f"Normalize is for {len(values)} channels, and the images have {channels}; give one "
                    "number for each"
                )
        mean, std = ((v * channels)[:channels] if len(set(v)) == 1 else v for v in (self.mean, self.std))
        return np.array(mean), np.array(std)
