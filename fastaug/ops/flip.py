"""Flips: carried out where the image is scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..checks import number, one_of
from ..sampling.philox import EPOCH_BITS, U32, Stream
from .base import Augmentation, Draft, Sample, Step

FLIP_AXES = {"flip_y": 0, "flip": 1}  # y, x, by the column


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

    Args:
        p: probability.
        alternating: every second epoch the other way round than in the first, where chance decides, so that
            two epochs that follow one another show both (Jordan 2024, https://arxiv.org/abs/2404.00498).

    Example:
        >>> import fastaug
        >>> fastaug.RandomHorizontalFlip(0.3)
        RandomHorizontalFlip(p=0.3)
    """

    alternating: bool = field(default=False, kw_only=True)

    stream: ClassVar[int | None] = Stream.FLIP
    columns: ClassVar[np.dtype[Any]] = np.dtype([("flip", "i4")])
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"flip": (0, 1)}

    def __repr__(self) -> str:
        more = ", alternating=True" if self.alternating else ""
        return f"{type(self).__name__}(p={self.p}{more})"

    def _check(self) -> None:
        super()._check()
        one_of("RandomHorizontalFlip alternating", self.alternating, (False, True))
        if self.alternating and self.p != 0.5:
            raise ValueError(
                f"RandomHorizontalFlip alternating=True shows both sides as often; leave p={self.p} out"
            )

    def draw(self, draft: Draft, step: Step) -> None:
        if not self.alternating:
            super().draw(draft, step)
            return
        rank = np.asarray(draft.keys.epoch, U32) & U32(~((1 << EPOCH_BITS) - 1) & 0xFFFFFFFF)
        first = replace(draft.keys, epoch=rank)
        draft.fill(flip=(first.uniforms(step.stream)[0] < self.p) ^ (draft.epoch % 2 == 1))


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
