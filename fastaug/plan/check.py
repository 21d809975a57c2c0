"""What a plan may hold. Within these bounds no kernel reads or writes beside its memory, overflows, divides
by zero, turns a float into an integer that cannot hold it, or takes longer than the images' sizes let it.

A plan from a file, or one that was edited, is the only road from outside into the compiled kernels, which
look at no number twice; ``Planner``'s own plans are within the bounds and are not checked on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..checks import MAX_SIZE, naming, shown
from ..ops import OPERATIONS
from ..ops.base import MOST_ENTRIES
from ..ops.crop import MAX_SOURCE
from ..ops.holes import HOLE
from ..ops.mixing import MIX_MASK, MIX_NONE, MIX_RESIZE
from ..ops.policy import MAX_BLUR, OP, OP_KINDS
from ..ops.sheet import needed
from ..sampling.philox import OCCURRENCE_BITS, STREAM_SHIFT
from .row import ROW

if TYPE_CHECKING:
    from ..data.source import Described, Opened
    from .batch_plan import BatchPlan

Array = npt.NDArray[Any]

_KEY = (1 << 32) - 1  # of what the random numbers' counters keep in a word
_I64 = (1 << 63) - 1
_FLOAT = float(np.finfo(np.float32).max)  # as a bound: any finite number. NaN and infinity end as bytes
_SLACK = 1e-6  # pixels by which rounding may carry the last step out of its box
_SLOPE, _PLACE = (
    float(1 << 20),
    float(1 << 40),
)  # of a turned crop's map: pixels a step, pixels from the corner
_TILT = 2.0**16  # of a perspective's divisor, a pixel
_ONE = 65536  # grid_cos's and grid_sin's unit

_ROW_BOUNDS: dict[str, tuple[float, float]] = {
    "index": (0, _KEY),
    "occurrence": (0, (1 << STREAM_SHIFT) - 1),
    "repeat": (0, 1),
    **{name: bound for op in OPERATIONS for name, bound in op.bounds.items()},
}
_OP_BOUNDS: dict[str, tuple[float, float]] = {
    "kind": (0, len(OP_KINDS) - 1),
    "rest": (-_FLOAT, _FLOAT),
    "filled": (0, 1),
}
# Of ``value``: Posterize's mask becomes an integer; Hue's turn is taken off a number in [0, 1).
_VALUES = np.tile(np.array([[-_FLOAT], [_FLOAT]], np.float32), len(OP_KINDS))
_VALUES[:, OP_KINDS.index("Posterize")] = 0, 255
_VALUES[:, OP_KINDS.index("Hue")] = -0.5, 0.5
_VALUES[:, OP_KINDS.index("Permute")] = 0, 5
# Of ``map``, in 2**-32 pixel: sources less than 2**30 pixels away, so that their sums fit an i64.
_MAP = np.array([1 << 60, 1 << 47, 1 << 47] * 2)


def check_views(
    views: Sequence[BatchPlan],
    source: Opened | None,
    sizes: Sequence[tuple[int, int]] | None,
) -> Described | None:
    """``ViewsPlan.check``, and of one view ``BatchPlan.check``, where the arguments are explained.

    Returns:
        What the source says of the plan's samples, where there is one.
    """
    if sizes is not None and len(views) != len(sizes):
        raise ValueError(f"the plan has {len(views)} views; it must have {len(sizes)}, as the loader makes")
    described = None
    for k, plan in enumerate(views):
        with naming(f"view {k}" * (len(views) > 1)):
            _check_plan(plan, None if sizes is None else sizes[k])
            if len(views) > 1:
                _check_same(plan, views[0], k)
            if source is not None:
                described = _check_data(plan, source) if described is None else described
                _check_inside(plan, described)
    return described


def _check_same(plan: BatchPlan, first: BatchPlan, number: int) -> None:
    """View ``number`` shows the samples of the first, and knows which it is."""
    rows, others = plan.rows, first.rows
    if len(rows) != len(others) or (plan.seed, plan.step) != (first.seed, first.step):
        raise ValueError("its number of rows, seed or step differs from view 0's; all must be the same")
    for name in ("index", "epoch", "repeat"):
        within(name, rows[name], others[name], others[name], ", as in view 0")
    within("wanted", np.asarray(plan.wanted), first.wanted, first.wanted, ", as in view 0")
    visit = others["occurrence"].astype("i8") + (number << OCCURRENCE_BITS)
    within("occurrence", rows["occurrence"], visit, visit, ", view 0's with the view's number above it")


def _check_plan(plan: BatchPlan, size: tuple[int, int] | None) -> None:
    _check_form(plan)
    rows, made = np.asarray(plan.rows), plan.size
    within("wanted", np.asarray(plan.wanted), 0, _KEY)
    _check_rows(rows, made, len(plan.masks))
    for name, table in (("hole", plan.holes), ("op", plan.ops)):
        _check_entries(rows, name, len(table))
    _check_crops(rows, made)
    _check_grid(rows)
    _check_holes(plan, made)
    _check_ops(plan, made)
    lines = made[0], -(-made[1] // 8)
    if plan.masks.shape[1:] != lines:
        raise ValueError(f"the plan's masks have the shape {plan.masks.shape[1:]}; it must be {lines}")
    if size is not None and made != size:
        raise ValueError(
            f"the plan is for {made[0]}x{made[1]} pixels, the loader makes {size[0]}x{size[1]}; "
            "replay it with the augment it was drawn from"
        )


def within(
    name: str, values: Array, low: Any, high: Any, why: str = "", entry: tuple[Array, Array] | None = None
) -> None:
    """Raises a ValueError for the first of the values that is not in [low, high].

    Args:
        name: the field's, with {} for the number on each axis after the first; of entries of a side table
            first their number in the row.
        values: ``[B, ...]``.
        low: a number, or an array that goes with the values.
        high: likewise.
        why: what the message says behind the bounds.
        entry: of entries of a side table: each one's row, and its number in the row.
    """
    good = (values >= low) & (values <= high)  # neither holds for NaN
    if good.all():
        return
    at = tuple(np.argwhere(~good)[0].tolist())
    found = _text(values[at])
    least, most = (_text(np.broadcast_to(bound, values.shape)[at]) for bound in (low, high))
    accepted = least if least == most else f"{least} to {most}"
    if entry is not None:
        at = int(entry[0][at[0]]), int(entry[1][at[0]]), *at[1:]
    raise ValueError(
        f"row {at[0]} of the plan has {name.format(*at[1:])} {found}; it must be {accepted}{why}"
    )


def _text(number: Any) -> str:
    return f"{number:.9g}" if isinstance(number, np.floating) else f"{number}"


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise ValueError(f"the plan's {name} is {shown(value)}; it must be a whole number, {low} to {high}")


def _array(name: str, value: object, dtype: npt.DTypeLike, shape: tuple[int, ...], accepted: str) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != dtype or value.shape != shape:
        found = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
        raise ValueError(f"the plan's {name} is {shown(found)}; it must be {accepted}")
    if value.ctypes.data % 8:
        raise ValueError(f"the plan's {name} begins at no multiple of 8 bytes; give a copy() of it")


def _check_form(plan: BatchPlan) -> None:
    """Types and shapes."""
    _whole("seed", plan.seed, 0, (1 << 64) - 1)
    _whole("step", plan.step, 0, _I64)
    if not isinstance(plan.size, tuple) or len(plan.size) != 2:
        raise ValueError(f"the plan's size is {shown(plan.size)}; it must be (height, width)")
    for k in range(2):
        _whole(f"size[{k}]", plan.size[k], 1, MAX_SIZE)
    n = np.shape(plan.rows)[:1]
    _array("rows", plan.rows, ROW, n or (0,), "an array [B] of fastaug.plan.ROW")
    if not n[0]:  # DALI takes no empty batches, and is of no use after one
        raise ValueError("the plan's rows are none; it must have one at least")
    for name, dtype in (("holes", HOLE), ("ops", OP)):
        table = getattr(plan, name)
        kind = name.removesuffix("s").upper()
        _array(name, table, dtype, np.shape(table)[:1] or (0,), f"an array [N] of fastaug.plan.{kind}")
    _array("wanted", plan.wanted, np.int64, n, f"int64 [{n[0]}]")
    shape = np.shape(plan.masks)
    _array("masks", plan.masks, np.uint8, shape if len(shape) == 3 else (0, 0, 0), "uint8 [M, H, W / 8]")
    if not plan.masks.flags.c_contiguous:
        raise ValueError("the plan's masks do not lie side by side; give a copy() of them")


def _check_entries(rows: Array, name: str, length: int) -> None:
    """Each row's entries of a side table follow those of the row before, and the last row's end it."""
    count = rows[f"n_{name}s"].astype("i8")
    first = np.cumsum(count) - count
    where = f", behind the {name}s of the rows before"
    within(f"first_{name}", rows[f"first_{name}"], first, first, where)
    if (total := int(count.sum())) != length:
        raise ValueError(f"the plan's {name}s are {length}; its rows have {total} of them (n_{name}s)")


def _check_rows(rows: Array, size: tuple[int, int], masks: int) -> None:
    for name, (low, high) in _ROW_BOUNDS.items():
        within(name, rows[name], low, high)
    within(
        "n_ops",
        rows["n_ops"],
        (rows["chains"] > 0).astype("i4"),
        MOST_ENTRIES,
        ", and not 0 where there are chains",
    )
    within("chain_weight[{}]", rows["chain_weight"], 0, 1)
    within("chains", rows["chains"], rows["chains"][:1], rows["chains"][:1], ", as in row 0")
    partner, alone = rows["partner"], rows["mix"] == MIX_NONE
    within("partner", partner, 0, len(rows) - 1, ", a row of the batch")
    within(
        "mix",
        np.where(partner == np.arange(len(rows)), rows["mix"], 0),
        0,
        0,
        ", as the row is its own partner",
    )
    within("lam", np.where(alone, rows["lam"], 1), 1, 1, ", as mix is 0")
    _check_boxes(rows, "cut_", size)
    small = rows["mix"] == MIX_RESIZE  # whose box the partner is scaled to
    for axis in "yx":
        least = rows[f"cut_{axis}0"].astype("i8") + 1
        past = np.where(small, rows[f"cut_{axis}1"], least)
        within(f"cut_{axis}1", past, least, MAX_SIZE, f", above cut_{axis}0, as mix is {MIX_RESIZE}")
    within("mix_mask", rows["mix_mask"], 0, max(masks - 1, 0), f", as the plan has {masks} masks")
    if not masks:
        within("mix", np.where(rows["mix"] == MIX_MASK, MIX_MASK, 0), 0, 0, ", as the plan has no masks")
    for name in ("grid_fill", "hide_fill"):
        within(name + "[{}]", rows[name], -_FLOAT, _FLOAT)


def _check_crops(rows: Array, size: tuple[int, int]) -> None:
    """The box to decode, and the steps that the output takes in it."""
    _check_turns(rows)
    within("crop_fill[{}]", rows["crop_fill"], 0, 255)
    turned = rows["warp"] == 1
    for k, (axis, length, out) in enumerate((("y", "h", size[0]), ("x", "w", size[1]))):
        side = rows[length].astype("i8")
        within(f"{axis}0 + {length}", rows[f"{axis}0"] + side, 1, MAX_SOURCE)
        start, step = rows[f"start_{axis}"], rows[f"step_{axis}"]
        low, high = (rows["frame"][:, j].astype("i8") for j in (k, k + 2))
        within(f"frame[{k}]", low, -MAX_SOURCE, MAX_SOURCE)
        within(f"frame[{k + 2}]", high, low + 1, MAX_SOURCE, f", above frame[{k}]")
        # What is looked at of an upright one: places in the box. A turned one looks at no start and step.
        first, last = needed(low, high, out, rows["padding_mode"])
        shown = np.where(turned, 1, last - first)
        step = np.where(turned, 1, step)
        start = np.where(turned, 0, np.where(np.abs(step) < MAX_SOURCE, start + first * step, start))
        within(f"start_{axis}", start, -_SLACK, side, f", inside the box's {length}")
        # The least is what an image of one pixel takes. The most bounds the memory of the filter.
        within(
            f"step_{axis}",
            step,
            1 / MAX_SIZE,
            np.maximum(side + _SLACK - start, 1 / MAX_SIZE) / shown,
            f", so that all that is shown stays inside the box's {length}",
        )


def _check_turns(rows: Array) -> None:
    """The map of a turned crop, whose frame goes around its box."""
    on = rows["warp"] == 1
    most = np.array([_SLOPE, _SLOPE, _PLACE] * 2 + [_FLOAT] * 3)
    within("warp_map[{}]", rows["warp_map"], -most, most)
    for k, length in enumerate("hw"):
        within(f"frame[{k}]", np.where(on, rows["frame"][:, k], 0), -MAX_SOURCE, 0, ", as warp is 1")
        high = np.where(on, rows["frame"][:, k + 2], rows[length])
        within(f"frame[{k + 2}]", high, rows[length], MAX_SOURCE, ", as warp is 1")


def _check_boxes(
    boxes: Array,
    prefix: str,
    size: tuple[int, int],
    where: str = "",
    entry: tuple[Array, Array] | None = None,
) -> None:
    """Boxes [y0, y1) x [x0, x1) of the output image, which may be empty."""
    for axis, out in zip("yx", size, strict=True):
        low, high = f"{prefix}{axis}0", f"{prefix}{axis}1"
        within(where + high, boxes[high], 0, out, ", inside the image", entry)
        within(where + low, boxes[low], 0, boxes[high], f", up to {high}", entry)


def _check_grid(rows: Array) -> None:
    """GridMask's numbers, which mean something where there is a period. fast_mod() wants this inverse, and
    coordinates from 0 to 65535: they are, as the turned image lies inside the canvas."""
    on = rows["grid_d"] != 0
    if not on.any():
        return
    d = np.where(on, rows["grid_d"], MAX_SIZE).astype("i8").clip(2)
    cos, sin = (rows[name].astype("i8") for name in ("grid_cos", "grid_sin"))
    inverse = -(-(1 << 32) // d)
    for name, values, low, high, why in (
        ("grid_d", rows["grid_d"], 2, MAX_SIZE, ", or 0 for no GridMask"),
        ("grid_l", rows["grid_l"], 1, d - 1, ", less than grid_d"),
        ("grid_y", rows["grid_y"], 0, d - 1, ", less than grid_d"),
        ("grid_x", rows["grid_x"], 0, d - 1, ", less than grid_d"),
        ("grid_mode", rows["grid_mode"], 0, 1, ""),
        ("grid_cos", cos, -_ONE, _ONE, ""),
        ("grid_sin", sin, -_ONE, _ONE, ""),
        ("grid_cos**2 + grid_sin**2", cos * cos + sin * sin, _ONE * (_ONE - 2), _ONE * (_ONE + 2), ""),
        ("grid_inv", rows["grid_inv"], inverse, inverse, ", 2**32 / grid_d rounded up"),
    ):
        within(name, np.where(on, values, low), low, high, why)


def _entry(rows: Array, name: str) -> tuple[Array, Array]:
    """Of each entry of a side table: its row, and its number in the row."""
    count = rows[f"n_{name}s"]
    row = np.repeat(np.arange(len(rows)), count)
    return row, np.arange(len(row)) - rows[f"first_{name}"][row]


def _check_holes(plan: BatchPlan, size: tuple[int, int]) -> None:
    holes, entry = plan.holes, _entry(plan.rows, "hole")
    _check_boxes(holes, "", size, "holes[{}].", entry)
    within("holes[{}].noise", holes["noise"], 0, 1, entry=entry)
    within("holes[{}].fill[{}]", holes["fill"], -_FLOAT, _FLOAT, entry=entry)


def _check_ops(plan: BatchPlan, size: tuple[int, int]) -> None:
    ops, entry = plan.ops, _entry(plan.rows, "op")
    for name, (low, high) in _OP_BOUNDS.items():
        within(f"ops[{{}}].{name}", ops[name], low, high, entry=entry)
    kind, chains = ops["kind"], plan.rows["chains"][entry[0]]
    within("ops[{}].value", ops["value"], _VALUES[0][kind], _VALUES[1][kind], entry=entry)
    within("ops[{}].chain", ops["chain"], 0, np.maximum(chains, 1) - 1, ", less than chains", entry)
    within("ops[{}].fill[{}]", ops["fill"], -_FLOAT, _FLOAT, entry=entry)
    within("ops[{}].map[{}]", ops["map"], -_MAP, _MAP, entry=entry)
    within("ops[{}].tilt[{}]", ops["tilt"], -_TILT, _TILT, entry=entry)
    within("ops[{}].half", ops["half"], 0, min(MAX_BLUR, *size) - 1, ", less than the image's sides", entry)
    within("ops[{}].weight[{}]", ops["weight"], 0, 1, entry=entry)
    _check_boxes(ops, "", size, "ops[{}].", entry)


def _check_data(plan: BatchPlan, source: Opened) -> Described:
    n = len(source)
    for name, values in (("index", plan["index"]), ("wanted", plan.wanted)):
        within(
            name,
            values,
            0,
            n - 1,
            f", as the data set has {n} samples; replay a plan with the data set it was drawn for",
        )
    return source.describe(plan.ticket())


def _check_inside(plan: BatchPlan, described: Described) -> None:
    bad = np.isin(np.arange(len(plan)), list(described.faults))  # said when they are to be decoded
    for axis, length, sides in (("y", "h", described.height), ("x", "w", described.width)):
        side = np.where(bad, MAX_SOURCE, sides)
        within(f"{axis}0 + {length}", plan[f"{axis}0"] + plan[length], 1, side, ", inside its image")
