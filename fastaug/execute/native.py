"""Carries out plans on the CPU with the compiled kernels."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from ..decode.decoder import Crops
from ..plan.batch_plan import OP, ROW, BatchPlan
from .output import Output, noise_table
from .pool import Pool

_CODES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.uint8: 3}
_STORAGE = {
    torch.float32: np.float32,
    torch.float16: np.uint16,
    torch.bfloat16: np.uint16,
    torch.uint8: np.uint8,
}
NOT_COMPILED = (
    "the CPU kernels are not compiled, so this installation has no executor='native'; install a C++ "
    "compiler (Debian: apt install g++) and run `pip install --force-reinstall --no-deps fastaug`, "
    "or use executor='kornia'"
)


def library_file() -> Path:
    """Where the compiled kernels are: one name, whatever Python built them, since ctypes loads them."""
    return Path(str(files("fastaug.kernels"))) / "_native.abi3.so"


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where the installation has none."""
    path = library_file()
    if not path.exists():
        return None
    lib = ctypes.CDLL(str(path))
    pointer, i32, i64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    lib.fastaug_batch.restype = lib.fastaug_resample.restype = None
    lib.fastaug_batch.argtypes = [
        pointer,
        pointer,
        i64,
        i64,
        i32,
        i32,
        ctypes.c_uint64,
        pointer,
        pointer,
        pointer,
        pointer,
        i32,
        i32,
    ]
    lib.fastaug_resample.argtypes = [pointer, pointer, pointer, i64, i64, i32, i32, pointer]
    lib.fastaug_resample_passes.restype = i32
    lib.fastaug_policy.restype = None
    lib.fastaug_policy.argtypes = [pointer, pointer, pointer, i32, i64, i64, i32, i32]
    lib.fastaug_op_bytes.restype = i64
    lib.fastaug_row_bytes.restype = lib.fastaug_row_offset.restype = i64
    if (lib.fastaug_row_bytes(), lib.fastaug_op_bytes()) != (ROW.itemsize, OP.itemsize):
        raise ImportError(
            "the compiled kernels are of another version of fastaug than its Python "
            "code; install fastaug again"
        )
    return lib


class NativeExecutor:
    """The kernels of ``kernels/`` over a pool of ``threads`` threads (ctypes drops the GIL)."""

    name = "native"

    def __init__(self, output: Output, threads: int) -> None:
        lib = library()
        if lib is None:
            raise ImportError(NOT_COMPILED)
        self._lib, self._output, self._threads = lib, output, threads
        self._memory = Pool()
        self._workers = ThreadPoolExecutor(threads, "fastaug-batch")

    def close(self) -> None:
        """Ends the threads."""
        self._workers.shutdown()

    def resample(self, plan: BatchPlan, crops: Crops, out: torch.Tensor | None = None) -> torch.Tensor:
        """The crops at the output's size, flipped where the plan says: uint8 ``[B, H, W, 3]``."""
        height, width = plan.size
        if out is None:
            out = torch.from_numpy(self._memory.take((len(plan), height, width, 3), np.uint8))
        rows, at = np.ascontiguousarray(plan.rows), out.data_ptr()

        def work(first: int, last: int) -> None:
            self._lib.fastaug_resample(
                crops.pointers.ctypes.data,
                crops.strides.ctypes.data,
                rows.ctypes.data,
                first,
                last,
                height,
                width,
                at,
            )

        self._split(len(plan), work)
        return out

    def run(self, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
        """Policies in place on the crops, then masks, mixing and normalisation in one pass: ``[B, 3, H, W]``
        of the output's dtype."""
        o = self._output
        height, width = plan.size
        n = len(plan)
        shape = (n, height, width, 3) if o.channels_last else (n, 3, height, width)
        out = self._memory.take(shape, _STORAGE[o.dtype])
        rows = np.ascontiguousarray(plan.rows)
        crops = crops.contiguous()
        scale, bias, table = o.scale, o.bias, noise_table()  # held here while the threads read them
        ops = np.ascontiguousarray(plan.ops)
        if plan["n_ops"].any():
            self._split(
                n,
                lambda first, last: self._lib.fastaug_policy(
                    crops.data_ptr(),
                    rows.ctypes.data,
                    ops.ctypes.data,
                    ops.shape[1],
                    first,
                    last,
                    height,
                    width,
                ),
            )

        def work(first: int, last: int) -> None:
            self._lib.fastaug_batch(
                crops.data_ptr(),
                rows.ctypes.data,
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

        self._split(n, work)
        images = torch.from_numpy(out)
        if o.dtype in (torch.float16, torch.bfloat16):
            images = images.view(o.dtype)
        return images.permute(0, 3, 1, 2) if o.channels_last else images

    def _split(self, n: int, work) -> None:  # type: ignore[no-untyped-def]
        """Runs work(first, last) over chunks of the batch, on all threads."""
        chunks = min(n, 4 * self._threads) if self._threads > 1 else 1
        edges = np.linspace(0, n, chunks + 1).astype(int)
        if chunks == 1:
            work(0, n)
        else:
            list(self._workers.map(work, edges[:-1].tolist(), edges[1:].tolist()))
