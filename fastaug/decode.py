"""The DALI graph: encoded images and boxes in, the boxes' pixels out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .dali import load_dali
from .errors import DecodeError
from .index import Index
from .plan import BatchPlan


class Crops:
    """The decoded pixels of a batch: row i is uint8 HWC, ``plan["h"][i]`` x ``plan["w"][i]``.

    Attributes:
        pointers: uint64 ``[B]``, addresses of the first pixels.
        strides: int64 ``[B]``, bytes from one line to the next.
    """

    def __init__(
        self, plan: BatchPlan, pointers: npt.NDArray[np.uint64], strides: npt.NDArray[np.int64],
        owner: Any,
    ) -> None:  # fmt: skip
        self.pointers, self.strides = pointers, strides
        self._shapes = np.stack([plan["h"], plan["w"]], 1)
        self._owner = owner  # keeps the memory alive

    def __len__(self) -> int:
        return len(self.pointers)

    def array(self, i: int) -> npt.NDArray[np.uint8]:
        """The pixels of row i: uint8 ``[h, w, 3]``, a view."""
        h, w = (int(v) for v in self._shapes[i])
        interface = {"data": (int(self.pointers[i]), True), "shape": (h, w, 3), "typestr": "|u1",
                     "strides": (int(self.strides[i]), 3, 1), "version": 3}
        view = type("Pixels", (), {"__array_interface__": interface, "owner": self._owner})()
        return np.asarray(view)


class Decoder:
    """Decodes the boxes of a plan, on ``threads`` CPU threads inside DALI.

    JPEGs are decoded only where the box is. EXIF orientation is applied, alpha is dropped, gray and
    CMYK become RGB, 16-bit samples keep their high byte.
    """

    def __init__(self, index: Index, batch_size: int, threads: int) -> None:
        self._index, self._source = index, index.source
        self._batch_size, self._threads = batch_size, threads
        self._pipe: Any = None

    def decode(self, plan: BatchPlan) -> Crops:
        """The crops of a plan's rows.

        Raises:
            DecodeError: names every file of the batch that cannot be decoded. The next call works.
        """
        if self._source.arrays is not None:
            return self._slices(plan, self._source.arrays)
        unreadable = self._index.height[plan["index"]] == 0
        if not unreadable.any():
            try:
                return self._run(plan, np.arange(len(plan)))
            except RuntimeError:
                pass
        bad = [(int(plan["index"][k]), reason) for k in range(len(plan)) if (reason := self._fault(plan, k))]
        if not bad:  # the fault went away: a network drive, say
            return self._run(plan, np.arange(len(plan)))
        raise DecodeError([(i, self._source.name(i), reason) for i, reason in bad])

    def close(self) -> None:
        """Frees DALI's threads and memory."""
        self._pipe = None

    def _slices(self, plan: BatchPlan, arrays: npt.NDArray[np.uint8]) -> Crops:
        rows = plan.rows
        stride = arrays.shape[2] * 3
        offset = (rows["index"] * arrays.shape[1] + rows["y0"]) * stride + rows["x0"] * 3
        pointers = arrays.ctypes.data + offset
        return Crops(plan, pointers.astype(np.uint64), np.full(len(rows), stride), arrays)

    def _run(self, plan: BatchPlan, which: npt.NDArray[np.intp]) -> Crops:
        rows = plan.rows[which]
        if self._pipe is None:
            self._pipe = self._build()
        boxes = np.stack([rows["y0"], rows["x0"], rows["h"], rows["w"]], 1)
        images = self._pipe.run(data=[self._data(int(i)) for i in rows["index"]], box=boxes)[0]
        pointers = np.array([image.data_ptr() for image in images], np.uint64)
        return Crops(plan, pointers, rows["w"].astype(np.int64) * 3, images)

    def _data(self, i: int) -> npt.NDArray[np.uint8]:
        if self._source.paths is not None:
            return self._source.paths.raw(i)
        assert self._source.blobs is not None
        return np.frombuffer(self._source.blobs[i], np.uint8)

    def _fault(self, plan: BatchPlan, k: int) -> str:
        """Why row k cannot be decoded; "" when it can."""
        if self._index.height[plan["index"][k]] == 0:
            return "no readable image header"
        try:
            self._run(plan, np.array([k]))
        except RuntimeError as error:
            return _reason(str(error))
        return ""

    def _build(self) -> Any:
        dali = load_dali()
        fn, types = dali.fn, dali.types
        files = self._source.paths is not None

        # Depth 1: a decode is one call with its own result, and overlap comes from the loader's
        # threads, so nothing is ever prefetched that a jump would have to throw away.
        @dali.pipeline_def(batch_size=self._batch_size, num_threads=self._threads, device_id=None,
                           prefetch_queue_depth=1)
        def crops():  # type: ignore[no-untyped-def]
            data = fn.external_source(name="data", dtype=types.UINT8, ndim=1, batch=True,
                                      no_copy=True)
            box = fn.external_source(name="box", dtype=types.INT32, ndim=1, batch=True)
            encoded = fn.io.file.read(data) if files else data
            return fn.decoders.image_slice(encoded, box[:2], box[2:], axes=[0, 1],
                                           output_type=types.RGB)

        pipe = crops()
        pipe.build()
        return pipe


def _reason(message: str) -> str:
    """The lines of a DALI error that say what is wrong, without its traceback."""
    _, found, rest = message.partition("encountered:")
    lines = [line.strip() for line in (rest if found else message).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Stacktrace", "[frame"))
             and "pipeline object" not in line]
    return lines[0] if lines else "cannot be decoded"
