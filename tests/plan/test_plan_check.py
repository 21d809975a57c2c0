"""BatchPlan.check: what it lets through harms no kernel, what it refuses is named, what we draw passes."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from measure import crops_of
from PIL import Image

import fastaug as fa
from fastaug.execute import cuda
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import NOISE, Output
from fastaug.ops.holes import HOLE
from fastaug.ops.policy import OP
from fastaug.plan import check as plan_check
from fastaug.plan import plan_file
from fastaug.plan.batch_plan import BatchPlan
from fastaug.plan.row import ROW
from fastaug.recipes import NAMES, recipe

from .. import cuda_host
from ..conftest import draw_plan, write_corrupt
from ..mask_cases import MIXES, masks
from ..policy_cases import POLICIES


def refusal(plan: BatchPlan) -> str:
    """What check says; "" when it passes."""
    try:
        plan.check()
    except ValueError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def fuzz_plans():
    path = Path(__file__).parents[2] / "benchmarks" / "fuzz_plans.py"
    spec = importlib.util.spec_from_file_location("fuzz_plans", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_plans"] = module  # for its dataclass
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fuzz_plans"]


# ---- what we draw passes ----


@pytest.mark.parametrize("name", NAMES)
def test_every_recipes_plans_pass(name):
    for seed, (size, image) in enumerate([(224, (375, 500)), (96, (3, 2000)), (7, (1, 1)), (32, (4001, 1))]):
        if name == "imagenet-eval" or min(image) > 1 or seed == 2:
            for epoch in (0, 5):
                draw_plan(recipe(name, size, 8), 9, seed, epoch, size=image).check()


def test_every_augmentations_plans_pass():
    kinds = ("nearest", "bilinear", "bicubic")
    sizes = [(1, 1), (1, 9), (3, 5), (64, 33), (8180, 1), (3, 8180)]
    for seed, size in enumerate(sizes):
        resize, image = fa.Resize(size, kinds[seed % 3]), (1 + 77 * seed, 31)
        crop = fa.RandomResizedCrop(size, interpolation=kinds[seed % 3])
        for mask in masks(size).values():
            for mix in MIXES.values():
                draw_plan([resize, *mask, *mix], 5, seed, size=image).check()
        for ops in POLICIES.values():
            if min(size) > 2 or not any(isinstance(op, fa.GaussianBlur) for op in ops):
                draw_plan([crop, *ops], 40, seed).check()
    extreme = fa.Policy(
        [
            [(name, 1.0, high), (name, 1.0, low)]
            for name, low, high in (
                ("Posterize", 0, 8),
                ("Solarize", 0, 1),
                ("SolarizeAdd", -255, 255),
                ("Cutout", 0, 8192),
                ("ShearX", -10, 10),
                ("ShearY", -10, 10),
                ("TranslateX", -8192, 8192),
                ("TranslateY", -8192, 8192),
                ("Rotate", -360, 360),
                ("Brightness", -1, 100),
                ("Sharpness", -1, 100),
            )
        ]
    )
    for size in sizes:
        draw_plan([fa.Resize(size), extreme, fa.GaussianBlur(1, 1e-300)], 60).check()
    for image in ((257, 301), (3, 4000), (5000, 7)):
        draw_plan([fa.Resize(256, "bicubic"), fa.CenterCrop(224)], 4, size=image).check()
    colours = [fa.Resize(23), fa.ColorJitter(9, 9, 9, 0.5), fa.GaussianBlur(23, (1e-9, 1e9))]
    draw_plan(colours, 50, size=(9, 9)).check()
    draw_plan([fa.HideAndSeek((8192,)), fa.GridMask((8191, 8192), rotate=1, p=1.0)], 9).check()


@pytest.mark.parametrize("mode", ["skip", "replace"])
def test_plans_with_stand_ins_and_without_some_rows_pass(photos, tmp_path, mode):
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    write_corrupt(folder)
    (folder / "chelsea" / "empty.jpg").write_bytes(b"")
    augment = [fa.RandomResizedCrop(33), fa.RandAugment(), fa.OneOf([fa.MixUp(0.4), fa.CutMix(1.0)])]
    with fa.loader(folder, 8, True, augment=augment, on_error=mode, with_plan=True) as loader:
        for _, _, plan in loader:
            plan.check(loader._engine.source, size=(33, 33))
            plan.take(range(len(plan) - 1, -1, -2)).check(loader._engine.source)


# ---- what is out of bounds is named ----


def everything(n: int = 3) -> BatchPlan:
    """A plan that uses every field."""
    augment = [fa.Resize((40, 30)), fa.AugMix(), *masks((40, 30))["all"], fa.CutMix(1.0)]
    plan = draw_plan(augment, n, seed=5)
    plan.rows["grid_d"], plan.rows["grid_inv"], plan.rows["grid_l"] = 9, -(-(1 << 32) // 9), 4
    plan.rows["grid_y"] = plan.rows["grid_x"] = 3
    plan.check()
    return plan


def extremes(kind: np.dtype) -> list[object]:
    if kind.kind == "f":
        return [np.nan, np.inf, -np.inf]
    return [np.iinfo(kind).min, np.iinfo(kind).max]


FIELDS = [
    *((None, name) for name in ROW.names),
    *(("holes", name) for name in HOLE.names),
    *(("ops", name) for name in OP.names),
]
# How many of the extremes are values: all bits of an epoch are keys.
VALUES = {"epoch": 2, "occurrence": 1}


@pytest.mark.parametrize(("part", "name"), FIELDS)
def test_every_field_is_bounded(part, name):
    plan = everything()
    table = getattr(plan, part or "rows")
    rows = np.repeat(np.arange(len(plan)), plan[f"n_{part}"]) if part else np.arange(len(plan))
    kept = table[name].copy()
    for at in (0, -1):
        passed = 0
        for value in extremes(kept.dtype):
            values = kept.copy()
            values.reshape(len(table), -1)[at, at] = value
            table[name] = values
            said = refusal(plan)
            passed += not said
            assert not said or (said.startswith(f"row {rows[at]} of the plan has ") and name in said)
            assert not said or str(value) in said
        assert passed == (VALUES.get(name, 0) if part is None else 0)


BAD = {
    "a box outside": (None, dict(h=1 << 27, y0=1), "y0 + h"),
    "a box of nothing": (None, dict(w=0), "w"),
    "more steps than the box has": (None, dict(step_x=1e9), "step_x"),
    "steps that go nowhere": (None, dict(step_y=1e-300), "step_y"),
    "a start outside": (None, dict(start_y=-0.5), "start_y"),
    "another partner": (None, dict(partner=3), "partner"),
    "a mixed label of an unmixed image": (None, dict(mix=0, lam=0.5), "lam"),
    "a mask that is not there": (None, dict(mix=3), "mix"),
    "a partner scaled to nothing": (None, dict(mix=4, partner=0, lam=0.5, cut_y0=5, cut_y1=5), "cut_y1"),
    "a row mixed with itself": (None, dict(mix=1, partner=1), "mix"),
    "chains of nothing": (None, dict(n_ops=0), "n_ops"),
    "a box that ends before it begins": (None, dict(cut_x0=9, cut_x1=8), "cut_x0"),
    "a box over the edge": (None, dict(cut_y1=41), "cut_y1"),
    "a period of one": (None, dict(grid_d=1), "grid_d"),
    "another inverse": (None, dict(grid_inv=477218588), "grid_inv"),
    "a turn that grows": (None, dict(grid_cos=65536, grid_sin=65536), "grid_cos**2 + grid_sin**2"),
    "an offset past the period": (None, dict(grid_y=9), "grid_y"),
    "stripes as wide as the period": (None, dict(grid_l=9), "grid_l"),
    "more operations than there may be": (None, dict(n_ops=65), "n_ops"),
    "another row's operations": (None, dict(first_op=0), "first_op"),
    "operations past the table's end": (None, dict(first_op=1 << 30), "first_op"),
    "holes before the table": (None, dict(first_hole=-1), "first_hole"),
    "other chains": (None, dict(chains=4), "chains"),
    "a sixty-fifth hole": (None, dict(n_holes=65), "n_holes"),
    "an operation of no chain": ("ops", dict(chain=3), "ops[0].chain"),
    "an eighteenth kind": ("ops", dict(kind=17), "ops[0].kind"),
    "a mask of nine bits": ("ops", dict(kind=3, value=256), "ops[0].value"),
    "a whole turn of the hue": ("ops", dict(kind=10, value=1), "ops[0].value"),
    "a blur over the edge": ("ops", dict(half=12), "ops[0].half"),
    "a square over the edge": ("ops", dict(y1=41), "ops[0].y1"),
    "a source too far away": ("ops", dict(map=1 << 61), "ops[0].map[0]"),
    "a step too long": ("ops", dict(map=1 << 48), "ops[0].map[1]"),
    "a hole over the edge": ("holes", dict(x1=31), "holes[0].x1"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_wrong_is_named(fault):
    part, values, name = BAD[fault]
    plan = everything()
    table = getattr(plan, part or "rows")
    at = plan[f"first_{part[:-1]}"][1] if part else 1
    for field, value in values.items():
        table[field][at] = value
    said = refusal(plan)
    assert said.startswith(f"row 1 of the plan has {name}")
    assert "it must be" in said


def test_the_plans_own_fields_are_bounded():
    plan = everything()
    odd = np.zeros(plan.rows.nbytes + 1, np.uint8)[1:].view(ROW)
    odd[:] = plan.rows
    for changes, name in [
        (dict(seed=-1), "seed"),
        (dict(seed=1 << 64), "seed"),
        (dict(seed=1.5), "seed"),
        (dict(step=-1), "step"),
        (dict(step=True), "step"),
        (dict(size=(0, 30)), "size[0]"),
        (dict(masks=plan.masks[0:0, :0]), "masks"),
        (dict(masks=np.zeros((1, 40, 3), np.uint8)), "masks"),
        (dict(masks=np.zeros((1, 40, 4), np.int8)), "masks"),
        (dict(masks=np.zeros((1, 40, 8), np.uint8)[:, :, ::2]), "masks"),
        (dict(masks=np.zeros(4, np.uint8)), "masks"),
        (dict(masks=None), "masks"),
        (dict(size=(40, 8193)), "size[1]"),
        (dict(size=40), "size"),
        (dict(size=(40, "30")), "size[1]"),
        (dict(rows=plan.rows[0]), "rows"),
        (dict(rows=None), "rows"),
        (dict(rows=odd), "rows"),
        (dict(rows=plan.rows[None]), "rows"),
        (dict(rows=np.zeros(3)), "rows"),
        (dict(ops=plan.ops[:2]), "ops"),
        (dict(ops=np.concatenate([plan.ops, plan.ops[:1]])), "ops"),
        (dict(ops=plan.ops[None]), "ops"),
        (dict(holes=plan.holes[:-1]), "holes"),
        (dict(holes=plan.ops), "holes"),
        (dict(ops=None), "ops"),
        (dict(ops=plan.ops.astype(OP.newbyteorder())), "ops"),
        (dict(wanted=plan.wanted[:2]), "wanted"),
        (dict(wanted=plan.wanted.astype("i4")), "wanted"),
        (dict(wanted=plan.wanted - 1), "wanted"),
        (dict(rows=plan.rows[:0], holes=plan.holes[:0], ops=plan.ops[:0], wanted=plan.wanted[:0]), "rows"),
    ]:
        said = refusal(replace(plan, **changes))
        assert re.match(rf"(the plan's|row 0 of the plan has) {re.escape(name)}", said), (name, said)
    hidden = np.ma.masked_array(plan.rows.copy(), mask=True)
    hidden.data["partner"][0] = 1 << 30
    assert "partner" in refusal(replace(plan, rows=hidden))
    assert "inside" in refusal(replace(plan, size=(30, 40)))  # boxes of another image


# ---- replay ----


def arrays(n: int = 6):
    return np.random.default_rng(0).integers(0, 256, (n, 20, 30, 3), np.uint8), list(range(n))


def test_replay_looks_at_the_data_first():
    augment = [fa.RandomResizedCrop(16), fa.MixUp(1.0)]
    with fa.loader(arrays(), 4, True, augment=augment, num_classes=6, with_plan=True) as loader:
        images, _, plan = next(iter(loader))
        row, kept = plan.rows[2], plan.rows.copy()
        for name, value, said in [
            ("index", 6, "the data set has 6 samples"),
            ("index", -1, "index -1"),
            ("y0", 21 - row["h"], "20, inside its image"),
            ("x0", 1 << 26, "30, inside its image"),
            ("h", 21, "20, inside its image"),
            ("partner", 4, "a row of the batch"),
            ("interpolation", 6, "interpolation 6"),
        ]:
            plan.rows[name][2] = value
            with pytest.raises(ValueError, match=said):
                loader.replay(plan)
            plan.rows[:] = kept
        with pytest.raises(ValueError, match="wanted 6"):
            loader.replay(replace(plan, wanted=plan.wanted * 0 + 6))
        with pytest.raises(ValueError, match="16x16 pixels, the loader makes"):
            fa.loader(arrays(), 4, augment=[fa.RandomResizedCrop(8)]).replay(plan)
        with pytest.raises(ValueError, match="the data set has 2 samples"):
            fa.loader(arrays(2), 2, augment=[fa.RandomResizedCrop(16)]).replay(plan)
        with pytest.raises(TypeError, match=r"load\(\)"):
            loader.replay("batch.npz")
        assert torch.equal(loader.replay(plan)[0], images)
        plan.rows["flip"][0] ^= 1  # an edit within bounds
        again = loader.replay(plan)[0]
        assert torch.equal(again[1:], images[1:]) or plan["mix"].any()
        assert not torch.equal(again, images)


def test_a_plan_of_no_rows_leaves_the_loader_whole(photos):
    with fa.loader(photos, 4, augment=[fa.RandomResizedCrop(16)], with_plan=True) as loader:
        images, _, plan = next(iter(loader))
        with pytest.raises(ValueError, match="one at least"):
            loader.replay(plan.take([]))
        assert torch.equal(loader.replay(plan)[0], images)


def test_unreadable_files_are_the_decoders_to_name(photos, tmp_path):
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    with fa.loader(folder, 4, augment=[fa.RandomResizedCrop(16)], with_plan=True) as loader:
        plan = next(iter(loader))[2]
        bad = Path(loader._engine.source._listing.paths[int(plan["index"][1])])
        bad.write_bytes(b"")
        with pytest.raises(fa.DecodeError, match="empty"):
            loader.replay(plan)
        Image.new("RGB", (5, 5)).save(bad)  # another image since, smaller than the box
        with pytest.raises(ValueError, match="inside its image"):
            loader.replay(plan)


# ---- files ----


def saved(plan: BatchPlan, **arrays: object) -> bytes:
    out = io.BytesIO()
    members = dict(
        rows=plan.rows,
        holes=plan.holes,
        ops=plan.ops,
        seed=np.uint64(plan.seed),
        step=plan.step,
        size=plan.size,
        wanted=plan.wanted,
        masks=plan.masks,
        format=plan_file._FORMAT,
    )
    np.savez(out, **{name: value for name, value in {**members, **arrays}.items() if value is not None})
    return out.getvalue()


def claiming(plan: BatchPlan, shape: str) -> bytes:
    """A plan whose rows say another shape than they have."""
    rows = io.BytesIO()
    np.save(rows, plan.rows)
    right = f"({len(plan)},)".encode()
    assert right in rows.getvalue()
    wrong = shape.encode()
    text = rows.getvalue().replace(right, wrong, 1).replace(b" " * (len(wrong) - len(right)), b"", 1)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(plan))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name == "rows.npy" else old.read(name))
    return out.getvalue()


def test_what_is_loaded_is_a_plan_or_a_value_error(tmp_path):
    plan, path = everything(), tmp_path / "plan.npz"
    good = saved(plan)
    path.write_bytes(good)
    assert (BatchPlan.load(path).rows == plan.rows).all()
    BatchPlan.load(path).rows["flip"] = 1  # what was loaded can be edited
    packed = io.BytesIO()
    np.savez_compressed(packed, **dict(np.load(path)))
    cases = {
        "nothing": b"",
        "text": b"not a zip",
        "an array": b"\x93NUMPY" + bytes(99),
        "cut off": good[: len(good) // 2],
        "an end only": good[-200:],
        "compressed": packed.getvalue(),
        "an empty zip": b"PK\5\6" + bytes(18),
        "no rows": saved(plan, rows=None),
        "no ops": saved(plan, ops=None),
        "no holes": saved(plan, holes=None),
        "fewer holes": saved(plan, holes=plan.holes[1:]),
        "no wanted": saved(plan, wanted=None),
        "no format": saved(plan, format=None),
        "an old format": saved(plan, format=3),
        "two formats": saved(plan, format=[4, 4]),
        "no format number": saved(plan, format=np.zeros(0, int)),
        "0-d rows": saved(plan, rows=plan.rows[0]),
        "objects": saved(plan, rows=np.array([{}], object)),
        "0-d ops": saved(plan, ops=plan.ops[0]),
        "ops in rows": saved(plan, ops=plan.ops[None]),
        "0-d size": saved(plan, size=40),
        "three sizes": saved(plan, size=(40, 30, 3)),
        "a float size": saved(plan, size=(40.0, 30.0)),
        "a negative seed": saved(plan, seed=-1),
        "a list of seeds": saved(plan, seed=[1]),
        "a name for a seed": saved(plan, seed="one"),
        "a float step": saved(plan, step=0.5),
        "a huge image": saved(plan, size=(1 << 40, 1 << 40)),
        "0-d wanted": saved(plan, wanted=np.int64(1)),
        "rows of bytes": saved(plan, rows=plan.rows.view("u1")),
        "no rows at all": saved(plan.take([])),
        "many rows": claiming(plan, "(99999999999999,)"),
        "minus one row": claiming(plan, "(-1,)"),
        "a row that is out of bounds": saved(plan, wanted=plan.wanted - 10),
    }
    for name, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            pytest.fail(f"{name} was loaded: {BatchPlan.load(path)!r}")
    with pytest.raises(OSError, match="No such file"):
        BatchPlan.load(tmp_path / "absent.npz")
    with pytest.raises(IsADirectoryError):
        BatchPlan.load(tmp_path)


def test_a_plan_with_changed_bytes_is_a_plan_or_a_value_error(tmp_path):
    path, good = tmp_path / "plan.npz", np.frombuffer(saved(everything(1)), np.uint8)
    rng, loaded = np.random.default_rng(0), 0
    for k in range(600):
        data = good.copy()
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(data)))
            data[at : at + int(rng.integers(1, 9))] = rng.integers(256)
        path.write_bytes(data[: int(rng.integers(len(data)))].tobytes() if k % 10 == 0 else data.tobytes())
        try:
            BatchPlan.load(path)
        except ValueError:
            continue
        loaded += 1
    assert loaded < 60  # what lies between a zip's members


# ---- under sanitizers ----


def test_changed_plans_harm_no_kernel(fuzz_plans):
    outcome = fuzz_plans.fuzz(0, 2000)
    assert outcome.guilty == []
    assert outcome.carried_out > 2000 / 3
    assert len(outcome.refused) > 40


NEEDED = [
    "partner",
    "cut_x1",
    "holes[{}].x1",
    "holes[{}].x0",
    "chains",
    "ops[{}].half",
    "ops[{}].x1",
    "ops[{}].map[{}]",
    "ops[{}].value",
    "hide",
    "ops[{}].fill[{}]",
]


@pytest.mark.release
@pytest.mark.parametrize("name", NEEDED)
def test_without_a_bound_the_sanitizers_find_harm(fuzz_plans, monkeypatch, name):
    within = plan_check.within

    def without(field, *rest, **options):
        return None if field == name else within(field, *rest, **options)

    monkeypatch.setattr(plan_check, "within", without)
    assert any(fuzz_plans.fuzz(first, first + 500).guilty for first in range(0, 60_000, 500))


@pytest.mark.release
def test_changed_plans_harm_no_cuda_kernel(fuzz_plans):
    batch, expected = [], []
    for number in range(150):
        plan, _ = fuzz_plans.made(number)
        if refusal(plan):
            continue
        dtype = (torch.float32, torch.float16, torch.bfloat16)[number % 3]
        output = Output(dtype, number % 2 > 0, fa.Normalize())
        crops = crops_of(len(plan), plan.size, number)
        plan.rows["n_ops"] = 0  # policy.cu has tests of its own
        want = NativeExecutor(output, 1).run(plan, crops)
        want = want.permute(0, 2, 3, 1) if output.channels_last else want
        launch = cuda.describe(output, plan, *cuda_host.addresses(4))
        memory = np.full(want.numel() * want.element_size(), 0xA5, np.uint8)
        batch.append(
            cuda_host.Case([launch], [crops.numpy(), cuda.tables_of(plan).numpy(), NOISE, memory], 3)
        )
        expected.append(want.contiguous().view(torch.uint8).numpy().tobytes())
    assert len(batch) > 50
    results = cuda_host.run_program(cuda_host.program(), batch)
    assert [k for k, ((_, got), want) in enumerate(zip(results, expected, strict=True)) if got != want] == []
