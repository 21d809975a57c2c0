"""What decoders are asked for: images, each decoded once, and the views of them that outputs show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..data.source import Item
from ..plan.batch_plan import BatchPlan
from ..plan.views_plan import Plan

# An output and where its pixels come from. ``row`` is the canvas's: of B samples, view k of the one in row b
# goes to row k * B + b. ``size`` is the output's (height, width), ``box`` what it looks at of the job's box,
# (y0, x0, h, w). The map times (x, y, 1), a place in the output in pixels from its top left corner, is the
# place in the view's box. ``filter`` is a number of INTERPOLATIONS; the others are the plan's columns.
VIEW = np.dtype(
    [
        ("job", "i8"),
        ("row", "i8"),
        ("size", "i4", 2),
        ("box", "i4", 4),
        ("filter", "i4"),
        ("map", "f8", (3, 3)),
        ("frame", "i4", 4),
        ("padding_mode", "i4"),
        ("crop_fill", "f4", 3),
        ("warp", "i4"),
    ],
    align=True,
)
# The columns of a plan that become boxes and views.
VIEW_COLUMNS = {"y0", "x0", "h", "w", "interpolation", "start_y", "start_x", "step_y", "step_x"}
VIEW_COLUMNS |= {"flip", "flip_y", "frame", "padding_mode", "crop_fill", "warp", "warp_map"}
_GRID = 2.0**32  # mirrored starts are found to so many parts of a pixel


@dataclass(frozen=True, eq=False)
class Jobs:
    """Images to decode, each once, and what outputs show of them.

    Attributes:
        items: ``[J]``, each image: a file's path, encoded bytes or pixels.
        kinds: uint8 ``[J]``, of their headers (``data.source.Kind``).
        boxes: int32 ``[J, 4]``, (y0, x0, h, w): the region of each image that its views show, all together.
        views: VIEW ``[V]``, in the order of their jobs.
    """

    items: Sequence[Item]
    kinds: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.int32]
    views: npt.NDArray[np.void]

    def __len__(self) -> int:
        return len(self.kinds)

    def take(self, which: npt.NDArray[np.intp]) -> Jobs:
        """Some of the jobs, in this order: numbers that ascend."""
        number = np.full(len(self), -1)
        number[which] = np.arange(len(which))
        views = self.views[number[self.views["job"]] >= 0]
        views["job"] = number[views["job"]]
        return Jobs([self.items[k] for k in which], self.kinds[which], self.boxes[which], views)


class Axis(NamedTuple):
    """Views along one axis of their boxes.

    Attributes:
        start: float64 ``[V]``, where the output's first pixel begins, in pixels of the box; if mirrored,
            its last.
        step: float64 ``[V]``, pixels of the box for one of the output, above 0.
        mirrored: bool ``[V]``.
    """

    start: npt.NDArray[np.float64]
    step: npt.NDArray[np.float64]
    mirrored: npt.NDArray[np.bool_]


def jobs_of(
    plan: Plan, rows: npt.NDArray[np.intp], items: Sequence[Item], kinds: npt.NDArray[np.uint8]
) -> Jobs:
    """The jobs of some rows of a plan, each with all its views.

    Args:
        plan: the batch.
        rows: which, ascending.
        items: their images.
        kinds: uint8, of their headers.
    """
    each = [views_of(view, rows) for view in plan.views]
    boxes = _around([views["box"] for views in each])
    for number, views in enumerate(each):
        views["row"] += number * len(plan)
        views["box"][:, :2] -= boxes[:, :2]
    return Jobs(items, kinds, boxes, np.stack(each, 1).reshape(-1) if len(each) > 1 else each[0])


def boxes_of(plan: Plan, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
    """The boxes of some rows of a plan, around those of all views: int32 ``[R, 4]``, (y0, x0, h, w)."""
    return _around([_boxes(view, rows) for view in plan.views])


def _around(each: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    out = each[0].copy()
    for boxes in each[1:]:
        end = np.maximum(out[:, :2] + out[:, 2:], boxes[:, :2] + boxes[:, 2:])
        out[:, :2] = np.minimum(out[:, :2], boxes[:, :2])
        out[:, 2:] = end - out[:, :2]
    return out


def _boxes(plan: BatchPlan, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
    return np.stack([plan.rows[name][rows] for name in ("y0", "x0", "h", "w")], 1).astype(np.int32)


def views_of(plan: BatchPlan, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.void]:
    """What the rows of a plan show of their images: VIEW, a job each in the order of ``rows``; the boxes are
    in the image's pixels."""
    columns = plan.rows if len(rows) == len(plan.rows) else plan.rows[rows]
    views = np.zeros(len(rows), VIEW)
    views["job"], views["row"], views["filter"] = np.arange(len(rows)), rows, columns["interpolation"]
    views["size"], views["box"] = plan.size, _boxes(plan, rows)
    maps = views["map"]
    maps[:, 2, 2] = 1
    for k, (axis, flip) in enumerate((("x", "flip"), ("y", "flip_y"))):
        step, start = columns[f"step_{axis}"], columns[f"start_{axis}"]
        mirrored = columns[flip] == 1
        maps[:, k, k] = np.where(mirrored, -step, step)
        maps[:, k, 2] = start + mirrored * (plan.size[1 - k] * step)
    for name in ("frame", "padding_mode", "crop_fill", "warp"):
        views[name] = columns[name]
    turned = np.flatnonzero(columns["warp"])
    if len(turned):
        maps[turned] = columns["warp_map"][turned].reshape(-1, 3, 3) @ maps[turned]
    return views


def axes_of(views: npt.NDArray[np.void]) -> tuple[Axis, Axis]:
    """Upright views along y and x.

    Args:
        views: VIEW ``[V]``, whose maps scale, mirror and shift.
    """
    maps, (height, width) = views["map"], views["size"].T
    return _axis(maps[:, 1, 1], maps[:, 1, 2], height), _axis(maps[:, 0, 0], maps[:, 0, 2], width)


def _axis(
    step: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], length: npt.NDArray[np.int32]
) -> Axis:
    mirrored = step < 0
    if not mirrored.any():
        return Axis(offset, step, mirrored)
    # The sum that made a mirrored offset was rounded; boxes begin at whole pixels more often than not.
    start = np.where(mirrored, np.rint((offset + length * step) * _GRID) / _GRID, offset)
    return Axis(start, np.abs(step), mirrored)
