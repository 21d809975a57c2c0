"""Named lists of augmentations, with the parameters behind published results.

The parameters of ``standard`` to ``hide-and-seek`` are PaddleClas's for its table of ResNet-50 on
ImageNet (300 epochs). Lengths are given for 224 pixels and scale with ``size / 224``.
"""

from __future__ import annotations

from typing import Any

from .checks import MAX_SIZE, whole
from .ops.base import Augmentation
from .ops.colour import ColorJitter, GaussianBlur
from .ops.crop import CenterCrop, RandomResizedCrop, Resize
from .ops.cutout import Cutout
from .ops.erasing import RandomErasing
from .ops.flip import RandomHorizontalFlip
from .ops.grid_mask import GridMask
from .ops.hide import HideAndSeek
from .ops.mixing import CutMix, MixUp
from .ops.normalize import Normalize
from .ops.one_of import OneOf
from .ops.pad import RandomCrop
from .ops.point import RandomGrayscale, RandomSolarize
from .ops.rand_augment import RandAugment
from .ops.sequences import AutoAugment
from .ops.views import Views

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


# Those that are Views.
VIEWS = ("simclr", "moco-v2", "moco-v3", "byol", "swav", "dino", "dinov2", "repeated-augmentation")


def _view(
    size: int,
    scale: tuple[float, float],
    jitter: tuple[float, float, float, float],
    blur: float,
    *,
    solarize: float = 0.0,
    kernel: int = 23,
    interpolation: str = "bilinear",
) -> list[Augmentation]:
    """A view for self-supervised learning: crop, flip, jitter, gray, blur, solarized; ``blur`` and
    ``solarize`` are probabilities."""
    width = min(kernel, 2 * ((size - 1) // 2) + 1)
    return [
        RandomResizedCrop(size, scale, interpolation=interpolation),
        RandomHorizontalFlip(),
        ColorJitter(*jitter, p=0.8),
        RandomGrayscale(0.2),
        GaussianBlur(width, (0.1, 2.0), p=blur),
        *([RandomSolarize(128, p=solarize)] if solarize else []),
        Normalize(),
    ]


def views(name: str, size: int = 224) -> Views:
    """The Views behind a name, with the numbers of its authors' code; all end with Normalize.

    Args:
        name: one of ``VIEWS``: ``simclr`` (Chen et al. 2020, https://arxiv.org/abs/2002.05709), ``moco-v2``
            (https://arxiv.org/abs/2003.04297), ``moco-v3`` (https://arxiv.org/abs/2104.02057), ``byol``
            (https://arxiv.org/abs/2006.07733), ``swav`` (https://arxiv.org/abs/2006.09882), ``dino``
            (https://arxiv.org/abs/2104.14294), ``dinov2`` (https://arxiv.org/abs/2304.07193);
            ``repeated-augmentation``: three views of each image (Hoffer et al. 2020,
            https://arxiv.org/abs/1901.09335), as many as DeiT takes.
        size: side of the large views in pixels; small ones have 96 / 224 of it. Blur's kernel has at most 23
            pixels, as in the papers at 224.

    Raises:
        ValueError: for another name, with the accepted ones.
    """
    if name not in VIEWS:
        raise ValueError(f"there are no views {name!r}; there are {', '.join(VIEWS)}")
    whole("views size", size, 1, MAX_SIZE)
    small, usual = max(1, round(size * 96 / 224)), (0.4, 0.4, 0.2, 0.1)
    if name == "simclr":
        return Views([_view(size, (0.08, 1), (0.8, 0.8, 0.8, 0.2), 0.5)] * 2)
    if name == "moco-v2":
        return Views([_view(size, (0.2, 1), (0.4, 0.4, 0.4, 0.1), 0.5)] * 2)
    if name in ("moco-v3", "byol"):
        cubic = "bilinear" if name == "moco-v3" else "bicubic"
        pair = ((1.0, 0.0), (0.1, 0.2))
        return Views([_view(size, (0.08, 1), usual, b, solarize=s, interpolation=cubic) for b, s in pair])
    if name == "swav":
        strong = (0.8, 0.8, 0.8, 0.2)
        return Views(
            [_view(size, (0.14, 1), strong, 0.5)] * 2 + [_view(small, (0.05, 0.14), strong, 0.5)] * 6
        )
    if name in ("dino", "dinov2"):
        middle, kernel = (0.4, 23) if name == "dino" else (0.32, 9)
        given: dict[str, Any] = {"kernel": kernel, "interpolation": "bicubic"}
        large = [_view(size, (middle, 1), usual, b, solarize=s, **given) for b, s in ((1.0, 0.0), (0.1, 0.2))]
        return Views(large + [_view(small, (0.05, middle), usual, 0.5, **given)] * 8)
    crop = RandomResizedCrop(size, interpolation="bicubic")
    return Views([[crop, RandomHorizontalFlip(), Normalize()]] * 3)


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
        more = f", and in recipes.views {', '.join(VIEWS)}"
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(NAMES)}{more}")
    whole("recipe size", size, 1, MAX_SIZE)
    whole("recipe epochs", epochs, 0)
    if name == "imagenet-eval":
        return [Resize(round(size * 256 / 224)), CenterCrop(size), Normalize()]
    if name in ("3-augment", "deit3"):
        return _deit3(size, simple=name == "deit3")
    return [RandomResizedCrop(size), RandomHorizontalFlip(), *_middle(name, size, epochs), Normalize()]
