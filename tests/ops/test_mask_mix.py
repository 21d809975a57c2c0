"""Mixing by masks: what they look like, how large they are, and that labels are weighed by exactly that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import fastaug as fa

from ..conftest import draw_plan

SIZE = (37, 45)


def mask_of(plan: fa.BatchPlan, k: int) -> np.ndarray:
    """Where row k shows its partner: bool [H, W]."""
    bits = np.unpackbits(plan.masks[plan["mix_mask"][k]], axis=1, bitorder="little")
    return bits[:, : plan.size[1]] > 0


def plans(op: fa.Augmentation, n: int = 16, count: int = 12) -> list[fa.BatchPlan]:
    return [draw_plan([fa.Resize(SIZE), op], n, step=step) for step in range(count)]


@pytest.mark.parametrize("op", [fa.FMix(per="sample"), fa.GridMix(per="sample"), fa.GridMix(n=7, per="pair")])
def test_labels_are_weighed_by_the_masks_area(op):
    for plan in plans(op):
        for k in np.flatnonzero(plan["mix"]):
            assert plan["lam"][k] == np.float32(1 - mask_of(plan, k).mean())
        alone = plan["mix"] == 0
        assert (plan["lam"][alone] == 1).all()
        assert (plan["partner"][alone] == np.flatnonzero(alone)).all()


@pytest.mark.parametrize("op", [fa.FMix(per="sample"), fa.ResizeMix(per="sample"), fa.GridMix(per="sample")])
def test_pixels_are_the_partners_where_the_plan_says(op):
    data = np.random.default_rng(0).integers(0, 256, (8, *SIZE, 3), np.uint8), np.arange(8)
    with fa.loader(data, 8, augment=[op], num_classes=8, with_plan=True, dtype=torch.uint8) as loader:
        images, targets, plan = next(iter(loader))
    own = torch.from_numpy(data[0]).permute(0, 3, 1, 2)
    for k, partner in enumerate(plan["partner"].tolist()):
        shown, row = own[k].clone(), plan.rows[k]
        if row["mix"] == 3:
            mask = torch.from_numpy(mask_of(plan, k))
            shown[:, mask] = own[partner][:, mask]
        elif row["mix"] == 4:
            y0, x0, y1, x1 = (row[f"cut_{name}"] for name in ("y0", "x0", "y1", "x1"))
            scaled = torch.nn.functional.interpolate(
                own[partner][None].double(), (y1 - y0, x1 - x0), mode="bilinear"
            )
            shown[:, y0:y1, x0:x1] = (scaled[0] + 0.5).floor().to(torch.uint8)
        assert (images[k].int() - shown.int()).abs().max() <= (row["mix"] == 4)
        assert targets[k, k] == pytest.approx(row["lam"] if partner != k else 1)


def test_fmix_shares_are_uniform_and_masks_are_blobs():
    """lam ~ Beta(1, 1); the larger the power, the fewer edges."""
    found = [plan["lam"][k] for plan in plans(fa.FMix(per="sample"), 32) for k in np.flatnonzero(plan["mix"])]
    assert stats.kstest(found, "uniform").pvalue > 1e-3

    def edges(power: float) -> float:
        masks = [mask_of(plan, 0) for plan in plans(fa.FMix(decay_power=power), 4) if plan["mix"][0]]
        return float(np.mean([np.mean(m[:, 1:] != m[:, :-1]) for m in masks]))

    assert 3 * edges(3.0) < edges(0.0)
    assert edges(3.0) < edges(1.5) < edges(0.0)


def test_grid_mix_shows_whole_cells():
    shares = []
    for plan in plans(fa.GridMix(per="sample", n=4), 16):
        for k in np.flatnonzero(plan["mix"]):
            mask = mask_of(plan, k)
            down, over = (np.array_split(np.arange(side), 4) for side in SIZE)
            cells = [mask[y[1:-1, None], x[1:-1]] for y in down for x in over]
            assert all(cell.all() or not cell.any() for cell in cells)
            shares.append(np.mean([cell.all() for cell in cells]))
    spread = np.random.default_rng(0).uniform(-1 / 32, 1 / 32, len(shares))  # over a cell's width
    assert stats.kstest(shares + spread, "uniform").pvalue > 1e-3


def test_resize_mix_is_distributed_as_the_paper_says():
    """tau ~ U(0.1, 0.8) of either side; anywhere inside; lam by the area."""
    size, sides, places = (200, 100), [], []
    for step in range(12):
        plan = draw_plan([fa.Resize(size), fa.ResizeMix(per="sample")], 32, step=step)
        for row in plan.rows[plan["mix"] == 4]:
            h, w = row["cut_y1"] - row["cut_y0"], row["cut_x1"] - row["cut_x0"]
            assert abs(h / 2 - w) <= 1
            assert row["lam"] == np.float32(1 - h * w / (size[0] * size[1]))
            sides.append(h / size[0])
            places.append((row["cut_y0"] + 0.5) / (size[0] - h + 1))
    assert stats.kstest(sides, stats.uniform(0.1, 0.7).cdf).pvalue > 1e-3
    assert stats.kstest(places, "uniform").pvalue > 1e-3


def test_units_share_masks():
    batch = draw_plan([fa.Resize(SIZE), fa.FMix()], 8, step=1)
    assert len(batch.masks) == 1
    assert len(set(batch["lam"][batch["mix"] > 0].tolist())) == 1
    pair = draw_plan([fa.Resize(SIZE), fa.FMix(per="pair")], 8, step=1)
    for k, partner in enumerate(pair["partner"].tolist()):
        assert pair["mix_mask"][k] == pair["mix_mask"][partner]
    both = draw_plan([fa.Resize(SIZE), fa.OneOf([fa.FMix(), fa.GridMix(per="sample")], per="sample")], 32)
    used = both["mix_mask"][both["mix"] == 3]
    assert len(both.masks) > 1 + len(set(used.tolist())) // 2
    assert used.max() < len(both.masks)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: fa.FMix(0), "FMix alpha"),
        (lambda: fa.FMix(decay_power=-1), "FMix decay_power"),
        (lambda: fa.GridMix(n=1), "GridMix n"),
        (lambda: fa.ResizeMix(scope=(0.5, 1.2)), "ResizeMix scope"),
        (lambda: fa.ResizeMix(per="image"), "ResizeMix per"),
    ],
)
def test_parameters_are_checked(make, why):
    with pytest.raises((TypeError, ValueError), match=why):
        make()


class Wrong(fa.MaskMix):
    def masks(self, lam, keys, stream, size):
        return np.zeros((len(lam), *size))


def test_masks_of_ones_own_are_checked():
    with pytest.raises(ValueError, match=r"Wrong.masks gives .*; it must give bool \[1, 37, 45\]"):
        draw_plan([fa.Resize(SIZE), Wrong(1.0)], 8)
