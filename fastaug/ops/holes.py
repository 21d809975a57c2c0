"""Rectangles of the output image that are filled with a colour or noise: a side table of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import MOST_ENTRIES, Augmentation, Draft, Ints, Sample, Stage

NOISE_TABLE = 4096  # values of noise; the kernels take that many

# [y0, y1) x [x0, x1). The fill is in output units; noise 1: keyed normal noise in its place.
HOLE = np.dtype(
    [("y0", "i4"), ("x0", "i4"), ("y1", "i4"), ("x1", "i4"), ("fill", "f4", 3), ("noise", "i4")],
    align=True,
)


@dataclass(frozen=True)
class Holes(Augmentation):
    """Base of what adds holes. Where two overlap, the later wins."""

    stage: ClassVar[Stage] = Stage.MASK
    columns: ClassVar[np.dtype[Any]] = np.dtype([("first_hole", "i4"), ("n_holes", "i4")])
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"n_holes": (0, MOST_ENTRIES)}
    table: ClassVar[str] = "holes"
    heading: ClassVar[str] = "masks"

    @classmethod
    def describe(cls, sample: Sample) -> str:
        holes = ((h["y0"], h["x0"], h["y1"] - h["y0"], h["x1"] - h["x0"]) for h in sample.holes)
        return "; ".join(f"hole {y},{x} {height}x{width}" for y, x, height, width in holes)


def add_hole(draft: Draft, which: Ints, box: Sequence[Ints], fill: Sequence[float], noise: bool) -> None:
    """Adds the hole (y0, x0, y1, x1), arrays over ``which``, to these rows of a draft."""
    y0, x0, y1, x1 = box
    draft.add("holes", which, y0=y0, x0=x0, y1=y1, x1=x1, fill=fill, noise=noise)
