"""Masks, mixing and pixels to compare executors on; without Kornia, so that the CUDA tests need none."""

from __future__ import annotations

import fastaug as fa


def masks(size):
    side = max(size)
    return {
        "nothing": [],
        "cutout": [fa.Cutout(max(1, side // 2), n_holes=2, fill=(0.5, -1.0, 2.0))],
        "erasing": [fa.RandomErasing(p=1.0, value=(0.1, 0.2, 0.3))],
        "noise": [fa.RandomErasing(p=1.0, value="random")],
        "hide": [fa.HideAndSeek((0, 1, 3, 8))],
        "grid paper": [fa.GridMask((3, 3 + side), p=1.0)],
        "grid paddle": [fa.GridMask((3, 3 + side), ratio=0.5, mode=0, rotate=1, p=1.0)],
        "choice": [
            fa.OneOf(
                [fa.Cutout(max(1, side // 2)), fa.GridMask((3, 3 + side), p=1.0), fa.HideAndSeek((2, 4))]
            )
        ],
        "all": [
            fa.GridMask((3, 3 + side), p=0.7, fill=1.0),
            fa.HideAndSeek((0, 5)),
            fa.RandomErasing(value="random"),
            fa.Cutout(max(1, side // 3), n_holes=3),
        ],
    }


MIXES = {
    "alone": [],
    **{f"mixup {per}": [fa.MixUp(1.0, per)] for per in ("batch", "pair", "sample")},
    **{f"cutmix {per}": [fa.CutMix(1.0, per)] for per in ("batch", "pair", "sample")},
    "either": [fa.OneOf([fa.MixUp(0.5, "sample"), fa.CutMix(1.0, "pair")], per="sample")],
    "gridmix pair": [fa.GridMix(1.0, "pair", n=3)],
    "shapes": [
        fa.OneOf(
            [fa.FMix(1.0, "sample"), fa.ResizeMix(per="sample"), fa.CutMix(1.0), fa.MixUp(1.0)], per="sample"
        )
    ],
}
