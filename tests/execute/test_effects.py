"""What an executor lacks is refused by name, before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import fastaug as fa
from fastaug.execute import effects
from fastaug.ops import OPERATIONS
from fastaug.ops.base import Stage
from fastaug.plan import planner
from fastaug.plan.row import ROW


@dataclass(frozen=True)
class Stripes(fa.Augmentation):
    """A mask that nobody has written a kernel for."""

    stage: ClassVar[Stage] = Stage.MASK
    stream: ClassVar[int | None] = 0xF8
    columns: ClassVar[np.dtype[Any]] = np.dtype([("stripes", "i4")])


DATA = np.zeros((2, 8, 8, 3), np.uint8), [0, 1]


def test_a_mask_that_no_executor_has_is_refused(monkeypatch):
    monkeypatch.setattr(planner, "OPERATIONS", (*OPERATIONS, Stripes))
    for augment in ([Stripes()], [fa.OneOf([fa.Cutout(2), Stripes()])]):
        with pytest.raises(ValueError, match=r"executor='native' does not carry out Stripes \(its stripes\)"):
            fa.loader(DATA, augment=augment, executor="native")


def test_the_executor_that_has_it_is_named(monkeypatch):
    monkeypatch.setattr(planner, "OPERATIONS", (*OPERATIONS, Stripes))
    monkeypatch.setitem(effects.CARRIED_OUT, "kornia", effects.CARRIED_OUT["kornia"] | {"stripes"})
    with pytest.raises(ValueError, match="use executor='kornia'"):
        fa.loader(DATA, augment=[Stripes()], executor="native")
    monkeypatch.setitem(effects.CARRIED_OUT, "native", effects.CARRIED_OUT["native"] | {"stripes"})
    fa.loader(DATA, augment=[Stripes()], executor="native")


def test_every_column_is_carried_out_by_somebody():
    keys = {"index", "epoch", "occurrence", "repeat"}
    for name, columns in effects.CARRIED_OUT.items():
        if name == "tensors":  # colours need bytes
            columns = columns | effects.CARRIED_OUT["native"]
        assert set(ROW.names) == keys | columns | effects.VIEW_COLUMNS
