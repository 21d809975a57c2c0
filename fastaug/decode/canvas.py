"""What decoders write to: the crops of a batch, view by view, on the host or on the device."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from ..data.form import RGB, Raster
from ..machine.device import Device, GpuDevice, Pool
from .jobs import Jobs

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Unscaled:
    """Crops that are pixels of their images as they are, not copied yet.

    Attributes:
        sources: uint64 ``[B]``, addresses of the first pixels of a plan's boxes.
        strides: int64 ``[B]``, bytes from one line of an image to the next.
        owner: keeps the images' memory alive.
    """

    sources: npt.NDArray[np.uint64]
    strides: npt.NDArray[np.int64]
    owner: Any


class Canvas:
    """uint8 ``[B, H, W, 3]`` for each view of a batch, written row by row by decoders on the host and on the
    device. Rows are numbered through: those of view k are k * B to (k + 1) * B.

    Args:
        device: where the pixels are wanted.
        memory: lends host memory.
        count: B.
        sizes: (H, W) of each view.
        raster: of the pixels; ``[B, H, W, C]`` of its dtype.
        lends: whether what follows takes ``Unscaled`` crops.

    Attributes:
        decoders: the name of what decoded each sample, the last of those that tried.
    """

    def __init__(
        self,
        device: Device,
        memory: Pool,
        count: int,
        sizes: Sequence[Size],
        raster: Raster = RGB,
        *,
        lends: bool = False,
    ) -> None:
        self._device, self._memory, self.count, self.sizes = device, memory, count, list(sizes)
        self.raster, self.lends = raster, lends
        self._lent: Sequence[Unscaled] = ()
        self.decoders = [""] * count
        self._host: list[torch.Tensor] = []
        self._writing: list[Future[None]] = []
        # Of each view: rows, and their images on the device.
        self._placed: list[list[tuple[npt.NDArray[np.intp], torch.Tensor]]] = [[] for _ in self.sizes]

    def by(self, decoder: str, jobs: Jobs) -> None:
        """Takes note of what decodes the rows of some jobs."""
        for row in np.unique(jobs.views["row"] % self.count).tolist():
            self.decoders[row] = decoder

    @property
    def host(self) -> list[torch.Tensor]:
        """Each view's pixels in host memory, for decoders that write there."""
        if not self._host:
            line = self.raster.channels * self.raster.dtype.itemsize
            raw = [self._device.staging((self.count, *size, line), self._memory) for size in self.sizes]
            self._host = [each.view(torch.float32) if self.raster.wide else each for each in raw]
        return self._host

    def addresses(self, views: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
        """Where views, VIEW ``[V]``, lie in host memory.

        Raises:
            ValueError: when one has no place of its size here.
        """
        sizes, (view, row) = np.array(self.sizes), np.divmod(views["row"], self.count)
        if (view < 0).any() or (view >= len(sizes)).any() or (views["size"] != sizes[view]).any():
            raise ValueError(f"views do not fit a canvas of {self.count} x {self.sizes} pixels")
        first = np.array([each.data_ptr() for each in self.host], np.uint64)
        each = (sizes[:, 0] * sizes[:, 1] * self.raster.bytes).astype(np.uint64)
        return first[view] + row.astype(np.uint64) * each[view]

    def image(self, row: int) -> npt.NDArray[Any]:
        """A row in host memory: ``[H, W, C]``."""
        view, place = divmod(row, self.count)
        return self.host[view].numpy()[place]

    def writing(self, under_way: Sequence[Future[None]]) -> None:
        """Takes note of threads that still write to ``host``; ``pixels`` waits for them."""
        self._writing += under_way

    def place(self, view: int, rows: npt.NDArray[np.intp], images: torch.Tensor) -> None:
        """Takes images of a view that were decoded on the device: uint8 ``[len(rows), H, W, 3]``."""
        self._placed[view].append((rows % self.count, images))

    def lend(self, crops: Sequence[Unscaled]) -> None:
        """Takes crops of all rows that need no copy, view by view."""
        self._lent = crops

    def pixels(self, view: int = 0, keep: Sequence[int] | None = None) -> torch.Tensor | Unscaled:
        """Rows of a view on the device, in the order of the current stream: all, or those to keep. Called
        once for each; raises what a thread raised that wrote them."""
        count, placed = self.count, self._placed[view]
        wanted = np.arange(count) if keep is None else np.array(keep)
        if self._lent:
            lent = self._lent[view]
            return Unscaled(lent.sources[wanted], lent.strides[wanted], lent.owner)
        for thread in self._writing:
            thread.result()
        if not placed:
            return self._device.upload(self.host[view] if keep is None else self.host[view][wanted])
        images = [each for _, each in placed]
        where, n = np.zeros(count, np.intp), 0  # each row's place among all images
        for rows, each in placed:
            where[rows] = n + np.arange(len(each))
            n += len(each)
        if self._host:
            written = np.setdiff1d(np.arange(count), np.concatenate([rows for rows, _ in placed]))
            where[written] = n + written
            images.append(self._device.upload(self._host[view]))
        if len(images) == 1 and np.array_equal(where[wanted], np.arange(len(images[0]))):
            return images[0]
        return cast(GpuDevice, self._device).gather(images, where[wanted])
