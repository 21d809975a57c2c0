"""kernels/plan.h is what the augmentations' columns make it."""

from __future__ import annotations

import itertools
from importlib.resources import files
from pathlib import Path

from fastaug.machine.library import library
from fastaug.ops import OPERATIONS
from fastaug.ops.holes import HOLE
from fastaug.ops.policy import OP
from fastaug.plan.header import header
from fastaug.plan.row import ROW
from fastaug.sampling.philox import STREAMS_EACH, Stream


def test_the_header_is_the_columns():
    """``python -m fastaug.plan.header`` writes it anew."""
    assert Path(str(files("fastaug.kernels"))).joinpath("plan.h").read_text() == header()


def test_the_compiler_lays_records_out_as_numpy_does():
    lib = library()
    assert lib is not None, "the kernels are not compiled"
    sizes = lib.fastaug_row_bytes(), lib.fastaug_hole_bytes(), lib.fastaug_op_bytes()
    assert sizes == (ROW.itemsize, HOLE.itemsize, OP.itemsize)
    offsets = [ROW.fields[name][1] for name in ROW.names]
    assert [lib.fastaug_row_offset(k) for k in range(len(offsets) + 1)] == [*offsets, -1]


def test_a_row_is_small():
    """Holes and operations are in tables of their own."""
    assert ROW.itemsize <= 336


def test_kinds_have_streams_of_their_own():
    first = {op.stream for op in OPERATIONS if op.stream is not None}
    others = {int(stream) for stream in Stream} - first
    used = sorted(first | others)
    assert all(b - a >= STREAMS_EACH for a, b in itertools.pairwise(used))
    shared = (Stream.POLICY, Stream.CROP, Stream.CHOICE)
    for stream in shared:  # those that share streams are one kind
        assert len({op.columns for op in OPERATIONS if op.stream == stream}) == 1
    alone = [op.stream for op in OPERATIONS if op.stream not in (None, *shared)]
    assert len(alone) == len(set(alone))
