"""What a geometry makes of images, step by step: no pixels, but where each of them comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .base import INTERPOLATIONS, Floats, Ints
from .maps import mirrored, moved

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")  # by their numbers in a plan
REACH = np.array([1, 1, 2, 3, 1, 1])  # of each filter to either side, in steps
_FAR = 1 << 24  # pixels to which a frame's edges are clipped: more than a plan's largest image has
_LEAST = 1e-4  # the smallest divisor of a perspective that is followed, where the largest is 1

Side = tuple[Ints, Ints]


class Sheet:
    """Images of any sizes, each as its geometry shows it so far. Axes are y, then x.

    Upright, pixel k of an axis shows the image from base + (origin + k) * step on. After a turn there is a
    matrix instead.

    Args:
        height: int64 ``[n]``, of the images, in pixels.
        width: likewise.

    Attributes:
        sides: int64 ``[n]`` each, of what is shown.
        fixed: (height, width), where it is the same for all images, whatever their sizes.
        turned: whether there is a matrix.
    """

    def __init__(self, height: Ints, width: Ints) -> None:
        n = len(height)
        self.sides = [height, width]
        self.fixed: tuple[int, int] | None = None
        self.turned = self._scaled = self._cut = self._filled = False
        self._base, self._origin, self._step = ([np.full(n, v) for _ in range(2)] for v in (0.0, 0.0, 1.0))
        self._clip: list[Side] = [(np.zeros(n, np.int64), side) for side in self.sides]
        self._frame: list[Side] | None = None  # of what is shown, the part that is no padding
        self._mode, self._fill = "constant", (0.0, 0.0, 0.0)
        self._matrix: Floats = np.zeros((n, 3, 3))
        self._flipped: list[tuple[int, npt.NDArray[np.bool_]]] = []

    def crop(self, corner: tuple[Ints, Ints], sides: tuple[Ints, Ints]) -> None:
        """A box of it.

        Args:
            corner: (y, x), whole pixels, float or int ``[n]``.
            sides: (height, width).
        """
        self.fixed, self.sides, self._cut = None, list(sides), True
        if self.turned:
            self._matrix = self._matrix @ moved(corner[1], corner[0])
            return
        for k, first in enumerate(corner):
            if self._scaled:
                self._origin[k] = self._origin[k] + first
            else:
                self._base[k] = self._base[k] + first
            if self._frame is not None:
                low, high = self._frame[k]
                self._frame[k] = (low - first).astype(np.int64), (high - first).astype(np.int64)

    def resize(self, sides: tuple[Ints, Ints]) -> None:
        """The same, scaled. A filter reads no further than an unscaled box went."""
        if self._frame is not None and not self.turned:
            self._turn()
        ratio = [old / new for old, new in zip(self.sides, sides, strict=True)]
        old, self.sides, self.fixed = self.sides, list(sides), None
        if self.turned:
            self._matrix = self._matrix * np.stack([ratio[1], ratio[0], np.ones_like(ratio[0])], 1)[:, None]
            return
        for k in range(2):
            if not self._scaled and self._cut:
                low = self._base[k].astype(np.int64)
                self._clip[k] = low, low + old[k]
            elif self._scaled:
                self._base[k] = self._base[k] + self._origin[k] * self._step[k]
                self._origin[k] = np.zeros_like(self._base[k])
            self._step[k] = self._step[k] * old[k] / sides[k]
        self._scaled = True

    def pad(
        self, before: tuple[Any, Any], after: tuple[Any, Any], mode: str, fill: tuple[float, float, float]
    ) -> None:
        """More around it.

        Args:
            before: (top, left), in pixels, numbers or int64 ``[n]``.
            after: (bottom, right).
            mode: one of PADDING_MODES.
            fill: of "constant", 0 to 255.

        Raises:
            ValueError: where it is padded in another way already.
        """
        fill = fill if mode == "constant" else (0.0, 0.0, 0.0)
        padded = self._frame is not None or self._filled
        if padded and ((mode, fill) != (self._mode, self._fill) or mode in ("reflect", "symmetric")):
            raise ValueError(
                f"images are padded twice, by {self._mode!r} with fill {self._fill} and by {mode!r} with "
                f"fill {fill}; give both the same padding_mode, 'constant' or 'edge', and fill"
            )
        if self.turned:
            if mode != "constant":
                raise ValueError(
                    f"padding_mode={mode!r} after a turn is not possible; pad first, or by 'constant'"
                )
            self._matrix = self._matrix @ moved(-np.asarray(before[1]), -np.asarray(before[0]))
        else:
            frame = self._frame or [(np.zeros_like(side), side) for side in self.sides]
            self._frame = [
                (low + first, high + first) for (low, high), first in zip(frame, before, strict=True)
            ]
            for k, first in enumerate(before):
                if self._scaled:
                    self._origin[k] = self._origin[k] - first
                else:
                    self._base[k] = self._base[k] - first
        self._mode, self._fill, self._filled = mode, fill, self._filled or mode == "constant"
        self.sides = [side + b + a for side, b, a in zip(self.sides, before, after, strict=True)]
        if self.fixed is not None:
            grown = [np.unique(np.asarray(b + a)) for b, a in zip(before, after, strict=True)]
            same = all(len(g) == 1 for g in grown)
            self.fixed = (
                (self.fixed[0] + int(grown[0][0]), self.fixed[1] + int(grown[1][0])) if same else None
            )

    def warp(self, sources: Floats, sides: list[Ints] | None, fill: tuple[float, float, float]) -> None:
        """Turned, or drawn out.

        Args:
            sources: float64 ``[n, 3, 3]``, from places in what it becomes to places in what it is: (x, y, 1),
                in pixels from the corner.
            sides: of what it becomes, where they are others.
            fill: of what lies outside, 0 to 255.

        Raises:
            ValueError: where it is padded with another fill already.
        """
        if self._filled and fill != self._fill:
            raise ValueError(
                f"images are filled with {self._fill} and with {fill} before a crop; give both the same fill"
            )
        self._turn()
        self._fill, self._filled = fill, True
        self._matrix = self._matrix @ sources
        if sides is not None:
            self.sides, self.fixed = sides, None

    def flip(self, axis: int, which: npt.NDArray[np.bool_]) -> None:
        """Some of them mirrored, and the outputs mirrored in turn, which the plan's columns then undo."""
        self._turn()
        self._matrix = self._matrix @ mirrored(axis, which, self.sides[axis])
        self._flipped.append((axis, which))

    def _turn(self) -> None:
        """Makes a matrix of what is upright."""
        if self.turned:
            return
        self.turned = True
        start = [b + o * s for b, o, s in zip(self._base, self._origin, self._step, strict=True)]
        for k in range(2):
            self._matrix[:, 1 - k, 1 - k], self._matrix[:, 1 - k, 2] = self._step[k], start[k]
            low, high = self._clip[k]
            first = np.floor(start[k]).astype(np.int64).clip(low, high - 1)
            last = np.ceil(start[k] + self.sides[k] * self._step[k]).astype(np.int64)
            self._clip[k] = first, last.clip(first + 1, high)
        self._matrix[:, 2, 2] = 1
        if self._frame is None:
            return
        if self._scaled and self._mode != "constant":
            raise ValueError(
                f"padding_mode={self._mode!r} of a resized image comes before a turn or another Resize; pad "
                "before the first Resize, or with padding_mode='constant'"
            )
        self._padded = [  # how far padding goes, in pixels of the image
            (np.floor(s).astype(np.int64), np.ceil(s + side).astype(np.int64))
            for s, side in zip(start, self.sides, strict=True)
        ]

    def write(self, rows: npt.NDArray[np.void], interpolation: Ints) -> None:
        """Fills a plan's rows: the box to decode, and where the output's pixels lie in it."""
        rows["interpolation"] = interpolation
        rows["padding_mode"], rows["crop_fill"] = PADDING_MODES.index(self._mode), self._fill
        (self._write_turned if self.turned else self._write_upright)(rows, REACH[interpolation])

    def _write_upright(self, rows: npt.NDArray[np.void], reaches: Ints) -> None:
        for k, axis in enumerate("yx"):
            side, step, origin = self.sides[k], self._step[k], self._origin[k]
            first, last = np.zeros_like(side), side
            frame = first, last
            if self._frame is not None:
                frame = self._frame[k]
                first, last = needed(*frame, side, PADDING_MODES.index(self._mode))
            reach = reaches * np.maximum(step, 1)
            least, most = self._clip[k]
            low = np.maximum(np.floor(self._base[k] + (origin + first) * step - reach), least)
            high = np.minimum(np.ceil(self._base[k] + (origin + last) * step + reach), most)
            rows[f"{axis}0"] = low
            rows["h" if axis == "y" else "w"] = high - low
            rows[f"start_{axis}"] = self._base[k] + origin * step - low
            rows[f"step_{axis}"] = step
            for j in range(2):
                rows["frame"][:, k + 2 * j] = frame[j].clip(-_FAR, _FAR)

    def _write_turned(self, rows: npt.NDArray[np.void], reaches: Ints) -> None:
        matrix = self._matrix
        for axis, which in self._flipped:
            matrix = matrix @ mirrored(axis, which, self.sides[axis])
        zero, (tall, wide) = np.zeros(len(rows)), self.sides
        corners = np.stack([np.stack([x, y, zero + 1], 1) for x in (zero, wide) for y in (zero, tall)], 2)
        over = (matrix @ corners)[:, 2]
        matrix = matrix / np.abs(over).max(1)[:, None, None]  # where the divisor is largest, it is 1
        x, y, over = np.moveaxis(matrix @ corners, 1, 0)
        sound = (np.abs(over) > _LEAST).all(1) & (np.sign(over) == np.sign(over[:, :1])).all(1)
        over = np.where(sound[:, None], over, 1)
        boxes = []
        for k, place in enumerate((y / over, x / over)):
            slopes = matrix[:, 1 - k, :2, None] - place[:, None] * matrix[:, 2, :2, None]
            grown = reaches * (1.5 * np.abs(slopes / over[:, None]).sum(1).max(1) + 2) + 1
            low, high = self._clip[k]
            first = np.where(sound, np.floor(place.min(1) - grown), low).clip(low, high - 1)
            last = np.where(sound, np.ceil(place.max(1) + grown), high).clip(first + 1, high)
            if self._mode != "constant":  # the whole image may be looked at from its padding
                first, last = low, high
            boxes.append((first.astype(np.int64), last.astype(np.int64)))
        for k, name in enumerate("yx"):
            first, last = boxes[k]
            frame = self._padded[k] if self._mode != "constant" else (first, last)
            rows[f"{name}0"], rows["h" if name == "y" else "w"] = first, last - first
            rows[f"start_{name}"], rows[f"step_{name}"] = 0, 1
            for j in range(2):
                rows["frame"][:, k + 2 * j] = frame[j] - first
        rows["warp"] = 1
        rows["warp_map"] = (moved(-boxes[1][0], -boxes[0][0]) @ matrix).reshape(-1, 9)


def needed(low: Ints, high: Ints, side: Any, mode: Any) -> Side:
    """Of pixels [low, high) that are no padding, the first and the one behind the last that those from 0 to
    side need.

    Args:
        low: int64 ``[n]``.
        high: likewise.
        side: a number, or int64 ``[n]``.
        mode: of padding, by number; likewise.
    """
    first, last = np.clip(0, low, high - 1), np.clip(side - 1, low, high - 1)
    own = np.asarray(mode) == PADDING_MODES.index("symmetric")
    repeats = own | (np.asarray(mode) == PADDING_MODES.index("reflect"))
    if not np.any(repeats):
        return first, last + 1
    over, under = low - own, side - high - own  # how far beyond the edges
    last = np.where(repeats & (over > 0), np.maximum(last, np.minimum(low + over, high - 1)), last)
    first = np.where(repeats & (under > 0), np.minimum(first, np.maximum(high - 1 - under, low)), first)
    return first, last + 1


assert len(REACH) == len(INTERPOLATIONS)
