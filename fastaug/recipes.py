"""Named lists of augmentations, with the parameters behind published results.

The parameters of ``standard`` to ``hide-and-seek`` are PaddleClas's for its table of ResNet-50 on
ImageNet (300 epochs). Lengths are given for 224 pixels and scale with ``size / 224``.
"""

from __future__ import annotations

from .checks import MAX_SIZE, whole
from .ops.base import Augmentation
from .ops.colour import ColorJitter, GaussianBlur
from .ops.crop import CenterCrop, RandomCrop, RandomResizedCrop, Resize
from .ops.cutout import Cutout
from .ops.erasing import RandomErasing
from .ops.flip import RandomHorizontalFlip
from .ops.grid_mask import GridMask
from .ops.hide import HideAndSeek
from .ops.mixing import CutMix, MixUp
from .ops.normalize import Normalize
from .ops.one_of import OneOf
from .ops.point import RandomGrayscale, RandomSolarize
from .ops.rand_augment import RandAugment
from .ops.sequences import AutoAugment

RAMP = 0.8  # of the run's epochs: GridMask's probability grows that long (240 of 300 in the paper)


def _middle(name: str, size: int, epochs: int) -> list[Augmentation]:
    def scaled(pixels: int) -> int:
        return max(1, round(pixels * size / 224))

    if name == "autoaugment":
        return [AutoAugment()]
    if name == "randaugment":
        return [RandAugment(2, 15)]  # the paper's 5 of 10
    if name == "mixup":
        return [MixUp(0.2)]
    if name == "cutmix":
        return [CutMix(0.2)]
    if name == "cutout":
        return [Cutout(scaled(112))]
    if name == "gridmask":
        low = max(2, scaled(96))
        return [
            GridMask(
                (low, max(low + 1, scaled(224))),
                ratio=0.5,
                mode=0,
                rotate=1,
                p=1.0,
                ramp_epochs=RAMP * epochs,
            )
        ]
    if name == "random-erasing":
        return [RandomErasing(0.5, (0.02, 0.4), (0.3, 1 / 0.3), aspect="linear", tries=100)]
    if name == "hide-and-seek":
        return [HideAndSeek((0, *map(scaled, (16, 32, 44, 56))))]
    return []


def _deit3(size: int, *, simple: bool) -> list[Augmentation]:
    """As facebookresearch/deit's ``augment.py``; Pillow's blur by a radius is a Gaussian of that sigma."""
    crop = [Resize(size, "bicubic"), RandomCrop(size, 4, padding_mode="reflect")]
    width = min(23, 2 * ((size - 1) // 2) + 1)
    three = [RandomGrayscale(1.0), RandomSolarize(128, p=1.0), GaussianBlur(width, (0.1, 2.0))]
    mixing = [OneOf([MixUp(0.8), CutMix(1.0)])] if simple else []
    return [
        *(crop if simple else [RandomResizedCrop(size, interpolation="bicubic")]),
        RandomHorizontalFlip(),
        OneOf(three),
        ColorJitter(0.3, 0.3, 0.3),
        *mixing,
        Normalize(),
    ]


NAMES = (
    "imagenet",
    "imagenet-eval",
    "standard",
    "autoaugment",
    "randaugment",
    "mixup",
    "cutmix",
    "cutout",
    "gridmask",
    "random-erasing",
    "hide-and-seek",
    "3-augment",
    "deit3",
)


def recipe(name: str, size: int = 224, epochs: int = 0) -> list[Augmentation]:
    """The list behind a name.

    Args:
        name: one of ``NAMES``. ``imagenet`` and ``standard``: random resized crop, flip,
            Normalize. ``imagenet-eval``: Resize to size * 256 / 224, CenterCrop, Normalize. The
            others add the augmentation that they are called after to ``standard``. ``3-augment``: gray,
            solarized or blurred, then ColorJitter (Touvron et al. 2022, DeiT III,
            https://arxiv.org/abs/2204.07118), behind a bicubic crop; ``deit3``: the same behind the paper's
            simple random crop, with its mixing for ImageNet-1k.
        size: output side in pixels.
        epochs: length of the run, for GridMask's ramp; 0: no ramp.

    Raises:
        ValueError: for another name, with the accepted ones.
    """
    if name not in NAMES:
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(NAMES)}")
    whole("recipe size", size, 1, MAX_SIZE)
    whole("recipe epochs", epochs, 0)
    if name == "imagenet-eval":
        return [Resize(round(size * 256 / 224)), CenterCrop(size), Normalize()]
    if name in ("3-augment", "deit3"):
        return _deit3(size, simple=name == "deit3")
    return [RandomResizedCrop(size), RandomHorizontalFlip(), *_middle(name, size, epochs), Normalize()]
