"""One operation with a probability: what torchvision has as classes of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import number, whole
from ..sampling.philox import integers
from .base import Draft, Ints, Step
from .policy import PolicyOp, Writer


@dataclass(frozen=True)
class PointOp(PolicyOp):
    """Base: with probability ``p``, one operation."""

    kind: ClassVar[str] = ""  # of OP_KINDS, where that is all

    keeps_places: ClassVar[bool] = True

    def _check(self) -> None:
        super()._check()
        number(f"{type(self).__name__} p", self.p, 0, 1)  # type: ignore[attr-defined]

    def draw(self, draft: Draft, step: Step) -> None:
        which = np.flatnonzero(draft.keys.uniforms(step.stream)[0] < self.p)  # type: ignore[attr-defined]
        self.add(Writer(self, draft), which)

    def add(self, out: Writer, which: Ints) -> None:
        """Adds it to these rows."""
        out.put(self.kind, which)


@dataclass(frozen=True)
class RandomGrayscale(PointOp):
    """The image in gray with probability ``p``. As torchvision's ``RandomGrayscale``.

    Example:
        >>> import fastaug
        >>> fastaug.RandomGrayscale(0.2).p
        0.2
    """

    p: float = 0.1

    def add(self, out: Writer, which: Ints) -> None:
        out.factor("Color", which, np.zeros(len(which)))


@dataclass(frozen=True)
class RandomSolarize(PointOp):
    """Pixels at or above ``threshold`` inverted, with probability ``p``. As torchvision's.

    Args:
        threshold: 0 to 255.
        p: probability.

    Example:
        >>> import fastaug
        >>> fastaug.RandomSolarize(128, p=0.2).threshold
        128
    """

    threshold: float
    p: float = 0.5

    def _check(self) -> None:
        super()._check()
        number("RandomSolarize threshold", self.threshold, 0, 255)

    def add(self, out: Writer, which: Ints) -> None:
        out.put("Solarize", which, value=self.threshold)


@dataclass(frozen=True)
class RandomPosterize(PointOp):
    """Fewer bits for each colour, with probability ``p``. As torchvision's.

    Args:
        bits: that are kept, 0 to 8.
        p: probability.

    Example:
        >>> import fastaug
        >>> fastaug.RandomPosterize(4).p
        0.5
    """

    bits: int
    p: float = 0.5

    def _check(self) -> None:
        super()._check()
        whole("RandomPosterize bits", self.bits, 0, 8)

    def add(self, out: Writer, which: Ints) -> None:
        out.add("Posterize", which, np.full(len(which), float(self.bits)))


@dataclass(frozen=True)
class RandomInvert(PointOp):
    """Colours inverted, with probability ``p``. As torchvision's.

    Example:
        >>> import fastaug
        >>> fastaug.RandomInvert().p
        0.5
    """

    p: float = 0.5

    kind: ClassVar[str] = "Invert"


@dataclass(frozen=True)
class RandomAutocontrast(PointOp):
    """Each colour stretched over all values, with probability ``p``. As torchvision's.

    Example:
        >>> import fastaug
        >>> fastaug.RandomAutocontrast().p
        0.5
    """

    p: float = 0.5

    kind: ClassVar[str] = "AutoContrast"


@dataclass(frozen=True)
class RandomEqualize(PointOp):
    """Each colour's histogram made flat, with probability ``p``. As torchvision's.

    Example:
        >>> import fastaug
        >>> fastaug.RandomEqualize().p
        0.5
    """

    p: float = 0.5

    kind: ClassVar[str] = "Equalize"


@dataclass(frozen=True)
class RandomAdjustSharpness(PointOp):
    """Sharper or smoother, with probability ``p``. As torchvision's.

    Args:
        sharpness_factor: 0 for a smooth image, 1 for the image itself, 2 for a sharper one; at least 0.
        p: probability.

    Example:
        >>> import fastaug
        >>> fastaug.RandomAdjustSharpness(2).p
        0.5
    """

    sharpness_factor: float
    p: float = 0.5

    def _check(self) -> None:
        super()._check()
        number("RandomAdjustSharpness sharpness_factor", self.sharpness_factor, 0, math.inf)

    def add(self, out: Writer, which: Ints) -> None:
        out.factor("Sharpness", which, np.full(len(which), float(self.sharpness_factor)))


@dataclass(frozen=True)
class RandomChannelPermutation(PolicyOp):
    """The colours exchanged, all six orders equally often. As torchvision's.

    Args:
        p: probability.

    Example:
        >>> import fastaug
        >>> fastaug.RandomChannelPermutation().p
        1.0
    """

    p: float = 1.0

    keeps_places: ClassVar[bool] = True

    def _check(self) -> None:
        super()._check()
        number("RandomChannelPermutation p", self.p, 0, 1)

    def draw(self, draft: Draft, step: Step) -> None:
        u = draft.keys.uniforms(step.stream, 2)
        which = np.flatnonzero(u[0] < self.p)
        Writer(self, draft).put("Permute", which, value=integers(u[1][which], 0, 6))
