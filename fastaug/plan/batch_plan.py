"""BatchPlan: everything that happens to a batch, as data. One row a sample."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..checks import first_line
from ..files import replacing
from ..ops.augment import MAX_HOLES
from ..ops.policies import MAX_BLUR, MAX_CHAINS
from ..philox import EPOCH_BITS

if TYPE_CHECKING:
    from ..data.source import Source

MIX_NONE, MIX_UP, MIX_CUT = 0, 1, 2
_MIX_NAMES = ("", "mixup", "cutmix")

OP = np.dtype(
    [
        ("kind", "i4"),
        ("chain", "i4"),
        ("value", "f4"),
        ("rest", "f4"),
        ("fill", "f4", 3),
        ("filled", "i4"),
        ("map", "i8", 6),
        ("y0", "i4"),
        ("x0", "i4"),
        ("y1", "i4"),
        ("x1", "i4"),
        ("half", "i4"),
        ("weight", "f4", MAX_BLUR),
    ],
    align=True,
)
OP_KINDS = (
    "Identity",
    "Brightness",
    "Contrast",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Invert",
    "AutoContrast",
    "Equalize",
    "Color",
    "Hue",
    "Cutout",
    "Sharpness",
    "Blur",
    "Nearest",
    "Bilinear",
)

HOLE = np.dtype(
    [("y0", "i4"), ("x0", "i4"), ("y1", "i4"), ("x1", "i4"), ("fill", "f4", 3), ("noise", "i4")],
    align=True,
)

# The mirrors of struct Op and struct Row in kernels/plan.h, where each field is explained.
ROW = np.dtype(
    [
        ("index", "i8"),
        ("epoch", "u4"),
        ("occurrence", "u4"),
        ("repeat", "i4"),
        ("flip", "i4"),
        ("y0", "i4"),
        ("x0", "i4"),
        ("h", "i4"),
        ("w", "i4"),
        ("interpolation", "i4"),
        ("start_y", "f8"),
        ("start_x", "f8"),
        ("step_y", "f8"),
        ("step_x", "f8"),
        ("n_ops", "i4"),
        ("chains", "i4"),
        ("chain_weight", "f4", 1 + MAX_CHAINS),
        ("mix", "i4"),
        ("partner", "i4"),
        ("lam", "f4"),
        ("cut_y0", "i4"),
        ("cut_x0", "i4"),
        ("cut_y1", "i4"),
        ("cut_x1", "i4"),
        ("grid_d", "i4"),
        ("grid_l", "i4"),
        ("grid_y", "i4"),
        ("grid_x", "i4"),
        ("grid_mode", "i4"),
        ("grid_cos", "i4"),
        ("grid_sin", "i4"),
        ("grid_inv", "u4"),
        ("grid_fill", "f4", 3),
        ("hide", "i4"),
        ("hide_p", "f4"),
        ("hide_fill", "f4", 3),
        ("n_holes", "i4"),
        ("holes", HOLE, MAX_HOLES),
    ],
    align=True,
)

_FORMAT = 5
_MEMBERS = ("rows", "ops", "seed", "step", "size", "wanted")


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """What happens to each sample of one batch, decided before a pixel moves.

    ``plan["index"]`` is a column; ``print(plan)`` shows a table; ``loader.replay(plan)`` yields the
    batch again; ``plan.save("batch.npz")`` and ``BatchPlan.load("batch.npz")`` keep it.

    Attributes:
        rows: structured array ``[B]`` with the fields of ``kernels/plan.h``. Boxes are in pixels:
            ``y0, x0, h, w`` of the source image, the others of the output image.
        ops: structured array ``[B, most]``, a policy's operations: the first ``n_ops`` of each row.
        seed: the loader's seed.
        step: the batch's number in its epoch, counted over all ranks together.
        size: (height, width) of the output images.
        wanted: int64 ``[B]``, the sample that the sampler asked for: the row's own, unless its file could
            not be read and the row's stands in for it.
    """

    rows: npt.NDArray[np.void]
    ops: npt.NDArray[np.void]
    seed: int
    step: int
    size: tuple[int, int]
    wanted: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """A column of the plan, such as ``plan["lam"]``: an array ``[B]`` (or ``[B, ...]``)."""
        if column not in (ROW.names or ()):
            raise KeyError(f"a plan has no column {column!r}; it has {', '.join(ROW.names or ())}")
        return np.asarray(self.rows[column])

    @property
    def epoch(self) -> int:
        """The epoch that the batch belongs to."""
        return int(self.rows["epoch"][0]) & ((1 << EPOCH_BITS) - 1) if len(self.rows) else 0

    def to(self, device: object, **_: object) -> BatchPlan:
        """Itself: a plan stays on the host. For trainers that call ``to`` on all that is in a batch."""
        return self

    def take(self, keep: Sequence[int]) -> BatchPlan:
        """A plan with only some of the rows, in the given order.

        A row whose partner is left out is mixed with itself, with lam = 1.
        """
        rows = self.rows[list(keep)].copy()
        place = np.full(len(self.rows), -1, np.int64)
        place[list(keep)] = np.arange(len(rows))
        partner = place[rows["partner"]]
        lost = partner < 0
        rows["partner"] = np.where(lost, np.arange(len(rows)), partner)
        rows["mix"][lost], rows["lam"][lost] = MIX_NONE, 1
        return BatchPlan(rows, self.ops[list(keep)], self.seed, self.step, self.size, self.wanted[list(keep)])

    def check(
        self,
        source: Source | None = None,
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
        from .check import check_plan  # it needs this module

        check_plan(self, source, size)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the plan as .npz; nothing is left behind if that fails."""
        with replacing(path) as file:
            np.savez(
                file,
                rows=self.rows,
                ops=self.ops,
                seed=np.uint64(self.seed),
                step=self.step,
                size=self.size,
                wanted=self.wanted,
                format=_FORMAT,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BatchPlan:
        """Reads what ``save`` wrote, and checks it: the file may be anybody's.

        Raises:
            OSError: when the file cannot be read.
            ValueError: when it holds no plan of this version, or one that ``check`` refuses.
        """
        data = Path(path).read_bytes()
        try:
            rows, ops, seed, step, size, wanted = _unpacked(data)
            plan = cls(rows, ops, seed.tolist(), step.tolist(), tuple(size.tolist()), wanted)
        except Exception as error:  # zipfile and NumPy raise all kinds for damaged bytes
            raise ValueError(
                f"{os.fspath(path)} is not a plan that this version of fastaug can read (format "
                f"{_FORMAT}): {first_line(error)}; save it again with this version"
            ) from error
        try:
            plan.check()
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)} holds a plan that cannot be carried out: {error}") from None
        return plan

    def __str__(self) -> str:
        lines = map(_describe, self.rows, self.ops, self.wanted)
        return "\n".join([self._title(), *_table([_HEADER, *lines])])

    def __repr__(self) -> str:
        return f"<{self._title()}>"

    def _title(self) -> str:
        return (
            f"BatchPlan of {len(self)} samples, {self.size[0]}x{self.size[1]} pixels, "
            f"seed {self.seed}, epoch {self.epoch}, batch {self.step}"
        )


def _unpacked(data: bytes) -> list[npt.NDArray[Any]]:
    """The arrays that ``save`` put into a file, in the order of _MEMBERS."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:

        def array(name: str) -> npt.NDArray[Any]:
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED:  # may be any size once it is unpacked
                raise ValueError(f"{name} is compressed")
            with archive.open(member) as file:
                return np.lib.format.read_array(file, allow_pickle=False)

        if (found := array("format").tolist()) != _FORMAT:
            raise ValueError(f"it is of format {found}")
        return [array(name) for name in _MEMBERS]


_HEADER = ("index", "crop y0,x0 hxw", "flip", "policy", "masks", "mixing")


def _operation(op: np.void) -> str:
    """An operation with its number, or the step that a geometry's lines take."""
    kind = OP_KINDS[op["kind"]]
    if kind in ("Nearest", "Bilinear"):
        (shift_x, x_by_y, x_by_x), (shift_y, y_by_y, y_by_x) = op["map"].reshape(2, 3) / 2**32
        return f"turn x={shift_x:.1f}{x_by_y:+.3f}y{x_by_x:+.3f}x y={shift_y:.1f}{y_by_y:+.3f}y{y_by_x:+.3f}x"
    if kind in ("Identity", "Invert", "AutoContrast", "Equalize"):
        return kind
    return f"{kind} {2 * op['half'] + 1}px" if kind == "Blur" else f"{kind} {op['value']:.3g}"


def _describe(row: np.void, ops: npt.NDArray[np.void], wanted: np.int64) -> tuple[str, ...]:
    stands_in = f" (for {wanted})" if wanted != row["index"] else ""
    masks = []
    if row["grid_d"]:
        degrees = np.degrees(np.arctan2(row["grid_sin"], row["grid_cos"])) % 360
        masks.append(
            f"grid d={row['grid_d']} l={row['grid_l']} at {row['grid_y']},{row['grid_x']} {degrees:.0f}°"
        )
    if row["hide"]:
        masks.append(f"hide {row['hide']}px")
    masks += [
        f"hole {h['y0']},{h['x0']} {h['y1'] - h['y0']}x{h['x1'] - h['x0']}"
        for h in row["holes"][: row["n_holes"]]
    ]
    mixing = ""
    if row["mix"]:
        mixing = f"{_MIX_NAMES[row['mix']]} with row {row['partner']}, lam {row['lam']:.3f}"
    return (
        f"{row['index']}{stands_in}{' (repeat)' if row['repeat'] else ''}",
        f"{row['y0']},{row['x0']} {row['h']}x{row['w']}",
        "yes" if row["flip"] else "",
        "; ".join(map(_operation, ops[: row["n_ops"]])),
        "; ".join(masks),
        mixing,
    )


def _table(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
