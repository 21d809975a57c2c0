"""Gives each image to the decoder that takes it, so that a batch may mix them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..machine.device import GpuDevice
from .dali import DaliDecoder, DaliGpuDecoder
from .graphs import Decode
from .jobs import Canvas, Jobs
from .pixels import PixelDecoder
from .scale import Scaler


class Decoder(Protocol):
    """What makes pixels of images. Calls from several threads may be under way at once."""

    def takes(self, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Which images it decodes, by the kinds of their headers (``data.source.Kind``)."""

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """Writes each job's views into their rows of the canvas.

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
        threads: for decoding, unless ``how`` says another number.
        scaling: threads for scaling.
        device: the GPU, where ``how.place`` asks for one.
    """

    def __init__(self, how: Decode, batch: int, threads: int, scaling: int, device: GpuDevice | None) -> None:
        threads = how.threads or threads
        # On the CPU two calls share the threads, so that cores have work while one batch ends.
        self.lanes = 2 if device is None and threads > 1 else 1
        self._scaler = Scaler(scaling)
        encoded: Decoder
        if device is None:
            encoded = DaliDecoder(-(-threads // self.lanes), self._scaler)
        else:
            encoded = DaliGpuDecoder(how, threads, batch, device)
        self._decoders: Sequence[Decoder] = (PixelDecoder(self._scaler), encoded)

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool] = lambda: False) -> dict[int, str]:
        """As ``Decoder.run``, each job by the first decoder that takes it."""
        faults: dict[int, str] = {}
        left = np.ones(len(jobs), bool)
        for decoder in self._decoders:
            which = np.flatnonzero(left & decoder.takes(jobs.kinds))
            left[which] = False
            if len(which):
                part = jobs if len(which) == len(jobs) else jobs.take(which)
                faults |= {int(which[k]): why for k, why in decoder.run(part, canvas, dropped).items()}
        return faults

    def close(self) -> None:
        """Ends the threads."""
        for decoder in self._decoders:
            decoder.close()
        self._scaler.close()
