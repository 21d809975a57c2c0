"""Normalize."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..checks import colour, number
from .base import Augmentation, Stage

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalize(Augmentation):
    """(pixel / 255 - mean) / std for each channel. As torchvision's ``Normalize`` on [0, 1].

    Args:
        mean: three numbers.
        std: three numbers above 0.

    Example:
        >>> import fastaug
        >>> fastaug.Normalize(0.5, 0.25).mean
        (0.5, 0.5, 0.5)
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    stage: ClassVar[Stage] = Stage.NORMALIZE
    once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._set(mean=colour("Normalize mean", self.mean), std=colour("Normalize std", self.std))
        for value in self.std:
            number("Normalize std", value, 0, math.inf, above=True)
