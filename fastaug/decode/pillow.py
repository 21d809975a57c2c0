"""Decodes by Pillow what DALI does not decode, or not rightly: slower, and with Pillow's pixels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from ..data.formats import unsupported
from ..data.pillow import Undecodable, pixels_of
from ..data.scanned import read
from ..data.source import Cropped, FilePath, Item, Pixels
from ..machine.limits import with_remedy
from .canvas import Canvas
from .graphs import Decode
from .jobs import Jobs
from .scale import PixelDecoder, Scaler


class PillowDecoder:
    """Whole images, on threads of its own; the scaler takes their boxes from there.

    Args:
        how: what becomes of cut files and of colour profiles.
        threads: how many images at once.
        scaler: scales what is decoded.
    """

    def __init__(self, how: Decode, threads: int, scaler: Scaler) -> None:
        self._how, self._pixels = how, PixelDecoder(scaler)
        self._pool = ThreadPoolExecutor(threads, "fastaug-pillow")  # starts threads when there is work

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """Decodes, and starts scaling; see ``Decoder.run``."""

        def one(k: int) -> Pixels | str | None:
            return None if dropped() else self._box(jobs.items[k], jobs.boxes[k])

        try:
            found = list(self._pool.map(one, range(len(jobs))))
        except RuntimeError as error:
            raise with_remedy(error) from error
        good = np.array([k for k, item in enumerate(found) if isinstance(item, Pixels)], np.intp)
        if len(good):
            part = jobs.take(good)
            boxes = part.boxes.copy()
            boxes[:, :2] = 0  # cut out already
            items = [item for item in found if isinstance(item, Pixels)]
            self._pixels.run(Jobs(items, part.kinds, boxes, part.views), canvas, dropped)
        return {k: item for k, item in enumerate(found) if isinstance(item, str)}

    def _box(self, item: Item, box: npt.NDArray[np.int32]) -> Pixels | str:
        """The pixels of a box, or why there are none."""
        image = whole_image(item, self._how)
        if isinstance(image, str):
            return image
        y, x, h, w = box.tolist()
        if y + h > image.shape[0] or x + w > image.shape[1]:
            return f"damaged: {image.shape[0]}x{image.shape[1]} pixels, and its header says more"
        return Pixels(np.ascontiguousarray(image[y : y + h, x : x + w]))

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()


def whole_image(item: Item, how: Decode) -> npt.NDArray[np.uint8] | str:
    """An encoded image as Pillow shows it, uint8 ``[H, W, 3]``, or why there is none.

    Raises:
        OSError: for faults of the machine.
    """
    assert not isinstance(item, (Pixels, Cropped))
    data = item.data
    if isinstance(item, FilePath):
        file = read(data.tobytes())
        if file.reason:
            return file.reason
        data = file.data
    try:
        return pixels_of(data, how.truncated, how.icc)
    except Undecodable as error:
        kind = unsupported(data)
        cut = "truncated" in str(error)
        return f"not supported: {kind} ({error})" if kind and not cut else f"damaged: {error}"
