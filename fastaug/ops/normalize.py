"""Normalize."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..checks import colour, number
from .base import Augmentation, Stage

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_LEAST = 1e-6  # so that values fit into a float32, and almost into a float16


@dataclass(frozen=True)
class Normalize(Augmentation):
    """(pixel / 255 - mean) / std for each channel. As torchvision's ``Normalize`` on [0, 1].

    Args:
        mean: three numbers, of pixels in [0, 1].
        std: three numbers, at least 1e-6.

    Example:
        >>> import fastaug
        >>> fastaug.Normalize(0.5, 0.25).mean
        (0.5, 0.5, 0.5)
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    stage: ClassVar[Stage] = Stage.NORMALIZE
    once: ClassVar[bool] = True

    def _check(self) -> None:
        self._set(mean=colour("Normalize mean", self.mean), std=colour("Normalize std", self.std))
        if max(self.mean) > 1:
            raise ValueError(
                f"Normalize mean {self.mean} is above 1, and pixels are divided by 255 first; is it "
                "meant for pixels up to 255? Divide mean and std by 255"
            )
        for value in self.std:
            number("Normalize std", value, _LEAST, math.inf)
