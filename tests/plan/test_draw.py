from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomErasing as TVErasing
from torchvision.transforms import RandomResizedCrop as TVCrop
from torchvision.transforms import v2

import fastaug as fa
from fastaug.execute.kornia import KorniaExecutor
from fastaug.execute.output import Output
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

from ..conftest import draw_plan

N = 3000


def same(a, b):
    return stats.ks_2samp(a, b).pvalue > 1e-4


@pytest.mark.parametrize(
    ("scale", "ratio", "size"),
    [
        ((0.08, 1.0), (3 / 4, 4 / 3), (375, 500)),
        ((0.2, 1.0), (3 / 4, 4 / 3), (500, 333)),
        ((0.08, 1.0), (3 / 4, 4 / 3), (60, 400)),
        ((0.5, 0.6), (0.9, 1.0), (32, 32)),
    ],
)
def test_crops_are_torchvisions(scale, ratio, size):
    torch.manual_seed(0)
    image = torch.empty(3, *size)
    theirs = np.array([TVCrop.get_params(image, list(scale), list(ratio)) for _ in range(N)])
    plan = draw_plan([fa.RandomResizedCrop(224, scale, ratio)], N, size=size)
    h, w, y0, x0 = (plan[c] for c in ("h", "w", "y0", "x0"))
    assert same(h * w, theirs[:, 2] * theirs[:, 3])
    assert same(w / h, theirs[:, 3] / theirs[:, 2])
    assert same(y0, theirs[:, 0])
    assert same(x0, theirs[:, 1])
    assert (y0 >= 0).all()
    assert (y0 + h <= size[0]).all()
    assert (x0 + w <= size[1]).all()


def test_the_fallback_crop_is_torchvisions():
    for size in ((10, 400), (400, 10), (50, 50), (1, 1)):
        want = TVCrop.get_params(torch.empty(3, *size), [1.0, 1.0], [0.9, 0.95])
        plan = draw_plan([fa.RandomResizedCrop(8, (1.0, 1.0), (0.9, 0.95))], 1, size=size)
        got = tuple(int(plan[c][0]) for c in ("y0", "x0", "h", "w"))
        assert max(abs(a - b) for a, b in zip(got, want, strict=True)) <= 1


def test_erasing_is_torchvisions():
    torch.manual_seed(0)
    image = torch.zeros(3, 224, 224)
    theirs = [TVErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0]) for _ in range(N)]
    ty, tx, th, tw = np.array([t[:4] for t in theirs]).T
    plan = draw_plan([fa.Resize((224, 224)), fa.RandomErasing(p=1.0)], N)
    hole = plan.holes
    h, w = hole["y1"] - hole["y0"], hole["x1"] - hole["x0"]
    assert same(h * w, th * tw)
    assert same(h / w, th / tw)
    assert same(hole["y0"], ty)
    assert same(hole["x0"], tx)


def test_linear_erasing_makes_tall_boxes():
    recipe = fa.recipes.recipe("random-erasing")
    plan = draw_plan([op for op in recipe if not isinstance(op, fa.RandomResizedCrop)], N, size=(224, 224))
    used = plan["n_holes"] == 1
    assert abs(used.mean() - 0.5) < 0.04
    hole = plan.holes
    taller = (hole["y1"] - hole["y0"]) > (hole["x1"] - hole["x0"])
    assert abs(taller.mean() - 0.76) < 0.04


def test_flip_and_probabilities():
    for p in (0.0, 0.3, 1.0):
        flips = [fa.RandomHorizontalFlip(p), fa.RandomVerticalFlip(p)]
        plan = draw_plan([*flips, fa.Cutout(20, p=p), fa.GridMask(p=p)], N)
        shares = plan["flip"], plan["flip_y"], plan["n_holes"], plan["grid_d"] > 0
        for share in (column.mean() for column in shares):
            assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / N) + 1e-9


def test_alternating_flips_show_both_sides_in_two_epochs():
    augment = [fa.CenterCrop(8), fa.RandomHorizontalFlip(alternating=True)]
    flips = []
    data = np.zeros((400, 9, 9, 3), np.uint8), np.zeros(400, int)
    with fa.loader(data, 80, True, augment=augment, seed=1, with_plan=True) as loader:
        for _ in range(4):
            of_sample = np.zeros(400, int)
            for _, _, plan in loader:
                of_sample[plan["index"]] = plan["flip"]
            flips.append(of_sample)
    assert abs(flips[0].mean() - 0.5) < 0.1
    assert (flips[1] == 1 - flips[0]).all()
    assert (flips[2] == flips[0]).all()
    assert (flips[3] == flips[1]).all()
    with pytest.raises(ValueError, match="alternating=True shows both"):
        fa.RandomHorizontalFlip(0.3, alternating=True)


def test_cutout_is_centred_anywhere_and_clipped():
    plan = draw_plan([fa.Resize((100, 60)), fa.Cutout(20)], N)
    hole = plan.holes
    inner = hole[(hole["y0"] > 0) & (hole["y1"] < 100)]
    assert ((inner["y1"] - inner["y0"]) == 20).all()
    assert stats.kstest((inner["y0"] + 10 + 0.5) / 100, stats.uniform(0.105, 0.8).cdf).pvalue > 1e-4
    assert hole["y0"].min() == 0
    assert hole["x1"].max() == 60


def erased_share(augment, n=64, size=224):
    plan = draw_plan([fa.Resize((size, size)), *augment], n)
    executor = KorniaExecutor(Output(torch.uint8, False, None), torch.device("cpu"))
    white = torch.full((n, size, size, 3), 255, dtype=torch.uint8)
    return float((executor.run(plan, white)[:, 0] == 0).float().mean())


def test_erased_areas():
    for ratio in (0.4, 0.6):
        assert abs(erased_share([fa.GridMask((40, 60), ratio=ratio, p=1.0)]) - (1 - ratio) ** 2) < 0.02
        paddle = fa.GridMask((40, 60), ratio=ratio, mode=0, rotate=1, p=1.0)
        assert abs(erased_share([paddle]) - (1 - (1 - ratio) ** 2)) < 0.02
    assert abs(erased_share([fa.HideAndSeek((16, 32))], 128) - 0.5) < 0.02
    assert abs(erased_share([fa.HideAndSeek((0, 16), hide_p=0.25)], 256) - 0.125) < 0.03


def test_grid_ramp_follows_the_epoch():
    shares = [
        (draw_plan([fa.GridMask(p=0.8, ramp_epochs=10)], N, epoch=e)["grid_d"] > 0).mean()
        for e in (0, 5, 10, 40)
    ]
    assert np.abs(np.array(shares) - [0, 0.4, 0.8, 0.8]).max() < 0.04


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_lam_is_beta(alpha):
    lam = np.concatenate([draw_plan([fa.MixUp(alpha, "sample")], 500, step=s)["lam"] for s in range(4)])
    assert stats.kstest(lam, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize("per", ["batch", "pair", "sample"])
@pytest.mark.parametrize("mixing", [fa.MixUp, fa.CutMix])
def test_partners(mixing, per):
    plan = draw_plan([mixing(1.0, per)], 33)
    partner, lam = plan["partner"], plan["lam"]
    if per == "pair":
        assert (partner[partner] == np.arange(33)).all()
        assert (lam[partner] == lam).all()
        assert len(np.unique(lam)) >= 15
    else:
        assert (np.sort(partner) == np.arange(33)).all() or (lam[partner == np.arange(33)] == 1).all()
        mixed = lam[plan["mix"] > 0]
        assert (len(np.unique(mixed)) == 1) == (per == "batch")
    assert (lam[plan["mix"] == 0] == 1).all()


def test_cutmix_lam_is_what_is_pasted():
    for step in range(20):
        plan = draw_plan([fa.Resize((37, 53)), fa.CutMix(1.0, "sample")], 16, step=step)
        crops = torch.arange(16, dtype=torch.uint8)[:, None, None, None].expand(16, 37, 53, 3)
        images = KorniaExecutor(Output(torch.uint8, False, None), torch.device("cpu")).run(plan, crops)
        own = (images[:, 0] == torch.arange(16)[:, None, None]).float().mean((1, 2)).numpy()
        assert np.abs(own - plan["lam"]).max() < 1e-6


def test_cutmix_boxes_are_the_papers():
    plan = draw_plan([fa.Resize((224, 224)), fa.CutMix(1.0, "sample")], N)
    rng = np.random.default_rng(0)
    side = (224 * np.sqrt(rng.uniform(size=N))).astype(int)  # 1 - lam is uniform at alpha 1
    centre = rng.integers(0, 224, N)
    low, high = np.clip(centre - side // 2, 0, 224), np.clip(centre + side // 2, 0, 224)
    for axis in "yx":
        assert same(plan[f"cut_{axis}1"] - plan[f"cut_{axis}0"], high - low)
        assert same(plan[f"cut_{axis}0"], low)


@pytest.mark.parametrize("weights", [None, (3.0, 1.0)])
def test_one_of_chooses_in_proportion(weights):
    plan = draw_plan([fa.OneOf([fa.Cutout(20), fa.HideAndSeek((8,))], weights)], N)
    first = (plan["n_holes"] > 0).mean()
    assert (((plan["n_holes"] > 0) + (plan["hide"] > 0)) == 1).all()
    assert abs(first - (0.75 if weights else 0.5)) < 0.04
    kinds = [
        set(draw_plan([fa.OneOf([fa.MixUp(1.0), fa.CutMix(1.0)])], 32, step=s)["mix"].tolist()) - {0}
        for s in range(60)
    ]
    assert all(len(k) <= 1 for k in kinds)
    assert {1} in kinds
    assert {2} in kinds


def test_adding_an_augmentation_changes_no_other_draw():
    base = [fa.RandomResizedCrop(64), fa.RandomHorizontalFlip(), fa.GridMask((10, 20))]
    a, b = draw_plan(base, 50), draw_plan([*base[:2], fa.Cutout(9), base[2], fa.MixUp(1.0)], 50)
    for column in ("y0", "x0", "h", "w", "flip", "grid_d", "grid_y", "grid_cos"):
        assert (a[column] == b[column]).all()


def test_repeats_of_a_sample_differ():
    ticket = replace(Ticket.of([3, 3]), occurrence=np.array([0, 1], "u4"))
    plan = Planner([fa.RandomResizedCrop(32)]).plan(ticket, *np.full((2, 2), 400))
    assert plan["y0"][0] != plan["y0"][1]


@pytest.mark.parametrize("mixing", ["MixUp", "CutMix"])
def test_soft_targets_are_torchvisions(mixing):
    n, classes = 8, 5
    labels = np.arange(n) % classes
    plan = draw_plan([fa.Resize((16, 16)), getattr(fa, mixing)(1.0)], n)
    targets = plan.soft_targets(labels, classes)
    assert (targets.sum(1) - 1).abs().max() < 1e-6
    theirs = getattr(v2, mixing)(num_classes=classes)
    onehot = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float()
    # torchvision pairs by roll(1): give it our partners rolled, and our lam.
    for i in range(n):
        pair = torch.stack([onehot[plan["partner"][i]], onehot[i]])
        label = theirs._mixup_label(pair, lam=float(plan["lam"][i]))
        assert (label[1] - targets[i]).abs().max() < 1e-6
    smooth = plan.soft_targets(labels, classes, 0.1)
    assert (smooth - (0.9 * targets + 0.1 / classes)).abs().max() < 1e-6


def test_a_plan_prints_saves_and_loads(tmp_path):
    augment = [fa.RandomResizedCrop(64), fa.Cutout(9), fa.GridMask(p=1.0), fa.MixUp(1.0)]
    plan = draw_plan(augment, 5, seed=2**63)
    text = str(plan)
    assert "mixup with row" in text
    assert "grid d=" in text
    assert len(text.splitlines()) == 7
    plan.save(tmp_path / "plan.npz")
    again = fa.BatchPlan.load(tmp_path / "plan.npz")
    assert (again.rows == plan.rows).all()
    assert (again.seed, again.step, again.size) == (plan.seed, plan.step, plan.size)
    np.savez(tmp_path / "other.npz", rows=np.zeros(3))
    with pytest.raises(ValueError, match="not a plan"):
        fa.BatchPlan.load(tmp_path / "other.npz")


def test_a_plan_without_some_rows_mixes_the_rest_alone():
    plan = draw_plan([fa.MixUp(1.0)], 6)
    lost = int(plan["partner"][0])
    rest = plan.take([i for i in range(6) if i != lost])
    assert rest["lam"][0] == 1
    assert rest["partner"][0] == 0
    assert (rest["index"][rest["partner"]][1:] >= 0).all()


OWN = [
    fa.RandomResizedCrop(32),
    fa.Resize((8, 8)),
    fa.CenterCrop(8),
    fa.RandomHorizontalFlip(),
    fa.RandomVerticalFlip(),
    fa.RandAugment(),
    fa.TrivialAugmentWide(),
    fa.AutoAugment(),
    fa.AugMix(),
    fa.Policy([[("Invert", 1.0, None)]]),
    fa.TimmPolicy("rand", [[("Rotate", 0.5, 9, 0.5)]]),
    fa.ColorJitter(0.1),
    fa.RandomGrayscale(),
    fa.GaussianBlur(3),
    fa.RandomSolarize(9.0),
    fa.Cutout(3),
    fa.RandomErasing(),
    fa.HideAndSeek(),
    fa.GridMask(),
    fa.MixUp(1.0),
    fa.CutMix(1.0),
    fa.FMix(),
    fa.GridMix(),
    fa.ResizeMix(),
    fa.OneOf([fa.Cutout(3), fa.GridMask()]),
    fa.Normalize(),
    fa.RandomCrop(8, 2),
    fa.RandomShortestSize(9),
    fa.Pad(2),
    fa.RandomPhotometricDistort(),
    fa.RandomPosterize(3),
    fa.RandomInvert(),
    fa.RandomAutocontrast(),
    fa.RandomEqualize(),
    fa.RandomAdjustSharpness(2),
    fa.RandomChannelPermutation(),
    fa.RandomRotation(9),
    fa.RandomAffine(9),
    fa.RandomPerspective(),
    fa.CornerCrop(99, "top right"),
    fa.RandomRotation90(),
    fa.RandomApply([fa.RandomInvert(), fa.RandomRotation(3)]),
]


@pytest.mark.parametrize("op", OWN, ids=lambda op: type(op).__name__)
def test_a_subclass_of_an_augmentation_is_refused_by_name(op):
    """Nothing draws or runs what it does."""
    mine = object.__new__(type("Mine", (type(op),), {}))
    mine.__dict__.update(vars(op))
    assert isinstance(draw_plan([op], 2, size=(99, 99)), fa.BatchPlan)
    words = rf"augment\[0\] is Mine\(.*the class Mine; give {type(op).__name__}, .*extra="
    with pytest.raises(TypeError, match=words):
        draw_plan([mine], 2, size=(99, 99))
    if op.stage in (2, 3) and not isinstance(op, fa.OneOf):
        with pytest.raises(TypeError, match=r"augment\[1\].members\[1\] is Mine\("):
            draw_plan([fa.Resize((99, 99)), fa.OneOf([op, mine])], 2)


@pytest.mark.parametrize("stage", range(5))
def test_an_augmentation_of_ones_own_is_refused_by_name(stage):
    mine = type("Mine", (fa.Augmentation,), {"stage": stage, "__call__": lambda self, images: images})()
    for op, name in ((mine, "Mine"), (fa.Augmentation(), "Augmentation")):
        with pytest.raises(TypeError, match=rf"no kernel for the class {name};.*extra="):
            draw_plan([fa.Resize((99, 99)), op], 2)
    with pytest.raises(TypeError, match="no kernel for the class Mine"):  # beside torchvision's, too
        fa.loader((np.zeros((2, 9, 9, 3), np.uint8), [0, 1]), augment=[v2.ToImage(), mine])


def test_every_augmentation_is_tried_above():
    kinds = (kind for kind in vars(fa).values() if isinstance(kind, type))
    exported = {kind for kind in kinds if issubclass(kind, fa.Augmentation)}
    views = {fa.FiveCrop, fa.TenCrop}  # several images of one: in tests/test_views.py
    assert {type(op) for op in OWN} | {fa.Augmentation, fa.MaskMix} | views == exported
