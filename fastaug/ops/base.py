"""What an augmentation is: parameters, a stage, random streams, the columns of a plan that it fills, and how
it draws and describes them. Pixels are the executors' concern.

Fills are in output units: with Normalize, 0 is the mean colour; without it 0 is black.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..checks import one_of, plain
from ..sampling.philox import Keys

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.void]
Fill = float | tuple[float, float, float]
Per = Literal["batch", "pair", "sample"]

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")  # by their numbers in a plan
MOST_ENTRIES = 64  # of a sample in one of a plan's side tables
NOTHING = np.dtype([])


class Stage(IntEnum):
    """Where an augmentation stands in a list."""

    GEOMETRY = 0
    POLICY = 1
    MASK = 2
    MIX = 3
    NORMALIZE = 4


STAGE_NAMES = ("geometry and flip", "policy", "masks", "mixing", "Normalize")


@dataclass(frozen=True)
class Augmentation:
    """Base of everything that may stand in ``augment=[...]``: a frozen dataclass that checks its values.

    Names and defaults are torchvision's where torchvision has the augmentation, the original paper's
    otherwise.

    Attributes:
        stage: where it stands in a list.
        stream: the first of eight random streams (``philox``) that are its kind's; None: it draws nothing.
        columns: those of a plan's rows that it fills.
        bounds: the least and the most that a column may hold, where each row alone decides (``plan.check``).
        table: the side table that it adds to ("holes" or "ops"), where its number of entries varies.
        heading: over what ``describe`` says.
        once: whether a list may hold one only.

    Example:
        >>> import fastaug
        >>> fastaug.Cutout(16).stage.name, fastaug.Cutout(16).columns.names
        ('MASK', ('first_hole', 'n_holes'))
    """

    stage: ClassVar[Stage] = Stage.GEOMETRY
    stream: ClassVar[int | None] = None
    columns: ClassVar[np.dtype[Any]] = NOTHING
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}
    table: ClassVar[str] = ""
    heading: ClassVar[str] = ""
    once: ClassVar[bool] = False
    blends: ClassVar[bool] = False  # pixels to fractions
    keeps_places: ClassVar[bool] = False  # it moves no pixels, and does the same to a mirrored image

    @property
    def most(self) -> int:
        """The most entries that a sample gets in the side table."""
        return 0

    def check_size(self, size: tuple[int, int]) -> None:
        """Raises a ValueError when images of this (height, width) are too small for it."""

    def draw(self, draft: Draft, step: Step) -> None:
        """Fills its columns, and adds its entries, for all rows of a draft at once."""

    @classmethod
    def describe(cls, sample: Sample) -> str:
        """What a plan's row says of it, for people; "" for nothing."""
        return ""

    def __post_init__(self) -> None:
        fields = dataclasses.fields(self)
        self._set(**{field.name: plain(getattr(self, field.name)) for field in fields if field.init})
        self._check()

    def _check(self) -> None:
        """Reads and checks its parameters."""

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Step:
    """An augmentation of a list, with the stream that its draws come from.

    Attributes:
        op: the augmentation.
        stream: its own, among those of its kind.
        members: of a OneOf or RandomApply, likewise.
        later: the columns of flips that stand behind it, and are carried out before it.
    """

    op: Augmentation
    stream: int
    members: tuple[Step, ...] = ()
    later: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Sample:
    """A row of a plan with its entries in the side tables."""

    row: np.void
    holes: Rows
    ops: Rows


@dataclass(frozen=True, eq=False)
class Draft:
    """A plan in the making, or some of its rows.

    Attributes:
        rows: all rows of the plan.
        which: int64 ``[R]``, the rows that are drawn for.
        keys: theirs, by sample.
        batch: keys of numbers that belong to the batch, one a row of the plan.
        size: (height, width) of the output.
        epoch: the epoch.
        entries: of each side table what was added: the rows, and the fields' values.
        masks: those that were added, as a plan has them.
    """

    rows: Rows
    which: Ints
    keys: Keys
    batch: Keys
    size: tuple[int, int]
    epoch: int
    entries: dict[str, list[tuple[Ints, dict[str, Any]]]] = field(default_factory=dict)
    masks: list[npt.NDArray[np.uint8]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.which)

    def only(self, which: Ints) -> Draft:
        """The same for some of its rows."""
        return replace(self, which=self.which[which], keys=self.keys[which])

    def fill(self, **columns: Any) -> None:
        """Sets columns of its rows: a value each, or one for all."""
        for name, value in columns.items():
            self.rows[name][self.which] = value

    def add(self, table: str, which: Ints, **fields: Any) -> None:
        """Adds an entry to a side table for each of its rows ``which``, behind those that they have."""
        if len(which):
            self.entries.setdefault(table, []).append((self.which[which], fields))

    def mask(self, masks: npt.NDArray[np.bool_]) -> int:
        """Adds masks ``[N, H, W]``; the number of the first."""
        first = sum(map(len, self.masks))
        self.masks.append(np.packbits(masks, 2, bitorder="little"))
        return first

    def table(self, name: str, dtype: np.dtype[Any]) -> tuple[Rows, Ints]:
        """A side table, its entries by row and then as they were added; and how many each row has."""
        added = self.entries.get(name, [])
        if not added:
            return np.zeros(0, dtype), np.zeros(len(self.rows), np.int64)
        rows = np.concatenate([which for which, _ in added])
        out, at = np.zeros(len(rows), dtype), 0
        for which, fields in added:
            part = out[at : at + len(which)]
            for column, value in fields.items():
                part[column] = value
            at += len(which)
        return out[np.argsort(rows, kind="stable")], np.bincount(rows, minlength=len(self.rows))


def interpolation_name(where: str, value: object) -> str:
    """A name, or a member of torchvision's InterpolationMode, as a name."""
    name = getattr(value, "value", value)
    one_of(f"{where} interpolation", name, INTERPOLATIONS)
    return str(name)


def choose(uniform: Floats, weights: Sequence[float]) -> Ints:
    """Uniforms in (0, 1) as choices among len(weights) members, in proportion to the weights."""
    edges = np.cumsum(weights) / np.sum(weights)
    return np.searchsorted(edges[:-1], uniform, side="right").astype(np.int64)
