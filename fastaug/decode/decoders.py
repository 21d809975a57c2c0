"""The decoders, and the router that gives each image to the one that takes it, so that a batch may mix them.
DALI decodes files and encoded bytes: boxes on the CPU, or whole batches on the GPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ..data.source import OF_KIND, PROFILE, FilePath, Item, Kind, Pixels
from ..machine.device import GpuDevice
from ..ops.base import INTERPOLATIONS
from .graphs import Decode, built, crops_graph, images_graph
from .jobs import Canvas, Jobs, axes_of
from .scale import Decoded, PixelDecoder, Scaler

if TYPE_CHECKING:
    from .pillow import PillowDecoder

log = logging.getLogger("fastaug")

# Images of one call on the CPU: so many for each thread, and no fewer than the least. Between calls a batch
# that nobody waits for any more is given up.
_EACH, _LEAST = 32, 64
_UNSAID = ("Failed to decode sample", "nvImageCodec failure")


class Decoder(Protocol):
    """What makes pixels of images. Calls from several threads may be under way at once."""

    def takes(self, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Which images it decodes, by the kinds of their headers (``data.source.Kind``)."""

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """Writes each job's views into their rows of the canvas, or starts threads that do.

        Args:
            jobs: images that it takes.
            canvas: where the pixels go.
            dropped: whether nobody waits for them any more; the rest may then be left out.

        Returns:
            For each job whose image cannot be decoded, why. It raises only for faults of the machine.
        """

    def close(self) -> None:
        """Frees threads and memory; the next call of ``run`` gets them anew."""


class Router:
    """The decoders of an engine.

    Args:
        how: where encoded images are decoded, and DALI's options.
        batch: images of a usual batch.
        threads: for scaling, and for decoding unless ``how`` says another number.
        device: the GPU, where ``how.place`` asks for one.
    """

    def __init__(self, how: Decode, batch: int, threads: int, device: GpuDevice | None) -> None:
        self._scaler, self._how, self._threads = Scaler(threads), how, how.threads or threads
        # On the CPU two calls share the threads, so that cores have work while one batch ends.
        self.lanes = 2 if device is None and self._threads > 1 else 1
        self._pixels, self._dali = PixelDecoder(self._scaler), self._of_dali(batch, device)
        self._pillow: PillowDecoder | None = None  # made when first needed
        self._lock, self._said = threading.Lock(), False

    def _of_dali(self, batch: int, device: GpuDevice | None) -> Decoder:
        if device is None:
            return DaliDecoder(self._how, -(-self._threads // self.lanes), self._scaler)
        return DaliGpuDecoder(self._how, self._threads, batch, device)

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool] = lambda: False) -> dict[int, str]:
        """As ``Decoder.run``: pixels as they are, encoded images by DALI, and by Pillow those that DALI does
        not decode rightly, or refuses; of these Pillow's word is the last."""
        faults: dict[int, str] = {}
        pixels, dali = self._pixels.takes(jobs.kinds), self._dali.takes(jobs.kinds)
        ways = (pixels, self._pixels.run), (dali, self._by_dali), (~pixels & ~dali, self._by_pillow)
        for mask, run in ways:
            which = np.flatnonzero(mask)
            if len(which):
                part = jobs if len(which) == len(jobs) else jobs.take(which)
                faults |= {int(which[k]): why for k, why in run(part, canvas, dropped).items()}
        return faults

    def _by_dali(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        refused = np.array(sorted(self._dali.run(jobs, canvas, dropped)), np.intp)
        if not len(refused):
            return {}
        found = self._by_pillow(jobs.take(refused), canvas, dropped)
        if len(found) < len(refused) and not self._said:
            self._said = True
            log.warning("fastaug: images that DALI refuses are decoded by Pillow, slower; this is said once")
        return {int(refused[k]): why for k, why in found.items()}

    def _by_pillow(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        with self._lock:
            if self._pillow is None:
                from .pillow import PillowDecoder

                self._pillow = PillowDecoder(self._how, self._threads, self._scaler)
        return self._pillow.run(jobs, canvas, dropped)

    def close(self) -> None:
        """Ends the threads."""
        for decoder in (self._pixels, self._dali, self._pillow):
            if decoder is not None:
                decoder.close()
        self._pillow = None
        self._scaler.close()


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
            return use(pipe, [item.data for item in items if not isinstance(item, Pixels)])
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
        how: whether images with a colour profile are left to others.
        threads: of DALI's, for each call of ``run`` that is under way.
        scaler: scales what is decoded.
    """

    def __init__(self, how: Decode, threads: int, scaler: Scaler) -> None:
        self._how = how
        self._scaler, self._chunk = scaler, max(_LEAST, _EACH * threads)

        def make(batch: int, files: bool) -> Any:
            return crops_graph(files=files, batch_size=batch, threads=threads)

        self._pipes = _Pipes(make)

    def takes(self, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """What DALI decodes rightly."""
        return _takes(kinds, self._how)

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

    def takes(self, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """What DALI decodes rightly."""
        return _takes(kinds, self._how)

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """Decodes and scales, all at once where no image is bad; see ``Decoder.run``."""
        faults: dict[int, str] = {}
        for kind in np.unique(jobs.views["filter"]).tolist():
            which = jobs.views["job"][jobs.views["filter"] == kind]
            try:
                self._place(jobs, which, kind, canvas)
            except _Refused:
                self._device.mark().query()  # raises where the device itself is broken
                faults |= {
                    int(k): reason for k in which if (reason := self._fault(jobs, k, kind, canvas.size))
                }
                good = np.array([k for k in which if k not in faults], np.intp)
                if len(good):
                    self._place(jobs, good, kind, canvas)
        return faults

    def _place(self, jobs: Jobs, which: npt.NDArray[np.intp], kind: int, canvas: Canvas) -> None:
        """Decodes some jobs, once for each of their views, onto the canvas."""
        views = jobs.views[np.isin(jobs.views["job"], which) & (jobs.views["filter"] == kind)]
        canvas.place(views["row"].astype(np.intp), self._images(jobs, views, kind, canvas.size))

    def _fault(self, jobs: Jobs, k: int, kind: int, size: tuple[int, int]) -> str:
        """Why a job cannot be decoded; "" when it can."""
        try:
            self._images(jobs, jobs.views[jobs.views["job"] == k][:1], kind, size)
        except _Refused as error:
            return str(error)
        return ""

    def _images(
        self, jobs: Jobs, views: npt.NDArray[np.void], kind: int, size: tuple[int, int]
    ) -> torch.Tensor:
        """The views' images: uint8 ``[V, H, W, 3]``."""

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
            return self._device.run(pipe, data=data, box=jobs.boxes[job], roi=shown_regions(views, size))

        job = views["job"]
        pipes = self._pipes.setdefault((size, kind), _Pipes(make))
        images: torch.Tensor = pipes.run([jobs.items[k] for k in job], self._batch, use)
        return images

    def close(self) -> None:
        """Frees DALI's threads and memory."""
        for pipes in self._pipes.values():
            pipes.close()


def _takes(kinds: npt.NDArray[np.uint8], how: Decode) -> npt.NDArray[np.bool_]:
    """What DALI decodes rightly; profiles, which it ignores, only where they are ignored."""
    plain = kinds & OF_KIND
    encoded: npt.NDArray[np.bool_] = (plain != Kind.PIXELS) & (plain != Kind.OTHER)
    return encoded & (kinds & PROFILE == 0) if how.icc else encoded


def shown_regions(views: npt.NDArray[np.void], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """What outputs show of the decoded boxes: float32 ``[V, 4]``, (y0, x0, y1, x1) in pixels of the box;
    mirrored where the first is larger than the second.

    Args:
        views: VIEW ``[V]``.
        size: (height, width) of the output.
    """
    roi = np.empty((len(views), 4), np.float32)
    for k, (axis, length) in enumerate(zip(axes_of(views, size), size, strict=True)):
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
