"""Edited and senseless plans through ``BatchPlan.check`` and the CPU kernels: what passes must do no harm.

Run: python benchmarks/fuzz_plans.py [--plans 100000]. Every plan is a function of its number: one that
``Planner`` drew, with some of its fields changed to random bits, extremes, NaN, or numbers at and around
their bounds. ``check`` refuses it with a ValueError that names a changed field (or one that is judged by it),
or the kernels, compiled with AddressSanitizer and UndefinedBehaviorSanitizer (fuzz_plans.cpp), carry it out.
Guilty plans are written to --keep.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sanitized

import fastaug as fa
from fastaug.checks import MAX_SIZE
from fastaug.data.cache import Scan
from fastaug.data.listing import Listing
from fastaug.data.scanned import Scanned
from fastaug.data.source import Kind
from fastaug.decode.jobs import jobs_of
from fastaug.decode.scale import scalings_of
from fastaug.ops.base import INTERPOLATIONS
from fastaug.ops.holes import HOLE
from fastaug.ops.policy import OP
from fastaug.ops.sheet import PADDING_MODES
from fastaug.plan.batch_plan import BatchPlan
from fastaug.plan.planner import Planner
from fastaug.plan.row import ROW
from fastaug.sampling.epoch import Ticket

HERE = Path(__file__).parent
CHUNK = 500
EACH = 8  # plans made from a drawn one
OUTPUTS = [(1, 1), (1, 9), (7, 1), (2, 2), (3, 5), (16, 16), (25, 30), (33, 17), (4, 70)]
IMAGES = [(1, 1), (1, 40), (40, 1), (2, 3), (9, 9), (17, 30), (31, 16), (64, 48), (3, 500), (700, 2)]
# A field may be refused by the name of another that is judged by it.
JUDGED = [
    {"y0", "h", "start_y", "step_y", "frame", "padding_mode", "warp"},
    {"x0", "w", "start_x", "step_x", "frame", "padding_mode", "warp"},
    {"mix", "lam", "partner"},
    {"mix", "mix_mask", "masks"},
    {"mix", "cut_y0", "cut_y1"},
    {"mix", "cut_x0", "cut_x1"},
    {"chains", "chain", "n_ops", "first_op"},
    {"n_holes", "first_hole"},
    {"kind", "value"},
    {"y0", "y1"},
    {"x0", "x1"},
    {name for name in ROW.names or () if name.startswith("grid_")},
    {"index", "y0", "x0", "h", "w"},
]


@cache
def program() -> Path:
    """The kernels as a program under sanitizers."""
    folder = Path(tempfile.mkdtemp(prefix="fastaug-fuzz-plans-"))
    return sanitized.program([*sorted(sanitized.KERNELS.glob("*.cpp")), HERE / "fuzz_plans.cpp"], folder)


# ---- drawn plans ----

TIMM = (
    *("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel", "Posterize", "PosterizeIncreasing"),
    *(
        "PosterizeOriginal",
        "Solarize",
        "SolarizeIncreasing",
        "SolarizeAdd",
        "Color",
        "ContrastIncreasing",
        "Desaturate",
    ),
)


def images() -> Scanned:
    """A data set of which only the images' sizes are known."""
    height, width = np.array(IMAGES * 3, np.int32).T
    n = len(height)
    scan = Scan(height, width, np.full(n, Kind.JPEG, np.uint8), np.zeros((0, 2), np.int64))
    return Scanned(Listing(np.arange(n), blobs=[b""] * n), scan, None)


def augment(rng: np.random.Generator, size: tuple[int, int]) -> list[Any]:
    """A random list of augmentations."""

    def one(*choices: Any) -> list[Any]:
        chosen = choices[int(rng.integers(len(choices)))]
        return chosen if isinstance(chosen, list) else [chosen]

    kind = INTERPOLATIONS[int(rng.integers(len(INTERPOLATIONS)))]
    mode = PADDING_MODES[int(rng.integers(len(PADDING_MODES)))]
    crop = fa.RandomResizedCrop(size, interpolation=kind)
    turns = [
        fa.RandomRotation(180, expand=bool(rng.integers(2)), interpolation="bilinear"),
        fa.RandomAffine(30, (0.5, 0.5), (0.05, 9), (-60, 60, -60, 60)),
        fa.RandomPerspective(1.0, p=1.0),
        fa.RandomRotation90((-3, 3)),
    ]
    side, small = max(size), min(size)
    cut = [("Cutout", 1.0, 5.0), ("Rotate", 1.0, 40.0), ("SolarizeAdd", 1.0, 60.0), ("Invert", 1.0, None)]
    masks = [
        fa.Cutout(1 + side // 3, n_holes=3, fill=0.3),
        fa.RandomErasing(1.0, value="random", max_count=4),
        fa.HideAndSeek((0, 1, 3, 7)),
        fa.GridMask((2, 3 + side), p=1.0),
    ]
    shapes = [fa.FMix(per="pair"), fa.ResizeMix(per="sample"), *([fa.GridMix(n=2)] if small > 1 else [])]
    mixing = [fa.MixUp(1.0, per="pair"), fa.CutMix(1.0, per="sample"), *shapes]
    return [
        *one(
            crop,
            fa.Resize(size, interpolation=kind),
            [fa.RandomCrop(size, (3, 9, 0, 70), True, 9, mode)],
            [fa.Resize(max(1, small // 2), kind), fa.RandomCrop(size, 4, True, 200, mode)],
            [fa.CenterCrop(size)],
            [fa.Pad((5, 0, 1, 2), 0, mode), turns[int(rng.integers(4))], crop],
            [fa.RandomHorizontalFlip(), turns[int(rng.integers(4))], fa.CenterCrop(size)],
        ),
        *one([], fa.RandomVerticalFlip()),
        *one(
            [],
            [],
            fa.RandAugment(3),
            fa.RandAugment(2, interpolation="bilinear", fill=90),
            fa.AutoAugment("svhn"),
            fa.TrivialAugmentWide(),
            fa.Policy([cut]),
            fa.AugMix(severity=9),
            fa.TimmPolicy("rand", [[(name, 0.9, 9, 3.0, 30) for name in TIMM]], 4),
            fa.TimmPolicy("augmix", [[(name, 1.0, 9, float("inf")) for name in TIMM]], 2, fill=7),
            [
                fa.ColorJitter(0.4, 0.4, 0.4, 0.5),
                fa.RandomGrayscale(0.5),
                fa.RandomSolarize(90),
                fa.GaussianBlur(2 * min(small - 1, 11) + 1),
            ],
            [fa.RandomPhotometricDistort(p=0.9), fa.OneOf([turns[1], turns[2]])],
            [fa.RandomApply([turns[2], fa.RandomInvert()], 0.8), fa.RandomChannelPermutation()],
        ),
        *one([], masks, fa.OneOf(masks), masks[3]),
        *one([], fa.OneOf(mixing), fa.OneOf(mixing, per="sample"), *mixing),
    ]


@cache
def drawn(number: int) -> BatchPlan:
    """Plan ``number`` as it is before fields are changed."""
    rng, source = np.random.default_rng([1, number]), images()
    size, n = OUTPUTS[int(rng.integers(len(OUTPUTS)))], int(rng.integers(1, 5))
    planner, seed = Planner(augment(rng, size)), int(rng.integers(1 << 63))
    which = rng.integers(0, len(source), n)
    sizes = source.describe(Ticket.of(which))
    return planner.plan(Ticket.of(which, seed=seed, epoch=3, step=number), sizes.height, sizes.width)


# ---- changes ----


def whole_numbers(rng: np.random.Generator, old: int, plan: BatchPlan) -> int:
    """A number that may be at a bound."""
    row = plan.rows[int(rng.integers(len(plan)))]
    sides = [int(row[name]) for name in ("h", "w", "grid_d")]
    bounds = [
        0,
        1,
        old,
        len(plan),
        len(plan.ops),
        *plan.size,
        *sides,
        4,
        8,
        11,
        12,
        15,
        MAX_SIZE,
        *(1 << bits for bits in (16, 24, 27, 31)),
    ]
    choice = int(rng.integers(8))
    if choice < 4:
        return bounds[int(rng.integers(len(bounds)))] + int(rng.integers(-1, 2))
    if choice < 6:
        return int(rng.integers(0, 20))
    if choice == 6:
        return int(rng.choice([-1, 1])) << int(rng.integers(64))
    return int(rng.integers(-(1 << 63), (1 << 63) - 1))


def real_numbers(rng: np.random.Generator, old: float, kind: np.dtype[Any]) -> float:
    """A number that may be at a bound, or none at all."""
    near = [old * (1 + 1e-6), old * (1 - 1e-6), 0.0, 0.5, 1.0, 1 + 1e-6, -1e-6, 1 / MAX_SIZE, 255.0, -0.5]
    far = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, -3.4e38, 1e-40, -old, 255.01, 1e10, -1e10, 2.0**31]
    choice = int(rng.integers(6))
    if choice < 2:
        return float(near[int(rng.integers(len(near)))])
    if choice < 3:
        return float(far[int(rng.integers(len(far)))])
    if choice < 5:
        return float(rng.uniform(0, 1) * (1, 2, 300)[int(rng.integers(3))])
    return float(np.frombuffer(rng.bytes(kind.itemsize), kind)[0])


def change(rng: np.random.Generator, plan: BatchPlan) -> set[str]:
    """Changes one number of the plan; the field's name."""
    tables = [(plan.rows, ROW, 0.45), (plan.holes, HOLE, 0.2), (plan.ops, OP, 0.35)]
    chosen, kind, _ = tables[int(rng.choice(3, p=[share for *_, share in tables]))]
    if not chosen.size:
        chosen, kind, _ = tables[0]
    names = kind.names or ()
    name = names[int(rng.integers(len(names)))]
    values = chosen[name]
    at = tuple(int(rng.integers(k)) for k in values.shape)
    if values.dtype.kind == "f":
        values[at] = real_numbers(rng, float(values[at]), values.dtype)
    else:
        new = whole_numbers(rng, int(values[at]), plan)
        values[at] = np.array(new & (1 << 64) - 1, np.uint64).astype(values.dtype)  # its low bits
    return {name}


def change_grid(rng: np.random.Generator, plan: BatchPlan) -> set[str]:
    """A GridMask anywhere within its bounds."""
    row = plan.rows[int(rng.integers(len(plan)))]
    d = int(rng.choice([2, 3, 7, 100, MAX_SIZE - 1, MAX_SIZE]))
    row["grid_d"], row["grid_l"], row["grid_inv"] = d, rng.integers(1, d), -(-(1 << 32) // d)
    row["grid_y"], row["grid_x"] = rng.choice([0, d - 1, d // 2], 2)
    turn = rng.uniform(0, 2 * np.pi) * int(rng.integers(2)) + 1e-5 * int(rng.integers(3))
    row["grid_cos"], row["grid_sin"] = np.rint(65536 * np.cos(turn)), np.rint(65536 * np.sin(turn))
    row["grid_mode"] = rng.integers(2)
    return {"grid_d"}


def change_crop(rng: np.random.Generator, plan: BatchPlan) -> set[str]:
    """Another box of the image, and another part of it that is shown."""
    row = plan.rows[int(rng.integers(len(plan)))]
    sides = IMAGES[int(row["index"]) % len(IMAGES)]
    for axis, length, side, out in zip("yx", "hw", sides, plan.size, strict=True):
        low, high = np.sort(rng.integers(0, side, 2))
        row[f"{axis}0"], row[length] = low, high + 1 - low
        start = rng.choice([0.0, 0.25, 0.9]) * row[length]
        row[f"start_{axis}"] = start
        row[f"step_{axis}"] = (row[length] - start) / out * rng.choice([0.2, 0.5, 1.0])
    row["interpolation"], row["flip"] = rng.integers(3), rng.integers(2)
    return {"h", "w"}


def change_mixing(rng: np.random.Generator, plan: BatchPlan) -> set[str]:
    """Another partner, kind and box."""
    k, n = int(rng.integers(len(plan))), len(plan)
    row, other = plan.rows[k], (k + int(rng.integers(n))) % n
    row["partner"], row["mix"] = other, 0 if other == k else rng.integers(1, 3)
    row["lam"] = rng.uniform() if row["mix"] else 1
    for axis, out in zip("yx", plan.size, strict=True):
        row[f"cut_{axis}0"], row[f"cut_{axis}1"] = np.sort(rng.integers(0, out + 1, 2))
    return {"mix"}


def change_map(rng: np.random.Generator, plan: BatchPlan) -> set[str]:
    """Sources anywhere within the bounds."""
    if not plan.ops.size:
        return change_mixing(rng, plan)
    op = plan.ops[int(rng.integers(len(plan.ops)))]
    reach = np.array([60, 47, 47] * 2) - int(rng.choice([0, 12, 24]))
    op["map"] = rng.uniform(-1, 1, 6) * 2.0**reach
    op["map"][rng.integers(6)] = rng.choice([-1, 0, 1]) * (1 << int(reach[1]))
    op["kind"], op["filled"] = rng.integers(14, 16), rng.integers(2)
    return {"map"}


def change_hole(rng: np.random.Generator, plan: BatchPlan) -> set[str]:
    """A hole anywhere."""
    if not plan.holes.size:
        return change_mixing(rng, plan)
    hole = plan.holes[int(rng.integers(len(plan.holes)))]
    for axis, out in zip("yx", plan.size, strict=True):
        hole[f"{axis}0"], hole[f"{axis}1"] = np.sort(rng.integers(0, out + 1, 2))
    hole["noise"] = rng.integers(2)
    return {"holes"}


def change_entries(rng: np.random.Generator, plan: BatchPlan) -> set[str]:
    """Entries of a side table for other rows: in order, or not."""
    name = ("hole", "op")[int(rng.integers(2))]
    count = plan.rows[f"n_{name}s"]
    one, other = rng.integers(len(plan), size=2)
    moved = min(int(rng.integers(4)), int(count[one]))
    count[one] -= moved
    count[other] += moved
    if rng.integers(4):
        plan.rows[f"first_{name}"] = np.cumsum(count) - count
    return {f"n_{name}s", f"first_{name}", "chain"}


CHANGES: list[Callable[[np.random.Generator, BatchPlan], set[str]]] = [
    change,
    change,
    change,
    change,
    change,
    change_grid,
    change_crop,
    change_mixing,
    change_map,
    change_hole,
    change_entries,
]


def made(number: int) -> tuple[BatchPlan, set[str]]:
    """Plan ``number``, and the names of what was changed in it."""
    rng, plan = np.random.default_rng([2, number]), drawn(number // EACH)
    plan = replace(plan, **{name: getattr(plan, name).copy() for name in ("rows", "holes", "ops", "wanted")})
    count = int(rng.choice([1, 1, 1, 2, 2, 3, 5]))
    return plan, set().union(*(CHANGES[int(rng.integers(len(CHANGES)))](rng, plan) for _ in range(count)))


# ---- the run ----


@dataclass
class Outcome:
    """What became of plans, by number."""

    carried_out: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by the field that the error names
    guilty: list[tuple[int, str]] = field(default_factory=list)


def named(error: ValueError) -> str:
    """The field that an error of ``check`` names, without numbers of holes, operations or channels."""
    found = re.match(r"row \d+ of the plan has (.*?) [^ ]+; it must be ", str(error))
    if table := re.match(r"the plan's (hole|op)s are \d+; its rows have", str(error)):
        return f"n_{table[1]}s"
    if not found:
        raise AssertionError(f"the error names no field: {error}")
    return re.sub(r"\[\d+\]", "", found[1])


def explained(changed: set[str], name: str) -> bool:
    """Whether the name is a changed field's, or one's that is judged by it."""
    words = set(re.findall(r"[a-z]\w*", name))
    return any(words & group for mine in changed for group in [{mine}, *(g for g in JUDGED if mine in g)])


def encoded(plan: BatchPlan, number: int) -> bytes:
    """A plan as fuzz_plans.cpp reads it."""
    numbers = [
        len(plan),
        len(plan.holes),
        len(plan.ops),
        *plan.size,
        number % 4,
        number // 4 % 2,
        number // 8 % 3,
        (0, 0, 1, 7)[number // 3 % 4],
        len(plan.masks),
    ]
    rows = np.arange(len(plan))
    jobs = jobs_of(plan, rows, [], np.full(len(plan), Kind.JPEG, np.uint8))
    return b"".join(
        [
            np.uint64(plan.seed).tobytes(),
            np.array(numbers, np.int32).tobytes(),
            plan.rows.tobytes(),
            plan.holes.tobytes(),
            plan.ops.tobytes(),
            scalings_of(jobs).tobytes(),
            plan.masks.tobytes(),
        ]
    )


def carry_out(passed: list[tuple[int, bytes]]) -> Iterator[tuple[int, str]]:
    """Runs encoded plans under sanitizers; yields the number of each guilty one and what it does."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plans"
        while passed:
            file.write_bytes(b"".join(data for _, data in passed))
            with subprocess.Popen(
                [str(program()), str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                try:
                    out, errors = process.communicate(timeout=30 + 0.1 * len(passed))
                except subprocess.TimeoutExpired:
                    process.kill()
                    out, errors = process.communicate()[0], "hangs"
            begun = len(out.splitlines())
            if not process.returncode and begun == len(passed):
                return
            yield passed[begun - 1][0], errors
            passed = passed[begun:]


def fuzz(first: int, last: int) -> Outcome:
    """What becomes of plans first … last - 1.

    Raises:
        AssertionError: when ``check`` refuses a drawn plan, or a changed one for what was not changed.
    """
    source, outcome = images(), Outcome()
    for begin in range(first, last, CHUNK):
        passed = []
        for number in range(begin, min(begin + CHUNK, last)):
            plan, changed = made(number)
            try:
                plan.check(source)
            except ValueError as error:
                name = named(error)
                if not explained(changed, name):
                    raise AssertionError(f"plan {number}, with {changed} changed: {error}") from error
                outcome.refused[name] += 1
            else:
                passed.append((number, encoded(plan, number)))
        found = list(carry_out(passed))
        outcome.guilty += found
        outcome.carried_out += len(passed) - len(found)
        drawn.cache_clear()
    return outcome


def main() -> int:
    """Prints what became of the plans; 0 when no kernel did what it must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plans", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first plan")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"), help="folder for guilty plans")
    args = parser.parse_args()
    begin = time.monotonic()
    outcome = fuzz(args.first, args.first + args.plans)
    refused = sum(outcome.refused.values())
    print(
        f"{args.plans} plans in {time.monotonic() - begin:.0f} s: {outcome.carried_out} carried out "
        f"({outcome.carried_out / args.plans:.0%}), {refused} refused, by {len(outcome.refused)} names: "
        + ", ".join(f"{name} {count}" for name, count in outcome.refused.most_common())
    )
    for number, errors in outcome.guilty:
        args.keep.mkdir(parents=True, exist_ok=True)
        made(number)[0].save(args.keep / f"{number}.npz")
        told = [line for line in errors.splitlines() if "rror:" in line or line == "hangs"]
        print(f"plan {number}: {args.keep / str(number)}.npz: {(told or ['dies'])[0]}")
    print("no kernel did harm" if not outcome.guilty else f"{len(outcome.guilty)} plans do harm")
    return 1 if outcome.guilty else 0


if __name__ == "__main__":
    sys.exit(main())
