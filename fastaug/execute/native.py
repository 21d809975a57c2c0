"""Carries out plans on the CPU with the compiled kernels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ..decode.canvas import Unscaled
from ..machine.device import Pool
from ..machine.library import NOT_COMPILED, OTHER_VERSION, library
from ..ops.holes import HOLE
from ..ops.policy import OP
from ..plan.batch_plan import BatchPlan
from ..plan.row import ROW
from .output import Output

_PART = 1 << 19  # pixels that are worth a thread's while: a millisecond or two
_POLICY = 8  # a policy's pixel takes so many times as long as one that is normalized
_CODES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.uint8: 3}
_STORAGE = {
    torch.float32: np.float32,
    torch.float16: np.uint16,
    torch.bfloat16: np.uint16,
    torch.uint8: np.uint8,
}


class NativeExecutor:
    """The kernels of ``kernels/`` over a pool of ``threads`` threads (ctypes drops the GIL)."""

    name = "native"
    takes_unscaled = True

    def __init__(self, output: Output, threads: int) -> None:
        lib = library()
        if lib is None:
            raise ImportError(NOT_COMPILED)
        sizes = lib.fastaug_row_bytes(), lib.fastaug_hole_bytes(), lib.fastaug_op_bytes()
        if sizes != (ROW.itemsize, HOLE.itemsize, OP.itemsize):
            raise ImportError(OTHER_VERSION)
        self._lib, self._output, self._threads = lib, output, threads
        self._memory = Pool()
        self._workers = ThreadPoolExecutor(threads, "fastaug-batch")

    def close(self) -> None:
        """Ends the threads."""
        self._workers.shutdown()

    def run(self, plan: BatchPlan, crops: torch.Tensor | Unscaled) -> torch.Tensor:
        """Policies in place on the crops, then masks, mixing and normalisation in one pass: ``[B, 3, H, W]``
        of the output's dtype."""
        o = self._output
        height, width = plan.size
        n = len(plan.rows)
        shape = (n, height, width, 3) if o.channels_last else (n, 3, height, width)
        out = self._memory.take(shape, _STORAGE[o.dtype])
        rows = np.ascontiguousarray(plan.rows)
        pixels, sources, strides = 0, 0, 0
        if isinstance(crops, Unscaled):
            assert not plan.rows["n_ops"].any()
            sources, strides = crops.sources.ctypes.data, crops.strides.ctypes.data
        else:
            crops = crops.contiguous()
            pixels = crops.data_ptr()
        scale, bias, table = o.scale, o.bias, o.noise  # held here while the threads read them
        holes, ops, masks = (np.ascontiguousarray(table) for table in (plan.holes, plan.ops, plan.masks))
        if plan.rows["n_ops"].any():
            self._split(
                n,
                lambda first, last: self._lib.fastaug_policy(
                    pixels,
                    rows.ctypes.data,
                    ops.ctypes.data,
                    first,
                    last,
                    height,
                    width,
                ),
                height * width * _POLICY,
            )

        def work(first: int, last: int) -> None:
            self._lib.fastaug_batch(
                pixels,
                sources,
                strides,
                rows.ctypes.data,
                holes.ctypes.data,
                masks.ctypes.data,
                first,
                last,
                height,
                width,
                plan.seed,
                scale.ctypes.data,
                bias.ctypes.data,
                table.ctypes.data,
                out.ctypes.data,
                _CODES[o.dtype],
                o.channels_last,
            )

        self._split(n, work, height * width)
        images = torch.from_numpy(out)
        if o.dtype in (torch.float16, torch.bfloat16):
            images = images.view(o.dtype)
        return images.permute(0, 3, 1, 2) if o.channels_last else images

    def _split(self, n: int, work, each: int) -> None:  # type: ignore[no-untyped-def]
        """Runs work(first, last) over chunks of the batch, on all threads where it is worth their while.

        Args:
            n: samples.
            work: what is done.
            each: pixels of a sample.
        """
        chunks = max(1, min(n, 4 * self._threads, n * each // _PART)) if self._threads > 1 else 1
        edges = np.linspace(0, n, chunks + 1).astype(int)
        if chunks == 1:
            work(0, n)
        else:
            list(self._workers.map(work, edges[:-1].tolist(), edges[1:].tolist()))
