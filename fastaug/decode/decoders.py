"""The router, which gives each image to the decoder that takes it: a batch may mix them."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..data.source import OF_KIND, PROFILE, Cropped, Kind
from ..machine.device import GpuDevice
from ..machine.library import library
from .canvas import Canvas
from .graphs import Decode, load_dali
from .jobs import Jobs
from .jpeg import JpegDecoder, sequential
from .scale import PixelDecoder, Scaler

log = logging.getLogger("fastaug")

_closes: list[weakref.WeakMethod[Callable[[], None]]] = []
Run = Callable[[Jobs, Canvas, Callable[[], bool]], dict[int, str]]


class Decoder(Protocol):
    """What makes pixels of images. Calls from several threads may be under way at once."""

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
        how: which decoders, and their options.
        batch: images of a usual batch.
        threads: for scaling, and for decoding unless ``how`` says another number.
        device: the GPU, where ``how.place`` asks for one.
    """

    def __init__(self, how: Decode, batch: int, threads: int, device: GpuDevice | None) -> None:
        self._scaler, self._how, self._threads = Scaler(threads), how, how.threads or threads
        self._batch, self._device = batch, device
        # On the CPU two calls share the threads, so that cores have work while one batch ends.
        self.lanes = 2 if device is None and self._threads > 1 else 1
        self._pixels = PixelDecoder(self._scaler)
        own = how.place in ("auto", "cpu") and library() is not None
        self._jpeg = JpegDecoder(how, self._threads) if own else None
        self._dali: Decoder | None = None  # this and the next are made when first needed
        self._pillow: Decoder | None = None
        self._lock, self._said = threading.Lock(), False

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool] = lambda: False) -> dict[int, str]:
        """As ``Decoder.run``: pixels as they are; JPEGs by the box decoder, where it takes them; else encoded
        images by DALI; and by Pillow those that DALI does not decode rightly, or refuses."""
        pixels, other = self._pixels.takes(jobs.kinds), of_pillow(jobs.kinds, self._how)
        cropped = jobs.kinds == Kind.CROPPED
        jpeg = ~other & sequential(jobs.kinds) if self._jpeg else np.zeros(len(jobs), bool)
        ways = (
            (cropped, _copied),
            (pixels, self._pixels.run),
            (jpeg, self._by_jpeg),
            (other, self._by_pillow),
            (~cropped & ~pixels & ~jpeg & ~other, self._by_dali),
        )
        faults: dict[int, str] = {}
        for mask, run in ways:
            which = np.flatnonzero(mask)
            if len(which):
                part = jobs if len(which) == len(jobs) else jobs.take(which)
                faults |= {int(which[k]): why for k, why in run(part, canvas, dropped).items()}
        return faults

    def _by_jpeg(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """The box decoder; what it refuses goes to DALI, but for damage where that is not to be read past."""
        assert self._jpeg is not None
        canvas.by("box", jobs)
        faults, refused = self._jpeg.decode(jobs, canvas, dropped)
        return faults | self._then(self._by_dali, jobs, refused, canvas, dropped)

    def _by_dali(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """DALI; of what it refuses, Pillow's word is the last."""
        with self._lock:
            if self._dali is None:
                self._dali = self._of_dali()
        canvas.by("DALI", jobs)
        refused = self._dali.run(jobs, canvas, dropped)
        found = self._then(self._by_pillow, jobs, refused, canvas, dropped)
        if len(found) < len(refused) and not self._said:
            self._said = True
            log.warning("fastaug: images that DALI refuses are decoded by Pillow, slower; this is said once")
        return found

    def _by_pillow(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        with self._lock:
            if self._pillow is None:
                from .pillow import PillowDecoder

                self._pillow = PillowDecoder(self._how, self._threads, self._scaler)
        canvas.by("Pillow", jobs)
        return self._pillow.run(jobs, canvas, dropped)

    @staticmethod
    def _then(
        run: Run, jobs: Jobs, refused: Iterable[int], canvas: Canvas, dropped: Callable[[], bool]
    ) -> dict[int, str]:
        """What a following decoder says of the jobs that one has refused."""
        which = np.array(sorted(refused), np.intp)
        found = run(jobs.take(which), canvas, dropped) if len(which) else {}
        return {int(which[k]): why for k, why in found.items()}

    def _of_dali(self) -> Decoder:
        from .dali import DaliDecoder, DaliGpuDecoder

        load_dali()
        atexit.register(_close_all)  # after DALI's own, so that it runs before
        if self._device is None:
            return DaliDecoder(-(-self._threads // self.lanes), self._scaler)
        return DaliGpuDecoder(self._how, self._threads, self._batch, self._device)

    def close(self) -> None:
        """Ends the threads."""
        for decoder in (self._pixels, self._jpeg, self._dali, self._pillow):
            if decoder is not None:
                decoder.close()
        self._dali = self._pillow = None
        self._scaler.close()


def _copied(jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
    """Outputs that are made already."""
    for row, job in zip(jobs.views["row"].tolist(), jobs.views["job"].tolist(), strict=True):
        item = jobs.items[job]
        assert isinstance(item, Cropped)
        canvas.image(row)[:] = item.views[row // canvas.count]
    return {}


def of_pillow(kinds: npt.NDArray[np.uint8], how: Decode) -> npt.NDArray[np.bool_]:
    """Which images Pillow decodes at once: kinds that DALI does not decode rightly and, where profiles are
    converted, images with one."""
    other: npt.NDArray[np.bool_] = kinds & OF_KIND == Kind.OTHER
    return other | (kinds & PROFILE > 0) if how.icc else other


def close_at_exit(close: Callable[[], None]) -> None:
    """Has a method called when the process ends, before DALI shuts pipelines down that are still in use."""
    _closes[:] = [known for known in _closes if known() is not None] + [weakref.WeakMethod(close)]


def _close_all() -> None:
    for close in [known() for known in _closes]:
        if close is not None:
            close()


atexit.register(_close_all)
