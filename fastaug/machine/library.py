"""The compiled CPU kernels: found, loaded, and their functions' types declared."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.resources import files
from pathlib import Path

NOT_COMPILED = (
    "the CPU kernels are not compiled, so this installation has no executor='native'; install a C++ "
    "compiler (Debian: apt install g++) and run `pip install --force-reinstall --no-deps fastaug`, "
    "or use executor='kornia'"
)
OTHER_VERSION = (
    "the compiled kernels are of another version of fastaug than its Python code; install fastaug again"
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
    lib.fastaug_batch.restype = lib.fastaug_policy.restype = lib.fastaug_scale.restype = None
    lib.fastaug_batch.argtypes = [
        pointer,
        pointer,
        pointer,
        pointer,
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
    lib.fastaug_policy.argtypes = [pointer, pointer, pointer, i64, i64, i32, i32]
    lib.fastaug_scale.argtypes = [pointer, i64]
    lib.fastaug_stamps.restype = lib.fastaug_words.restype = lib.fastaug_permuted.restype = None
    lib.fastaug_permuted.argtypes = [pointer, i64, i64, i32, pointer, i32, pointer]
    lib.fastaug_words.argtypes = [
        pointer,
        pointer,
        pointer,
        i64,
        ctypes.c_uint32,
        i64,
        ctypes.c_uint64,
        pointer,
    ]
    lib.fastaug_stamps.argtypes = [pointer, pointer, pointer, i64, pointer]
    lib.fastaug_jpeg.restype = lib.fastaug_jpeg_index.restype = None
    lib.fastaug_jpeg.argtypes = lib.fastaug_jpeg_index.argtypes = [pointer, i64, pointer, i64]
    lib.fastaug_scale_passes.restype = lib.fastaug_jpeg_kernels.restype = i32
    lib.fastaug_row_bytes.restype = lib.fastaug_row_offset.restype = i64
    lib.fastaug_hole_bytes.restype = lib.fastaug_op_bytes.restype = lib.fastaug_scaling_bytes.restype = i64
    lib.fastaug_jpeg_job_bytes.restype = i64
    return lib
