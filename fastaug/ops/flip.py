"""Flips: carried out where the image is scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import number
from ..philox import Stream
from .base import Augmentation, Draft, Sample, Step


@dataclass(frozen=True)
class Flip(Augmentation):
    """Base of flips: with probability ``p``, one column is 1."""

    p: float = 0.5

    heading: ClassVar[str] = "flip"
    once: ClassVar[bool] = True

    def _check(self) -> None:
        number(f"{type(self).__name__} p", self.p, 0, 1)

    def draw(self, draft: Draft, step: Step) -> None:
        (column,) = self.columns.names or ()
        draft.fill(**{column: draft.keys.uniforms(step.stream)[0] < self.p})

    @classmethod
    def describe(cls, sample: Sample) -> str:
        named = [column for column in cls.columns.names or () if sample.row[column]]
        return cls.__name__.removeprefix("Random").removesuffix("Flip").lower() if named else ""


@dataclass(frozen=True)
class RandomHorizontalFlip(Flip):
    """Left and right exchanged with probability ``p``. As torchvision's.

    Example:
        >>> import fastaug
        >>> fastaug.RandomHorizontalFlip(0.3)
        RandomHorizontalFlip(p=0.3)
    """

    stream: ClassVar[int | None] = Stream.FLIP
    columns: ClassVar[np.dtype[Any]] = np.dtype([("flip", "i4")])
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"flip": (0, 1)}


@dataclass(frozen=True)
class RandomVerticalFlip(Flip):
    """Top and bottom exchanged with probability ``p``. As torchvision's.

    Example:
        >>> import fastaug
        >>> fastaug.RandomVerticalFlip(0.3)
        RandomVerticalFlip(p=0.3)
    """

    stream: ClassVar[int | None] = 0x80
    columns: ClassVar[np.dtype[Any]] = np.dtype([("flip_y", "i4")])
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"flip_y": (0, 1)}
