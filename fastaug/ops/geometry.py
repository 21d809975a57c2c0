"""The geometric part of a list, up to its last crop: which sizes it takes, what it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import MAX_SIZE
from ..sampling.philox import Keys, Stream
from .base import INTERPOLATIONS, Draft, Ints, Step
from .crop import TRIES, Crop, RandomShortestSize
from .flip import FLIP_AXES, Flip
from .pad import RandomCrop
from .sheet import Sheet
from .turns import is_turn, turn, turns_of

_LARGE = 1 << 13  # pixels a side, of an image that nothing is too large for


class Geometry:
    """Crops, scalings and paddings of a list, with the turns and flips between them.

    Args:
        steps: these, in the list's order, the last a crop.
        image_size: (height, width) that all images share, or None.

    Attributes:
        size: (height, width) of the output images.

    Raises:
        ValueError: when they do not bring images to one size, or cannot be one map; with the remedy.
    """

    def __init__(self, steps: Sequence[Step], image_size: tuple[int, int] | None) -> None:
        self._steps = list(steps)
        self._last_turn = max((k for k, step in enumerate(steps) if is_turn(step.op)), default=-1)
        scaling = [op for step in steps if isinstance(op := step.op, Crop) and hasattr(op, "interpolation")]
        turns = [step.op for step in steps if is_turn(step.op)]
        chosen: Any = scaling[-1:] or [t for t in turns if hasattr(t, "interpolation")][-1:]
        name = chosen[0].interpolation if chosen else "bilinear"
        self._mixed = name == "random"
        self._interpolation = INTERPOLATIONS.index("bilinear" if self._mixed else name)
        self._small = any(isinstance(step.op, Crop) and step.op.must_fit for step in steps)
        self._fixed = False
        self.size = self._output_size(image_size)

    @property
    def plain(self) -> bool:
        """Whether all that happens is a box that is scaled, by a filter that any decoder has."""
        upright = all(not is_turn(step.op) for step in self._steps)
        pads = any(hasattr(step.op, "padding") for step in self._steps)
        return (
            upright and not pads and INTERPOLATIONS[self._interpolation] in ("nearest", "bilinear", "bicubic")
        )

    def _output_size(self, image_size: tuple[int, int] | None) -> tuple[int, int]:
        sheet = Sheet(*(np.array([side], np.int64) for side in image_size or (_LARGE, _LARGE)))
        self._place(sheet, None)
        self._fixed = sheet.fixed is not None
        if sheet.fixed is not None:
            height, width = sheet.fixed
        elif image_size is None or self._varies():
            last = next((step.op for step in reversed(self._steps) if isinstance(step.op, Crop)), None)
            want = "augment" if last is None else repr(last)
            raise ValueError(
                f"the images have different sizes and {want} does not bring them to one, so they "
                "cannot form a batch; add fastaug.RandomResizedCrop(224) for training, or "
                "fastaug.Resize(256) and fastaug.CenterCrop(224) for evaluation"
            )
        else:
            height, width = (int(side[0]) for side in sheet.sides)
        if max(height, width) > MAX_SIZE:
            raise ValueError(
                f"the images are {height}x{width} pixels; output images may have at "
                f"most {MAX_SIZE} a side: add a crop or Resize"
            )
        return height, width

    def _varies(self) -> bool:
        """Whether images of one size may come out with several."""
        ops = [step.op for step in self._steps]
        sizes = any(isinstance(op, RandomShortestSize) and len(op.min_size) > 1 for op in ops)  # type: ignore[arg-type]
        one = np.ones(1, np.int64)
        return sizes or any(t.least(one, one) is not None for op in ops for t in turns_of(op))

    def _place(
        self, sheet: Sheet, keys: Keys | None, rows: npt.NDArray[np.void] | None = None
    ) -> npt.NDArray[np.bool_]:
        """Does to a sheet what the list does to images.

        Returns:
            bool ``[n]``, which of them are large enough; all where keys are given: it was looked at before.
        """
        fits = np.ones(len(sheet.sides[0]), bool)
        for k, step in enumerate(self._steps):
            op = step.op
            if isinstance(op, Flip):
                if k < self._last_turn and rows is not None:
                    (column,) = op.columns.names or ()
                    sheet.flip(FLIP_AXES[column], rows[column] == 1)
            elif isinstance(op, Crop):
                if keys is None and self._small:
                    fits &= op.fits(sheet)
                op.place(sheet, keys, step.stream)
            else:
                turn(step, sheet, keys)
        return fits

    def fits(self, height: Ints, width: Ints) -> npt.NDArray[np.bool_]:
        """Whether images of these sizes make output images; for files that change their size later."""
        if self._fixed and not self._small:
            return np.ones(len(height), bool)
        sheet = Sheet(height, width)
        fits = self._place(sheet, None)
        if not self._fixed:
            fits &= (sheet.sides[0] == self.size[0]) & (sheet.sides[1] == self.size[1])
        return fits

    def check(self, height: Ints, width: Ints, name: Callable[[int], str]) -> None:
        """Raises when an image is too small for a crop; name(k) is the k-th."""
        if not self._small or not len(height):
            return
        small = np.flatnonzero(~self.fits(height, width))
        if small.size:
            first = int(small[0])
            crop: Any = next(s.op for s in self._steps if isinstance(s.op, Crop) and s.op.must_fit)
            tall, wide = crop.size
            pad = "give pad_if_needed=True, " if isinstance(crop, RandomCrop) else ""
            raise ValueError(
                f"{type(crop).__name__} {tall}x{wide} is bigger than {len(small)} of the images, "
                f"{name(first)} ({height[first]}x{width[first]} pixels) the first; take a smaller crop, "
                f"{pad}or put fastaug.Resize before it"
            )

    def draw(self, draft: Draft, height: Ints, width: Ints) -> None:
        """Fills the rows' box to decode and where the output's pixels lie in it. Flips are drawn before.

        Args:
            draft: all rows of a plan.
            height: int64 ``[B]``, of the source images, in pixels.
            width: likewise.
        """
        sheet, rows = Sheet(height, width), draft.rows
        self._place(sheet, draft.keys, rows)
        interpolation = np.full(len(rows), self._interpolation)
        if self._mixed:
            bicubic = draft.keys.uniforms(Stream.CROP, 1, TRIES)[0] < 0.5
            interpolation[bicubic] = INTERPOLATIONS.index("bicubic")
        sheet.write(rows, interpolation)
