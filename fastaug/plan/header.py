"""Writes kernels/plan.h, the plan as C sees it: ``python -m fastaug.plan.header``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from ..ops.base import INTERPOLATIONS
from ..ops.holes import HOLE, NOISE_TABLE
from ..ops.policy import MAX_BLUR, MAX_CHAINS, OP, OP_KINDS
from ..ops.sheet import PADDING_MODES
from ..sampling.philox import Stream
from .row import ROW

_TYPES = {"i4": "i32", "u4": "u32", "i8": "i64", "u8": "u64", "f4": "float", "f8": "double"}
_TOP = """\
// A plan as the kernels see it: written by `python -m fastaug.plan.header`, not by hand. What the fields
// mean stands beside the columns of the augmentations (fastaug/ops) and of the plan (plan/batch_plan.py).
#pragma once

#ifdef __CUDACC_RTC__  // NVRTC has no standard headers
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned char u8;
typedef unsigned short u16;
#else
#include <cstdint>
typedef int32_t i32;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;
typedef uint8_t u8;
typedef uint16_t u16;
#endif

#ifdef __CUDACC__
#define FASTAUG_FN static __host__ __device__ __forceinline__
#define FASTAUG_FN_IN __host__ __device__ __forceinline__  // of a struct
#else
#define FASTAUG_FN static inline __attribute__((always_inline))
#define FASTAUG_FN_IN inline __attribute__((always_inline))
#endif
"""


def header() -> str:
    """The text of plan.h.

    Example:
        >>> "struct Row {" in header()
        True
    """
    constants: dict[str, object] = {
        "FASTAUG_NOISE_TABLE": NOISE_TABLE,
        "FASTAUG_MAX_CHAINS": MAX_CHAINS,
        "FASTAUG_MAX_BLUR": MAX_BLUR,
    }
    enums: list[dict[str, object]] = [
        constants,
        {name.upper(): number for number, name in enumerate(INTERPOLATIONS)},
        {f"PAD_{name.upper()}": number for number, name in enumerate(PADDING_MODES)},
        {f"MIX_{name}": number for number, name in enumerate(("NONE", "UP", "CUT", "MASK", "RESIZE"))},
        {f"STREAM_{stream.name}": hex(stream) for stream in (Stream.HIDE_CELLS, Stream.NOISE)},
        {f"OP_{name.upper()}": number for number, name in enumerate(OP_KINDS)},
    ]
    structs = [_struct("Hole", HOLE), _struct("Op", OP), _struct("Row", ROW)]
    fields = "\n".join(f"    F({name}) \\" for name in ROW.names or ()).removesuffix(" \\")
    every = f"#define FASTAUG_ROW_FIELDS(F) \\\n{fields}\n"
    return "\n".join([_TOP, "\n".join(map(_enum, enums)), "", *structs, every])


def _enum(values: dict[str, object]) -> str:
    lines, line = [], "enum {"
    for k, (name, value) in enumerate(values.items()):
        part = f" {name} = {value}" + ("," if k + 1 < len(values) else "")
        if len(line) + len(part) > 108:
            lines.append(line)
            line = "   "
        line += part
    return "\n".join([*lines, line + " };"])


def _struct(name: str, dtype: np.dtype[np.void]) -> str:
    lines = [f"struct {name} {{"]
    for field in dtype.names or ():
        base, shape = dtype[field].subdtype or (dtype[field], ())
        size = "".join(f"[{n}]" for n in shape)
        lines.append(f"    {_TYPES[base.str[1:]]} {field}{size};")
    return "\n".join([*lines, "};", ""])


def main() -> None:
    """Writes the file."""
    Path(str(files("fastaug.kernels"))).joinpath("plan.h").write_text(header())


if __name__ == "__main__":
    main()
