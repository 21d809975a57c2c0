"""The same numbers, for ever: digests of plans, images and targets, for each of many configurations.

``python -m tests.test_digests`` writes them anew into digests.json. A change there changes what users get
for the same seed, so it has to be meant.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fastaug as fa
from fastaug.recipes import NAMES, recipe

FILE = Path(__file__).with_name("digests.json")
PIXELS = np.random.default_rng(15).integers(0, 256, (20, 40, 48, 3), np.uint8)
LABELS = [7 * k % 5 for k in range(20)]
CROP, NORMALIZE = fa.RandomResizedCrop(32), fa.Normalize()
# What a plan says of a row, by name: not where in memory, and not in which order.
COLUMNS = [
    "index",
    "epoch",
    "occurrence",
    "repeat",
    "flip",
    "y0",
    "x0",
    "h",
    "w",
    "interpolation",
    "start_y",
    "start_x",
    "step_y",
    "step_x",
    "chains",
    "chain_weight",
    "mix",
    "partner",
    "lam",
    "cut_y0",
    "cut_x0",
    "cut_y1",
    "cut_x1",
    "hide",
]
GRID = ["grid_d", "grid_l", "grid_y", "grid_x", "grid_mode", "grid_cos", "grid_sin", "grid_inv", "grid_fill"]
HIDE = ["hide_p", "hide_fill"]


def encoded(bad: tuple[int, ...]) -> list[tuple[bytes, int]]:
    """The images as PNG, some of them damaged behind the header."""
    out = []
    for k, pixels in enumerate(PIXELS):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png")
        data = file.getvalue()
        out.append((data[:60] if k in bad else data, LABELS[k]))
    return out


class Evens(torch.utils.data.Sampler):
    """A user's sampler, some samples twice."""

    def __iter__(self):
        yield from (2 * k % 20 for k in torch.randperm(15).tolist())

    def __len__(self):
        return 15


def one(op, *others):
    return dict(augment=[*([CROP] if op.stage else []), op, *others])


MIXERS = [fa.MixUp(0.4), fa.CutMix(1.0)]
MASKS = [fa.Cutout(9, 2), fa.RandomErasing(value="random"), fa.HideAndSeek((0, 5, 8)), fa.GridMask((6, 20))]
POLICY = fa.Policy(
    [[("Rotate", 0.8, 20.0), ("Cutout", 0.9, 8)], [("SolarizeAdd", 1.0, 40)], [("ShearX", 1.0, 0.3)]]
)
TIMM = (
    "SolarizeIncreasing",
    "PosterizeOriginal",
    "ColorIncreasing",
    "TranslateXRel",
    "SolarizeAdd",
    "Desaturate",
)
BOTH = dict(augment=[CROP, fa.RandomHorizontalFlip(), fa.RandAugment(), *MASKS, fa.MixUp(0.4), NORMALIZE])
TURNS = (
    fa.RandomRotation(40, interpolation="bilinear"),
    fa.RandomAffine(30, (0.1, 0.2), (0.6, 1.4), 10, fill=0),
    fa.RandomPerspective(0.5, p=0.9),
    fa.RandomRotation90(),
)
GEOMETRIES = (
    *((fa.RandomCrop(32, 4, padding_mode=mode),) for mode in ("constant", "edge", "reflect", "symmetric")),
    (fa.Resize(24, "lanczos"), fa.RandomCrop((32, 30), None, True, (9, 8, 7)), fa.RandomHorizontalFlip()),
    (fa.RandomShortestSize((33, 40), 60, "box"), fa.CenterCrop(32)),
    (fa.Pad((3, 1), 0, "reflect"), *TURNS[:2], fa.RandomResizedCrop(32, interpolation="hamming")),
    (fa.RandomHorizontalFlip(), TURNS[2], fa.RandomVerticalFlip(), TURNS[3], fa.CenterCrop(32)),
    (CROP, *TURNS, fa.RandomHorizontalFlip(), NORMALIZE),
    (CROP, fa.OneOf([TURNS[0], fa.RandomInvert()]), fa.RandomApply([TURNS[1], fa.RandomPosterize(3)], 0.7)),
    (
        *(CROP, fa.RandomAutocontrast(), fa.RandomEqualize(), fa.RandomAdjustSharpness(2)),
        *(fa.RandomChannelPermutation(), fa.RandomPhotometricDistort()),
    ),
)
CONFIGURATIONS = {
    **{
        f"crop {how}": one(fa.RandomResizedCrop(32, (0.3, 0.9), (0.5, 2), how))
        for how in ("nearest", "bilinear", "bicubic")
    },
    "resize": one(fa.Resize((24, 30))),
    "resize centre": dict(
        augment=[fa.Resize(32, "bicubic"), fa.CenterCrop((28, 20)), fa.RandomHorizontalFlip()]
    ),
    "centre": one(fa.CenterCrop(31)),
    "nothing": dict(augment=[]),
    "flip": one(fa.RandomHorizontalFlip(0.4)),
    "flips": dict(augment=[CROP, fa.RandomHorizontalFlip(), fa.RandomVerticalFlip(0.6)]),
    "normalize": one(fa.Normalize((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))),
    **{type(op).__name__: one(op, NORMALIZE) for op in MASKS},
    "erasing linear": one(fa.RandomErasing(1.0, aspect="linear", value=(1.0, 0.5, 0.0), tries=3)),
    "grid ramp": one(fa.GridMask((6, 20), 0.5, 0, 1, 1.0, ramp_epochs=3, fill=0.5)),
    **{
        f"{type(m).__name__} {per}": one(type(m)(m.alpha, per, 0.9))
        for m in MIXERS
        for per in ("batch", "pair", "sample")
    },
    **{
        f"{type(m).__name__} {m.per}": one(m, NORMALIZE)
        for m in (fa.FMix(1.0, "pair"), fa.GridMix(1.0, "sample", 0.8, 5), fa.ResizeMix(per="sample"))
    },
    "corner": one(fa.CornerCrop((30, 20), "bottom right", "horizontal"), fa.RandomHorizontalFlip()),
    "one mask": one(fa.OneOf(MASKS, [1, 2, 3, 4])),
    "one mixing": one(fa.OneOf(MIXERS)),
    "mixing each": one(fa.OneOf([fa.MixUp(0.4, "sample"), fa.CutMix(1.0, "pair")], per="sample")),
    "all masks": dict(augment=[CROP, *MASKS, fa.Cutout(4, 3), NORMALIZE]),
    **{
        f"{type(op).__name__} {k}": one(op, NORMALIZE)
        for k, op in enumerate(
            (
                fa.RandAugment(3, 20),
                fa.TrivialAugmentWide(interpolation="bilinear", fill=9),
                fa.AugMix(),
                fa.AugMix(5, 2, 3, 0.5, all_ops=False),
                fa.AutoAugment(),
                fa.AutoAugment("cifar10"),
                fa.AutoAugment("svhn"),
                POLICY,
                fa.ColorJitter(0.4, 0.4, 0.4, 0.1),
                fa.RandomGrayscale(0.5),
                fa.GaussianBlur(5, p=0.7),
                fa.RandomSolarize(100),
            )
        )
    },
    "several policies": dict(
        augment=[CROP, fa.ColorJitter(0.5, p=0.8), fa.RandomGrayscale(), fa.GaussianBlur(3)]
    ),
    **{f"recipe {name}": dict(augment=recipe(name, 32, 10)) for name in NAMES},
    "kornia": dict(BOTH, executor="kornia"),
    **{
        f"{dtype} {layout}": dict(BOTH, dtype=dtype, memory_format=layout)
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
        for layout in (torch.contiguous_format, torch.channels_last)
    },
    "timm": dict(
        augment=[
            fa.RandomResizedCrop(32, interpolation="random"),
            fa.TimmPolicy("rand", [[(name, 0.5, 9, 0.5) for name in TIMM]], 3),
            fa.TimmPolicy("auto", [[("Rotate", 0.6, 9), ("Equalize", 0.8, 3)], [("Invert", 0.6, 4, 0, 12)]]),
            fa.RandomErasing(0.6, value="random", max_count=3),
            NORMALIZE,
        ]
    ),
    "uint8": dict(augment=[CROP, fa.RandAugment(), *MASKS[:2], fa.CutMix(1.0)], dtype=torch.uint8),
    **{f"geometry {k}": dict(augment=list(ops)) for k, ops in enumerate(GEOMETRIES)},
    "smooth": dict(augment=[CROP], label_smoothing=0.1),
    "rank 1 of 3": dict(BOTH, rank=1, world_size=3, batch_size=3),
    "in order": dict(BOTH, shuffle=False, drop_last=True),
    "given": dict(BOTH, shuffle=None, sampler=Evens()),
    "given batches": dict(
        BOTH, shuffle=None, batch_size=1, batch_sampler=[[1, 1, 5], [0, 19, 18, 1], [3]], rank=2, world_size=4
    ),
    "large seed": dict(BOTH, seed=2**64 - 1),
    "resumed": BOTH,
    "skip": dict(BOTH, dataset=encoded((3, 11)), on_error="skip", max_bad=None),
    "replace": dict(BOTH, dataset=encoded((3, 11)), on_error="replace", max_bad=None),
}


def tables(plan, k: int):
    """The operations and holes of row k."""
    return plan.sample(k).ops, plan.sample(k).holes


def plan_digest(plan) -> str:
    digest = hashlib.blake2b(digest_size=6)
    digest.update(repr((plan.seed, plan.step, plan.size, plan.wanted.tolist())).encode())
    for k, row in enumerate(plan.rows):
        names = [*COLUMNS, *(GRID if row["grid_d"] else ()), *(HIDE if row["hide"] else ())]
        if row["warp"] or row["frame"].tolist() != [0, 0, *plan.size]:
            names += ["frame", "padding_mode", "crop_fill", "warp", "warp_map"]
        digest.update(repr([row[name].tolist() for name in names]).encode())
        if row["flip_y"]:
            digest.update(b"flip_y")
        for table in tables(plan, k):
            digest.update(
                repr(
                    [
                        sorted(
                            pair
                            for pair in zip(table.dtype.names, entry.tolist(), strict=True)
                            if pair[0] != "tilt" or any(pair[1])
                        )
                        for entry in table
                    ]
                ).encode()
            )
    return digest.hexdigest()


def tensor_digest(tensor: torch.Tensor) -> str:
    as_bytes = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.blake2b(as_bytes, digest_size=6).hexdigest()


def batches(name: str):
    """Some batches of a configuration: three of its epoch 0, and two of its epoch 7."""
    given = {"dataset": (PIXELS, LABELS), "batch_size": 7, "shuffle": True, "seed": 0, **CONFIGURATIONS[name]}
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    with fa.loader(num_classes=5, with_plan=True, num_workers=2, **given) as loader:
        if name == "resumed":
            for _ in islice(loader, 2):
                pass
            state = loader.state_dict()
            with fa.loader(num_classes=5, with_plan=True, **{**given, "batch_size": 3}) as other:
                other.load_state_dict(json.loads(json.dumps(state)))
                yield from other
            return
        yield from islice(loader, 3)
        loader.set_epoch(7)
        yield from islice(loader, 2)


def digests(name: str) -> list[str]:
    out = []
    for images, targets, plan in batches(name):
        if name == "kornia":  # sums in the order that torch likes
            images = (images * 256).round()
        out.append(" ".join([plan_digest(plan), tensor_digest(images), tensor_digest(targets)]))
    return out


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_same_seed_gives_the_same_numbers_for_ever(name):
    if name in ("skip", "replace"):
        pytest.importorskip("nvidia.dali")
    if name == "kornia":
        pytest.importorskip("kornia")
    assert digests(name) == json.loads(FILE.read_text())[name]


def test_every_augmentation_is_among_them():
    def members(op):
        return [op, *(part for member in getattr(op, "members", ()) for part in members(member))]

    used = {
        type(part) for given in CONFIGURATIONS.values() for op in given["augment"] for part in members(op)
    }
    public = {
        kind for kind in vars(fa).values() if isinstance(kind, type) and issubclass(kind, fa.Augmentation)
    }
    views = {fa.FiveCrop, fa.TenCrop}  # several images of one
    assert public - {fa.Augmentation, fa.MaskMix} - views == used


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: digests(name) for name in CONFIGURATIONS}, indent=1) + "\n")
