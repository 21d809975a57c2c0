"""Decodes a plan's boxes with DALI, and names the files that cannot be decoded."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.index import Index
from ..device import GpuDevice
from ..errors import DecodeError
from ..ops.augment import INTERPOLATIONS
from ..plan.batch_plan import BatchPlan
from .graphs import Decode, crops_graph, images_graph
from .nvidia import built

_UNSAID = ("Failed to decode sample", "nvImageCodec failure")


class Crops:
    """The decoded pixels of a batch: row i is uint8 HWC, ``plan["h"][i]`` x ``plan["w"][i]``.

    Attributes:
        pointers: uint64 ``[B]``, addresses of the first pixels.
        strides: int64 ``[B]``, bytes from one line to the next.
    """

    def __init__(
        self,
        plan: BatchPlan,
        pointers: npt.NDArray[np.uint64],
        strides: npt.NDArray[np.int64],
        owner: Any,
    ) -> None:
        self.pointers, self.strides = pointers, strides
        self._shapes = np.stack([plan["h"], plan["w"]], 1)
        self._owner = owner  # keeps the memory alive

    def __len__(self) -> int:
        return len(self.pointers)

    def array(self, i: int) -> npt.NDArray[np.uint8]:
        """The pixels of row i: uint8 ``[h, w, 3]``, a view."""
        h, w = (int(v) for v in self._shapes[i])
        interface = {
            "data": (int(self.pointers[i]), True),
            "shape": (h, w, 3),
            "typestr": "|u1",
            "strides": (int(self.strides[i]), 3, 1),
            "version": 3,
        }
        view = type("Pixels", (), {"__array_interface__": interface, "owner": self._owner})()
        return np.asarray(view)


class Decoder:
    """Decodes the boxes of a plan inside DALI; ``lanes`` calls of ``decode`` may run at once.

    On the CPU the threads are shared out to two lanes, a pipeline each, so that cores have work while
    one batch ends and the next is handed over.

    EXIF orientation is applied, alpha is dropped, gray and CMYK become RGB, 16-bit samples keep their
    high byte. On the CPU, JPEGs are decoded only where the box is.

    Args:
        index: the source and its images' sizes.
        batch_size: the usual batch. A larger one is possible: DALI's graph is then built anew for it.
        threads: CPU threads, unless ``how`` says another number.
        how: where, and DALI's options.
        device: the GPU, where ``how.place`` asks for one.
    """

    def __init__(
        self,
        index: Index,
        batch_size: int,
        threads: int,
        how: Decode | None = None,
        device: GpuDevice | None = None,
    ) -> None:
        self._index, self._source = index, index.source
        self._batch_size, self._how = batch_size, how or Decode()
        threads, self._device = self._how.threads or threads, device
        self.scales = device is not None  # in the graph, which is built for one interpolation
        self.lanes = 2 if device is None and threads > 1 else 1
        self._threads = -(-threads // self.lanes)
        self._pipes: SimpleQueue[Any] = SimpleQueue()  # those not in use; None: still to be built
        for _ in range(self.lanes):
            self._pipes.put(None)

    def decode(self, plan: BatchPlan) -> Crops | torch.Tensor:
        """A plan's boxes: ``Crops`` in host memory; or, decoded on the GPU, images that are scaled and
        flipped already, uint8 ``[B, H, W, 3]`` on the current stream.

        Raises:
            DecodeError: names every file of the batch that cannot be decoded. The next call works.
        """
        if self._source.arrays is not None:
            return self._slices(plan, self._source.arrays)
        if self._index.usable(plan["index"]).all():
            try:
                return self._run(plan, np.arange(len(plan)))
            except RuntimeError:
                pass
        self.try_alone(plan, np.arange(len(plan)))
        return self._run(plan, np.arange(len(plan)))  # the fault went away: a network drive, say

    def try_alone(self, plan: BatchPlan, rows: npt.NDArray[np.intp]) -> None:
        """Decodes some rows of a plan one by one, and forgets the pixels.

        Raises:
            DecodeError: names every file that cannot be decoded.
        """
        faults = {int(k): reason for k in rows if (reason := self._fault(plan, int(k)))}
        if faults:
            index = plan["index"]
            bad = [(int(index[k]), self._source.name(int(index[k])), why) for k, why in faults.items()]
            raise DecodeError(bad, list(faults))

    def close(self) -> None:
        """Frees DALI's threads and memory, but for what a call under way still uses."""
        for _ in range(self._pipes.qsize()):
            with suppress(Empty):
                self._pipes.get_nowait()
                self._pipes.put(None)

    def _slices(self, plan: BatchPlan, arrays: npt.NDArray[np.uint8]) -> Crops:
        rows = plan.rows
        stride = arrays.shape[2] * 3
        offset = (rows["index"] * arrays.shape[1] + rows["y0"]) * stride + rows["x0"] * 3
        pointers = arrays.ctypes.data + offset
        return Crops(plan, pointers.astype(np.uint64), np.full(len(rows), stride), arrays)

    def _run(self, plan: BatchPlan, which: npt.NDArray[np.intp]) -> Crops | torch.Tensor:
        rows = plan.rows[which]
        inputs = {
            "data": [self._data(int(i)) for i in rows["index"]],
            "box": np.stack([rows["y0"], rows["x0"], rows["h"], rows["w"]], 1),
        }
        pipe = self._pipes.get()
        try:
            if pipe is None or len(rows) > pipe.max_batch_size:
                pipe = self._build(plan, len(rows))
            if self._device is not None:
                return self._device.run(pipe, **inputs, roi=region(rows, plan.size))
            images = pipe.run(**inputs)[0]
        finally:
            self._pipes.put(pipe)
        pointers = np.array([image.data_ptr() for image in images], np.uint64)
        return Crops(plan, pointers, rows["w"].astype(np.int64) * 3, images)

    def _data(self, i: int) -> npt.NDArray[np.uint8]:
        if self._source.paths is not None:
            return self._source.paths.raw(i)
        assert self._source.blobs is not None
        return np.frombuffer(self._source.blobs[i], np.uint8)

    def _fault(self, plan: BatchPlan, k: int) -> str:
        """Why row k cannot be decoded; "" when it can."""
        if reason := self._index.reason(int(plan["index"][k])):
            return reason
        try:
            self._run(plan, np.array([k]))
        except RuntimeError as error:
            return decode_reason(str(error))
        return ""

    def _build(self, plan: BatchPlan, rows: int) -> Any:
        files = self._source.paths is not None
        if rows > self._batch_size:  # a batch_sampler's
            self._batch_size = max(rows, 2 * self._batch_size)
        if self._device is None:
            pipe = crops_graph(files=files, batch_size=self._batch_size, threads=self._threads)
        else:
            pipe = images_graph(
                self._how,
                self._device.decoding,
                files=files,
                size=plan.size,
                batch_size=self._batch_size,
                threads=self._threads,
                interpolation=INTERPOLATIONS[plan["interpolation"][0]],
            )
        return built(pipe)


def region(rows: npt.NDArray[np.void], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """What the output shows of each decoded box: float32 ``[B, 4]``, (y0, x0, y1, x1) in pixels of the
    box; mirrored where x0 > x1."""
    low = np.stack([rows["start_y"], rows["start_x"]], 1)
    high = low + np.stack([rows["step_y"], rows["step_x"]], 1) * np.array(size)
    roi = np.concatenate([low, high], 1)
    mirrored = rows["flip"] == 1
    roi[mirrored] = roi[mirrored][:, [0, 3, 2, 1]]
    return roi.astype(np.float32)


def decode_reason(message: str) -> str:
    """The line of a DALI error that says what is wrong. Of damaged pixels it only says that they are; what
    its decoders find is printed by them."""
    _, found, rest = message.partition("encountered:")
    lines = [line.strip() for line in (rest if found else message).splitlines()]
    lines = [
        line
        for line in lines
        if line and not line.startswith(("Stacktrace", "[frame")) and "pipeline object" not in line
    ]
    return "damaged" if not lines or lines[0].startswith(_UNSAID) else lines[0]
