"""HideAndSeek."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import MAX_SIZE, colour, number, whole
from ..sampling.philox import Stream, integers
from .base import Augmentation, Draft, Fill, Sample, Stage, Step


@dataclass(frozen=True)
class HideAndSeek(Augmentation):
    """A grid of cells, each hidden or not (Singh and Lee 2017, https://arxiv.org/abs/1704.04232).

    A cell side is chosen from ``grid_sizes`` with equal chances, 0 leaves the sample alone; then
    each cell, counted from the top left corner, is hidden with probability ``hide_p``.

    Args:
        grid_sizes: sides of a cell in output pixels (the paper's choice is for 224-pixel images).
        hide_p: probability that a cell is hidden.
        fill: a number or (red, green, blue), in output units.

    Example:
        >>> import fastaug
        >>> fastaug.HideAndSeek((0, 4, 8)).hide_p
        0.5
    """

    grid_sizes: tuple[int, ...] = (0, 16, 32, 44, 56)
    hide_p: float = 0.5
    fill: Fill = 0.0

    stage: ClassVar[Stage] = Stage.MASK
    stream: ClassVar[int | None] = Stream.HIDE
    # hide: side of a cell in pixels; 0: no HideAndSeek. hide_p: probability that a cell is hidden.
    columns: ClassVar[np.dtype[Any]] = np.dtype([("hide", "i4"), ("hide_p", "f4"), ("hide_fill", "f4", 3)])
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"hide": (0, MAX_SIZE), "hide_p": (0, 1)}
    heading: ClassVar[str] = "masks"
    once: ClassVar[bool] = True

    def _check(self) -> None:
        if not isinstance(self.grid_sizes, Sequence) or not self.grid_sizes:
            raise TypeError(
                f"HideAndSeek grid_sizes must be a tuple of sides, "
                f"such as (0, 16, 32), not {self.grid_sizes!r}"
            )
        for side in self.grid_sizes:
            whole("HideAndSeek grid_sizes", side, 0, MAX_SIZE)
        number("HideAndSeek hide_p", self.hide_p, 0, 1)
        self._set(grid_sizes=tuple(self.grid_sizes), fill=colour("HideAndSeek fill", self.fill))

    def draw(self, draft: Draft, step: Step) -> None:
        sides = np.array(self.grid_sizes)
        chosen = sides[integers(draft.keys.uniforms(step.stream)[0], 0, len(sides))]
        draft.fill(hide=chosen, hide_p=self.hide_p, hide_fill=self.fill)

    @classmethod
    def describe(cls, sample: Sample) -> str:
        return f"hide {sample.row['hide']}px" if sample.row["hide"] else ""
