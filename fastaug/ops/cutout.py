"""Cutout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import MAX_SIZE, colour, number, whole
from ..sampling.philox import Stream, integers
from .base import MOST_ENTRIES, Draft, Fill, Step
from .holes import Holes, add_hole


@dataclass(frozen=True)
class Cutout(Holes):
    """Square holes (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552).

    Each hole's centre (cy, cx) is uniform over the image's pixels; it covers
    [cy - length // 2, cy + length // 2) in both axes, clipped at the border.

    Args:
        length: side in output pixels, at most the image's longer side.
        n_holes: holes a sample, 1 to 64.
        fill: a number or (red, green, blue), in output units.
        p: probability that a sample gets holes.

    Example:
        >>> import fastaug
        >>> fastaug.Cutout(16, n_holes=2)
        Cutout(length=16, n_holes=2, fill=(0.0, 0.0, 0.0), p=1.0)
    """

    length: int
    n_holes: int = 1
    fill: Fill = 0.0
    p: float = 1.0

    stream: ClassVar[int | None] = Stream.CUTOUT

    def _check(self) -> None:
        whole("Cutout length", self.length, 1, MAX_SIZE)
        whole("Cutout n_holes", self.n_holes, 1, MOST_ENTRIES)
        number("Cutout p", self.p, 0, 1)
        self._set(fill=colour("Cutout fill", self.fill))

    @property
    def most(self) -> int:
        return self.n_holes

    def check_size(self, size: tuple[int, int]) -> None:
        if self.length > max(size):
            raise ValueError(
                f"Cutout length {self.length} is bigger than the image, "
                f"{size[0]}x{size[1]} pixels; take at most {max(size)}"
            )

    def draw(self, draft: Draft, step: Step) -> None:
        u = draft.keys.uniforms(step.stream, 1 + 2 * self.n_holes)
        which = np.flatnonzero(u[0] < self.p)
        height, width = draft.size
        half = self.length // 2
        for k in range(self.n_holes):
            cy = integers(u[1 + 2 * k][which], 0, height)
            cx = integers(u[2 + 2 * k][which], 0, width)
            box = (
                np.maximum(cy - half, 0),
                np.maximum(cx - half, 0),
                np.minimum(cy + half, height),
                np.minimum(cx + half, width),
            )
            add_hole(draft, which, box, self.fill, False)  # type: ignore[arg-type]
