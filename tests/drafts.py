"""Plans written by hand."""

from __future__ import annotations

import numpy as np

from fastaug.ops.base import Draft
from fastaug.plan.batch_plan import BatchPlan
from fastaug.plan.planner import finished
from fastaug.plan.row import ROW
from fastaug.sampling.philox import U32, Keys


def draft_of(n: int, size: tuple[int, int]) -> Draft:
    """A draft of n rows to which nothing happens."""
    rows = np.zeros(n, ROW)
    rows["partner"], rows["lam"] = np.arange(n), 1
    keys = Keys(0, np.arange(n, dtype=U32))
    return Draft(rows, np.arange(n), keys, keys, size, 0)


def plan_from(draft: Draft) -> BatchPlan:
    return finished(draft, 0, 0)
