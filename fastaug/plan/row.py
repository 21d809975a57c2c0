"""A plan's row: the columns of all augmentations."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import OPERATIONS


def _row() -> np.dtype[Any]:
    """What a plan says of a sample: its keys, and the columns of all augmentations."""
    fields: dict[str, Any] = {"index": "i8", "epoch": "u4", "occurrence": "u4", "repeat": "i4"}
    for op in OPERATIONS:
        for name in op.columns.names or ():
            known = fields.setdefault(name, op.columns[name])
            assert known == op.columns[name], f"two augmentations have other columns {name}"
    return np.dtype(list(fields.items()), align=True)


# One row a sample. index: its number in its source. epoch: low 20 bits the epoch, high 12 the rank under a
# user's own sampler. occurrence: 0 the first time that an epoch visits the sample (16 bits), above it the
# view (8 bits). repeat 1: pads the last batch so that all ranks have equally many. The rest is the
# augmentations' (ops/). C sees the same as kernels/plan.h, which ``python -m fastaug.plan.header`` writes.
ROW = _row()
