"""DALI's decoders, of files and of encoded bytes: boxes on the CPU, or whole batches on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.source import Encoded, FilePath, Item
from ..machine.device import GpuDevice
from ..ops.base import INTERPOLATIONS
from .canvas import Canvas, Size
from .graphs import Decode, built, crops_graph, images_graph
from .jobs import Jobs, axes_of
from .scale import Decoded, Scaler

# Images of one call on the CPU: so many for each thread, and no fewer than the least. Between calls a batch
# that nobody waits for any more is given up.
_EACH, _LEAST = 32, 64
_UNSAID = ("Failed to decode sample", "nvImageCodec failure")


class _Refused(Exception):
    """What DALI says of images that it does not decode."""


class _Pipes:
    """Pipelines of one graph, built when first needed, each used by one thread at a time.

    Args:
        make: builds one for batches of so many images, of files or of encoded bytes.
    """

    def __init__(self, make: Callable[[int, bool], Any]) -> None:
        self._make = make
        self._free: dict[bool, SimpleQueue[Any]] = {True: SimpleQueue(), False: SimpleQueue()}

    def run(self, items: Sequence[Item], batch: int, use: Callable[[Any, Sequence[Any]], Any]) -> Any:
        """What ``use`` returns, given a pipeline for at least ``batch`` images and the images' bytes or
        paths.

        Raises:
            _Refused: when ``use`` fails; the pipeline's own building fails as what it is.
        """
        files = isinstance(items[0], FilePath)
        try:
            pipe = self._free[files].get_nowait()
        except Empty:
            pipe = None
        if pipe is None or pipe.max_batch_size < len(items):
            pipe = built(self._make(max(batch, len(items)), files))
        try:
            return use(pipe, [item.data for item in items if isinstance(item, (FilePath, Encoded))])
        except RuntimeError as error:
            raise _Refused(reason_of(str(error))) from error
        finally:
            self._free[files].put(pipe)

    def close(self) -> None:
        """Frees threads and memory, but for what a call under way still uses."""
        for pipes in self._free.values():
            with suppress(Empty):
                while True:
                    pipes.get_nowait()


class DaliDecoder:
    """Decodes boxes on the CPU, of JPEGs only the part where the box is; the scaler takes them from there.

    EXIF orientation is applied, alpha is dropped, gray and CMYK become RGB, 16-bit samples keep their
    high byte.

    Args:
        threads: of DALI's, for each call of ``run`` that is under way.
        scaler: scales what is decoded.
    """

    def __init__(self, threads: int, scaler: Scaler) -> None:
        self._scaler, self._chunk = scaler, max(_LEAST, _EACH * threads)

        def make(batch: int, files: bool) -> Any:
            return crops_graph(files=files, batch_size=batch, threads=threads)

        self._pipes = _Pipes(make)

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """Decodes, and starts scaling; see ``Decoder.run``."""
        faults: dict[int, str] = {}
        for begin in range(0, len(jobs), self._chunk):
            if dropped():
                break
            part = jobs.take(np.arange(begin, min(begin + self._chunk, len(jobs))))
            good = np.arange(len(part))
            try:
                decoded = self._decode(part)
            except _Refused:  # one by one, to learn which it was
                alone = [self._alone(part, k) for k in good.tolist()]
                faults |= {begin + k: fault for k, fault in enumerate(alone) if isinstance(fault, str)}
                for k, one in enumerate(alone):
                    if not isinstance(one, str):
                        self._scaler.start(part.take(good[k : k + 1]), one, canvas)
            else:
                self._scaler.start(part, decoded, canvas)
        return faults

    def _alone(self, jobs: Jobs, k: int) -> Decoded | str:
        try:
            return self._decode(jobs.take(np.array([k])))
        except _Refused as error:
            return str(error)

    def _decode(self, jobs: Jobs) -> Decoded:
        def use(pipe: Any, data: Sequence[Any]) -> Any:
            return pipe.run(data=data, box=jobs.boxes)[0]

        images = self._pipes.run(jobs.items, self._chunk, use)
        pointers = np.array([image.data_ptr() for image in images], np.uint64)
        return Decoded(pointers, jobs.boxes[:, 3].astype(np.int64) * 3, images)

    def close(self) -> None:
        """Frees DALI's threads and memory."""
        self._pipes.close()


class DaliGpuDecoder:
    """Decodes whole images with nvJPEG and scales them in the same graph, on the current stream.

    Args:
        how: DALI's options.
        threads: of DALI's.
        batch: images of a usual batch; the graph is built anew for a larger one.
        device: the GPU.
    """

    def __init__(self, how: Decode, threads: int, batch: int, device: GpuDevice) -> None:
        self._how, self._threads, self._batch, self._device = how, threads, batch, device
        self._pipes: dict[tuple[tuple[int, int], int], _Pipes] = {}  # by size and filter

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """Decodes and scales, all at once where no image is bad; see ``Decoder.run``."""
        faults: dict[int, str] = {}
        number = jobs.views["row"] // canvas.count
        for view, size in enumerate(canvas.sizes):
            for kind in np.unique(jobs.views["filter"][number == view]).tolist():
                views = jobs.views[(number == view) & (jobs.views["filter"] == kind)]
                views = views[~np.isin(views["job"], list(faults))]
                try:
                    self._place(jobs, views, view, canvas)
                except _Refused:
                    self._device.mark().query()  # raises where the device itself is broken
                    reasons = {int(v["job"]): self._fault(jobs, v, size) for v in views}
                    faults |= {k: reason for k, reason in reasons.items() if reason}
                    good = views[~np.isin(views["job"], list(faults))]
                    self._place(jobs, good, view, canvas)
        return faults

    def _place(self, jobs: Jobs, views: npt.NDArray[np.void], view: int, canvas: Canvas) -> None:
        """Decodes an image for each of some views onto the canvas."""
        if len(views):
            canvas.place(view, views["row"].astype(np.intp), self._images(jobs, views, canvas.sizes[view]))

    def _fault(self, jobs: Jobs, view: np.void, size: Size) -> str:
        """Why a view's image cannot be decoded; "" when it can."""
        try:
            self._images(jobs, np.array([view]), size)
        except _Refused as error:
            return str(error)
        return ""

    def _images(self, jobs: Jobs, views: npt.NDArray[np.void], size: Size) -> torch.Tensor:
        """The images of views with one filter: uint8 ``[V, H, W, 3]``."""
        kind, job = int(views["filter"][0]), views["job"]
        boxes = views["box"].copy()
        boxes[:, :2] += jobs.boxes[job, :2]

        def make(batch: int, files: bool) -> Any:
            return images_graph(
                self._how,
                self._device.decoding,
                files=files,
                size=size,
                batch_size=batch,
                threads=self._threads,
                interpolation=INTERPOLATIONS[kind],
            )

        def use(pipe: Any, data: Sequence[Any]) -> torch.Tensor:
            return self._device.run(pipe, data=data, box=boxes, roi=shown_regions(views))

        pipes = self._pipes.setdefault((size, kind), _Pipes(make))
        images: torch.Tensor = pipes.run([jobs.items[k] for k in job], self._batch, use)
        return images

    def close(self) -> None:
        """Frees DALI's threads and memory."""
        for pipes in self._pipes.values():
            pipes.close()


def shown_regions(views: npt.NDArray[np.void]) -> npt.NDArray[np.float32]:
    """What outputs show of their boxes: float32 ``[V, 4]``, (y0, x0, y1, x1) in pixels of the box; mirrored
    where the first is larger than the second.

    Args:
        views: VIEW ``[V]``.
    """
    roi = np.empty((len(views), 4), np.float32)
    for k, (axis, length) in enumerate(zip(axes_of(views), views["size"].T, strict=True)):
        low, high = axis.start, axis.start + axis.step * length
        roi[:, k] = np.where(axis.mirrored, high, low)
        roi[:, k + 2] = np.where(axis.mirrored, low, high)
    return roi


def reason_of(message: str) -> str:
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
