"""What decoders are asked for: images, each decoded once, the views of them that outputs show, and the canvas
that these go to."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch

from ..data.form import RGB, Raster
from ..data.source import Item
from ..machine.device import Device, GpuDevice, Pool
from ..plan.batch_plan import BatchPlan

# An output row and where its pixels come from: the map times (x, y, 1), a place in the output in pixels from
# its top left corner, is the place in the job's box. ``filter`` is a number of INTERPOLATIONS; the others are
# the plan's columns.
VIEW = np.dtype(
    [
        ("job", "i8"),
        ("row", "i8"),
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
        boxes: int32 ``[J, 4]``, (y0, x0, h, w): the region of each image that its views show.
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
    plan: BatchPlan, rows: npt.NDArray[np.intp], items: Sequence[Item], kinds: npt.NDArray[np.uint8]
) -> Jobs:
    """The jobs of some rows of a plan, a view each.

    Args:
        plan: the batch.
        rows: which, ascending.
        items: their images.
        kinds: uint8, of their headers.
    """
    return Jobs(items, kinds, boxes_of(plan, rows), views_of(plan, rows))


def boxes_of(plan: BatchPlan, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
    """The boxes of some rows of a plan, (y0, x0, h, w): int32 ``[len(rows), 4]``."""
    return np.stack([plan.rows[name][rows] for name in ("y0", "x0", "h", "w")], 1).astype(np.int32)


def views_of(plan: BatchPlan, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.void]:
    """What the rows of a plan show of their images: VIEW, a job each in the order of ``rows``."""
    columns = plan.rows if len(rows) == len(plan.rows) else plan.rows[rows]
    views = np.zeros(len(rows), VIEW)
    views["job"], views["row"], views["filter"] = np.arange(len(rows)), rows, columns["interpolation"]
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


def axes_of(views: npt.NDArray[np.void], size: tuple[int, int]) -> tuple[Axis, Axis]:
    """Upright views along y and x.

    Args:
        views: VIEW ``[V]``, whose maps scale, mirror and shift.
        size: (height, width) of the output.
    """
    maps = views["map"]
    return _axis(maps[:, 1, 1], maps[:, 1, 2], size[0]), _axis(maps[:, 0, 0], maps[:, 0, 2], size[1])


def _axis(step: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], length: int) -> Axis:
    mirrored = step < 0
    if not mirrored.any():
        return Axis(offset, step, mirrored)
    # The sum that made a mirrored offset was rounded; boxes begin at whole pixels more often than not.
    start = np.where(mirrored, np.rint((offset + length * step) * _GRID) / _GRID, offset)
    return Axis(start, np.abs(step), mirrored)


@dataclass(frozen=True, eq=False)
class Unscaled:
    """Crops that are pixels of their images as they are, not copied yet.

    Attributes:
        views: ``scale.SCALING`` ``[B]``, in the order of a plan's rows.
        owner: keeps the images' memory alive.
    """

    views: npt.NDArray[np.void]
    owner: Any


class Canvas:
    """uint8 ``[B, H, W, 3]``, written row by row by decoders on the host and on the device.

    Args:
        device: where the pixels are wanted.
        memory: lends host memory.
        shape: (B, H, W).
        raster: of the pixels; ``[B, H, W, C]`` of its dtype.
        lends: whether what follows takes ``Unscaled`` crops.

    Attributes:
        decoders: the name of what decoded each row, the last of those that tried.
    """

    def __init__(
        self,
        device: Device,
        memory: Pool,
        shape: tuple[int, int, int],
        raster: Raster = RGB,
        *,
        lends: bool = False,
    ) -> None:
        self._device, self._memory, self._shape = device, memory, (*shape, raster.channels)
        self.raster, self.lends = raster, lends
        self._lent: Unscaled | None = None
        self.decoders = [""] * shape[0]
        self._host: torch.Tensor | None = None
        self._writing: list[Future[None]] = []
        self._placed: list[tuple[npt.NDArray[np.intp], torch.Tensor]] = []  # rows, and images on the device

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self._shape[1], self._shape[2]

    def by(self, decoder: str, jobs: Jobs) -> None:
        """Takes note of what decodes the rows of some jobs."""
        for row in jobs.views["row"].tolist():
            self.decoders[row] = decoder

    @property
    def host(self) -> torch.Tensor:
        """The same in host memory, for decoders that write there."""
        if self._host is None:
            *sides, channels = self._shape
            raw = self._device.staging((*sides, channels * self.raster.dtype.itemsize), self._memory)
            self._host = raw.view(torch.float32) if self.raster.wide else raw
        return self._host

    def writing(self, under_way: Sequence[Future[None]]) -> None:
        """Takes note of threads that still write to ``host``; ``pixels`` waits for them."""
        self._writing += under_way

    def place(self, rows: npt.NDArray[np.intp], images: torch.Tensor) -> None:
        """Takes images that were decoded on the device: uint8 ``[len(rows), H, W, 3]``."""
        self._placed.append((rows, images))

    def lend(self, crops: Unscaled) -> None:
        """Takes crops of all rows that need no copy."""
        self._lent = crops

    def pixels(self, keep: Sequence[int] | None = None) -> torch.Tensor | Unscaled:
        """Rows on the device, in the order of the current stream: all, or those to keep. Called once; raises
        what a thread raised that wrote them."""
        if self._lent is not None:
            return self._lent if keep is None else Unscaled(self._lent.views[list(keep)], self._lent.owner)
        for thread in self._writing:
            thread.result()
        wanted = np.arange(self._shape[0]) if keep is None else np.array(keep)
        if not self._placed:
            return self._device.upload(self.host if keep is None else self.host[wanted])
        images = [placed for _, placed in self._placed]
        where, n = np.zeros(self._shape[0], np.intp), 0  # each row's place among all images
        for rows, placed in self._placed:
            where[rows] = n + np.arange(len(placed))
            n += len(placed)
        if self._host is not None:
            written = np.setdiff1d(np.arange(self._shape[0]), np.concatenate([r for r, _ in self._placed]))
            where[written] = n + written
            images.append(self._device.upload(self._host))
        if len(images) == 1 and np.array_equal(where[wanted], np.arange(len(images[0]))):
            return images[0]
        return cast(GpuDevice, self._device).gather(images, where[wanted])
