"""BatchPlan: everything that happens to a batch, as data. One row a sample."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.listing import IGNORED
from ..ops import OPERATIONS
from ..ops.base import Sample
from ..ops.mixing import MIX_NONE
from ..sampling.epoch import Ticket
from ..sampling.philox import EPOCH_BITS, OCCURRENCE_BITS, U32
from .check import check_views
from .plan_file import Member, read, write
from .row import ROW

if TYPE_CHECKING:
    from ..data.source import Opened


# One augmentation for each group of columns, which says what they hold.
_DESCRIBING = list({op.columns.names: op for op in reversed(OPERATIONS) if op.heading}.values())[::-1]


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """What happens to each sample of one batch, decided before a pixel moves.

    ``plan["index"]`` is a column; ``print(plan)`` shows a table; ``loader.replay(plan)`` yields the
    batch again; ``plan.save("batch.npz")`` and ``BatchPlan.load("batch.npz")`` keep it.

    Attributes:
        rows: structured array ``[B]`` with the fields of ``kernels/plan.h``. Boxes are in pixels:
            ``y0, x0, h, w`` of the source image, the others of the output image.
        holes: structured array ``[H]``: row 0's ``n_holes`` from its ``first_hole`` on, then row 1's …
        ops: structured array ``[O]``, policies' operations, likewise.
        seed: the loader's seed.
        step: the batch's number in its epoch, counted over all ranks together.
        size: (height, width) of the output images.
        wanted: int64 ``[B]``, the sample that the sampler asked for: the row's own, unless its file could
            not be read and the row's stands in for it.
        masks: uint8 ``[M, H, ceil(W / 8)]``, of MaskMix: a bit for each pixel, the first the lowest.
        decoders: what decoded each row, "box", "DALI" or "Pillow", "" for pixels; empty before that, and not
            saved.

    Example:
        >>> import fastaug
        >>> import numpy as np
        >>> data = np.zeros((8, 32, 32, 3), np.uint8), np.arange(8)
        >>> augment = [fastaug.RandomHorizontalFlip(), fastaug.Normalize()]
        >>> with fastaug.loader(data, 4, augment=augment, seed=0, with_plan=True) as loader:
        ...     images, targets, plan = next(iter(loader))
        ...     again, _, _ = loader.replay(plan)
        >>> plan["index"].tolist(), bool((again == images).all())
        ([0, 1, 2, 3], True)
    """

    rows: npt.NDArray[np.void]
    holes: npt.NDArray[np.void]
    ops: npt.NDArray[np.void]
    seed: int
    step: int
    size: tuple[int, int]
    wanted: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint8]
    decoders: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def views(self) -> tuple[BatchPlan, ...]:
        """Itself: images are shown in one view. See ``ViewsPlan``."""
        return (self,)

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """A column of the plan, such as ``plan["lam"]``: an array ``[B]`` (or ``[B, ...]``)."""
        if column not in (ROW.names or ()):
            raise KeyError(f"a plan has no column {column!r}; it has {', '.join(ROW.names or ())}")
        return np.asarray(self.rows[column])

    @property
    def epoch(self) -> int:
        """The epoch that the batch belongs to."""
        return int(self.rows["epoch"][0]) & ((1 << EPOCH_BITS) - 1) if len(self.rows) else 0

    @property
    def view(self) -> int:
        """Which view of the samples it shows, the first being 0."""
        return int(self.rows["occurrence"][0]) >> OCCURRENCE_BITS if len(self.rows) else 0

    def ticket(self) -> Ticket:
        """What was asked for when the plan was drawn."""
        rows = self.rows
        rank = int(rows["epoch"][0]) >> EPOCH_BITS
        return Ticket(
            rows["index"].astype(np.int64),
            rows["occurrence"].astype(U32) & U32((1 << OCCURRENCE_BITS) - 1),
            rows["repeat"] > 0,
            self.seed,
            self.epoch,
            self.step,
            rank,
            rank_keyed=rank > 0,
            view=self.view,
        )

    def decoded(self, decoders: Sequence[str]) -> BatchPlan:
        """The same with what decoded each row."""
        return replace(self, decoders=decoders)

    def to(self, device: object, **_: object) -> BatchPlan:
        """Itself: a plan stays on the host. For trainers that call ``to`` on all that is in a batch."""
        return self

    def take(self, keep: Sequence[int]) -> BatchPlan:
        """A plan with only some of the rows, in the given order.

        A row whose partner is left out is mixed with itself, with lam = 1.
        """
        rows = self.rows[list(keep)]
        place = np.full(len(self.rows), -1, np.int64)
        place[list(keep)] = np.arange(len(rows))
        partner = place[rows["partner"]]
        lost = partner < 0
        rows["partner"] = np.where(lost, np.arange(len(rows)), partner)
        rows["mix"][lost], rows["lam"][lost] = MIX_NONE, 1
        return self.having(rows, self.holes, self.ops, self.wanted[list(keep)])

    def put(self, rows: Sequence[int], other: BatchPlan) -> BatchPlan:
        """A plan with other rows in the place of some, one for each."""
        rows_of_both = self.rows.copy()
        rows_of_both[list(rows)] = other.rows
        for name, table in (("hole", self.holes), ("op", self.ops)):
            rows_of_both[f"first_{name}"][list(rows)] += len(table)
        return self.having(
            rows_of_both,
            np.concatenate([self.holes, other.holes]),
            np.concatenate([self.ops, other.ops]),
            self.wanted,
        )

    def having(
        self,
        rows: npt.NDArray[np.void],
        holes: npt.NDArray[np.void],
        ops: npt.NDArray[np.void],
        wanted: npt.NDArray[np.int64],
    ) -> BatchPlan:
        """A plan of this batch with rows whose entries lie anywhere in these tables."""
        rows = rows.copy()
        tables = {}
        for name, table in (("hole", holes), ("op", ops)):
            count = rows[f"n_{name}s"].astype(np.int64)
            first = np.cumsum(count) - count
            tables[name] = table[np.repeat(rows[f"first_{name}"] - first, count) + np.arange(count.sum())]
            rows[f"first_{name}"] = first
        return replace(self, rows=rows, holes=tables["hole"], ops=tables["op"], wanted=wanted, decoders=())

    def sample(self, k: int) -> Sample:
        """Row k with its holes and operations."""
        row = self.rows[k]
        holes, ops = (
            table[row[f"first_{name}"] : row[f"first_{name}"] + row[f"n_{name}s"]]
            for name, table in (("hole", self.holes), ("op", self.ops))
        )
        return Sample(row, holes, ops)

    def soft_targets(
        self,
        labels: npt.NDArray[np.int64],
        num_classes: int,
        label_smoothing: float = 0.0,
        *,
        mixed: bool = True,
    ) -> torch.Tensor:
        """Soft labels: float32 ``[B, num_classes]``, each row summing to 1 but those of samples that are left
        out of the loss.

        Smoothed first, (1 - e) * onehot + e / C (Szegedy et al. 2016), then mixed,
        lam * own + (1 - lam) * partner, as torchvision's MixUp and CutMix do.

        Args:
            labels: class ids of the rows: int64 ``[B]``. -100, which torch's losses leave out, becomes zeros.
            num_classes: C, above every label.
            label_smoothing: e in [0, 1).
            mixed: whether they are mixed too.

        Raises:
            ValueError: for other labels.
        """
        counted = labels != IGNORED
        wrong = np.flatnonzero(counted & ((labels < 0) | (labels >= num_classes)))
        if len(wrong):
            raise ValueError(
                f"sample {self['index'][wrong[0]]} has label {labels[wrong[0]]}, out of range for "
                "num_classes="
                f"{num_classes}; labels count from 0 to {num_classes - 1}, and {IGNORED} is left out of "
                "the loss"
            )
        rows, ids = np.arange(len(self)), np.where(counted, labels, 0)
        lam, partner = (
            (self["lam"].astype(np.float64), self["partner"]) if mixed else (np.ones(len(self)), rows)
        )
        off = label_smoothing / num_classes
        weight = counted * lam + counted[partner] * (1 - lam)
        out = np.tile((off * weight)[:, None], (1, num_classes))
        out[rows, ids] += (1 - label_smoothing) * lam * counted
        out[rows, ids[partner]] += (1 - label_smoothing) * (1 - lam) * counted[partner]
        return torch.from_numpy(out.astype(np.float32))

    def check(
        self,
        source: Opened | None = None,
        *,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Raises when the plan asks for what the kernels cannot do.

        Every number of every row is looked at: boxes inside their images, partners among the rows, fills
        finite, and so on (``plan_check`` has the bounds). ``load`` calls it, and ``Loader.replay`` with all
        that the loader knows, so rows may be edited in place and replayed.

        Args:
            source: the data, whose samples and their sizes the plan must fit.
            size: (height, width) that the loader makes.

        Raises:
            ValueError: names the first field that is out of bounds, its row, its value and what is accepted.
        """
        check_views([self], source, None if size is None else [size])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the plan as .npz; nothing is left behind if that fails."""
        write(path, self.members())

    def members(self) -> dict[str, Any]:
        """Its arrays, by their names in a file."""
        arrays = {name: getattr(self, name) for name in ("rows", "holes", "ops", "wanted", "masks")}
        return arrays | {"seed": np.uint64(self.seed), "step": self.step, "size": self.size}

    @classmethod
    def of(cls, member: Member) -> BatchPlan:
        """The plan whose arrays these are, by name; not checked."""
        rows, holes, ops, wanted, masks = (member(n) for n in ("rows", "holes", "ops", "wanted", "masks"))
        seed, step, size = (member(name).tolist() for name in ("seed", "step", "size"))
        return cls(rows, holes, ops, seed, step, tuple(size), wanted, masks)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BatchPlan:
        """Reads what ``save`` wrote, and checks it: the file may be anybody's.

        Raises:
            OSError: when the file cannot be read.
            ValueError: when it holds no plan of this version, or one that ``check`` refuses.
        """
        return read(path, cls.of)

    def __str__(self) -> str:
        lines = [
            [_name(row, wanted), *_described(self.sample(k)).values()]
            for k, (row, wanted) in enumerate(zip(self.rows, self.wanted, strict=True))
        ]
        if any(self.decoders):
            lines = [[*line, decoder] for line, decoder in zip(lines, self.decoders, strict=True)]
        headings = ["index", *dict.fromkeys(op.heading for op in OPERATIONS if op.heading)]
        headings += ["decoder"] * any(self.decoders)
        return "\n".join([self._title(), *_table([headings, *lines])])

    def __repr__(self) -> str:
        return f"<{self._title()}>"

    def _title(self) -> str:
        return (
            f"BatchPlan of {len(self)} samples, {self.size[0]}x{self.size[1]} pixels, "
            f"seed {self.seed}, epoch {self.epoch}, batch {self.step}"
        )


def no_masks(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """uint8 ``[0, H, ceil(W / 8)]``."""
    return np.zeros((0, size[0], -(-size[1] // 8)), np.uint8)


def _name(row: np.void, wanted: np.int64) -> str:
    stands_in = f" (for {wanted})" if wanted != row["index"] else ""
    return f"{row['index']}{stands_in}{' (repeat)' if row['repeat'] else ''}"


def _described(sample: Sample) -> dict[str, str]:
    """What happens to a sample, under each heading."""
    texts_under: dict[str, list[str]] = {}
    for op in _DESCRIBING:
        texts_under.setdefault(op.heading, []).append(op.describe(sample))
    return {heading: "; ".join(filter(None, texts)) for heading, texts in texts_under.items()}


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
