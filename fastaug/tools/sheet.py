"""Contact sheets: titled rows of augmented images, as one picture."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from ..loader import Loader
from ..ops.augmix import AugMix
from ..ops.base import Augmentation
from ..ops.colour import ColorJitter, GaussianBlur
from ..ops.crop import RandomResizedCrop, Resize
from ..ops.cutout import Cutout
from ..ops.erasing import RandomErasing
from ..ops.flip import RandomHorizontalFlip
from ..ops.grid_mask import GridMask
from ..ops.hide import HideAndSeek
from ..ops.mask_mix import FMix, GridMix, ResizeMix
from ..ops.mixing import CutMix, MixUp
from ..ops.one_of import OneOf
from ..ops.pad import RandomCrop
from ..ops.point import RandomGrayscale, RandomSolarize
from ..ops.rand_augment import RandAugment, TrivialAugmentWide
from ..ops.sequences import AutoAugment
from ..ops.timm_policy import TimmPolicy
from ..ops.turns import RandomPerspective, RandomRotation

TITLE_HEIGHT, GAP = 22, 4


_TIMM = ("Rotate", "ShearX", "TranslateYRel", "SolarizeIncreasing", "PosterizeIncreasing", "ColorIncreasing")


def gallery(size: int) -> dict[str, list[Augmentation]]:
    """A titled list for each augmentation, lengths scaled to ``size`` pixels."""
    crop = RandomResizedCrop(size, scale=(0.4, 1.0))

    def scaled(pixels: int) -> int:
        return max(2, round(pixels * size / 224))

    grid = (scaled(96), scaled(224))
    return {
        "RandomResizedCrop + RandomHorizontalFlip": [RandomResizedCrop(size), RandomHorizontalFlip()],
        "Cutout": [crop, Cutout(scaled(112))],
        "RandomErasing": [crop, RandomErasing(p=1.0)],
        'RandomErasing(value="random")': [crop, RandomErasing(p=1.0, value="random")],
        "HideAndSeek": [crop, HideAndSeek((scaled(16), scaled(32), scaled(44), scaled(56)))],
        "GridMask": [crop, GridMask(grid, p=1.0)],
        "GridMask(mode=0, ratio=0.5, rotate=1)": [crop, GridMask(grid, ratio=0.5, mode=0, rotate=1, p=1.0)],
        "RandAugment": [crop, RandAugment(2, 15)],
        "TrivialAugmentWide": [crop, TrivialAugmentWide()],
        "AutoAugment": [crop, AutoAugment()],
        "AugMix": [crop, AugMix(severity=6)],
        "TimmPolicy": [
            crop,
            TimmPolicy("rand", [[(name, 1.0, 9, 0.5) for name in _TIMM]], fill=(124, 116, 104)),
        ],
        "ColorJitter, RandomGrayscale": [crop, ColorJitter(0.4, 0.4, 0.4, 0.1), RandomGrayscale(0.2)],
        "GaussianBlur, RandomSolarize": [crop, GaussianBlur(9, (0.5, 3.0)), RandomSolarize(128)],
        "MixUp": [crop, MixUp(1.0, per="sample")],
        "CutMix": [crop, CutMix(1.0, per="sample")],
        "FMix": [crop, FMix(per="sample")],
        "GridMix": [crop, GridMix(per="sample")],
        "ResizeMix": [crop, ResizeMix(per="sample")],
        "RandomRotation, RandomPerspective": [RandomRotation(30), RandomPerspective(0.4, p=1.0), crop],
        "RandomCrop(padding)": [
            Resize(size),
            RandomCrop(size, scaled(56), padding_mode="reflect"),
            RandomHorizontalFlip(),
        ],
        "OneOf([MixUp, CutMix])": [crop, OneOf([MixUp(1.0, "sample"), CutMix(1.0, "sample")], per="sample")],
    }


def render(
    dataset: object, rows: dict[str, Sequence[Augmentation] | str], columns: int = 8, seed: int = 0
) -> Image.Image:
    """One titled row of ``columns`` images for each list, all of the same samples."""
    strips = [strip(dataset, augment, columns, seed) for augment in rows.values()]
    width = max(s.shape[1] for s in strips) + 2 * GAP
    height = sum(s.shape[0] + TITLE_HEIGHT for s in strips) + GAP
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    top = 0
    for title, pixels in zip(rows, strips, strict=True):
        pen.text((GAP, top + 3), title, fill="black", font=font)
        sheet.paste(Image.fromarray(pixels), (GAP, top + TITLE_HEIGHT))
        top += TITLE_HEIGHT + len(pixels)
    return sheet


def strip(
    dataset: object, augment: Sequence[Augmentation] | str, columns: int, seed: int
) -> npt.NDArray[np.uint8]:
    """The first batch of an epoch as uint8 ``[H, columns * (W + gap), 3]``; views below each other."""
    with Loader(
        dataset, columns, True, num_workers=2, augment=augment, num_classes=1 << 16, seed=seed, device="cpu"
    ) as loader:
        images = next(iter(loader))[0]
        normalize = loader.normalize
    views = images if isinstance(images, list) else [images]
    rows, width = [], max(view.shape[3] for view in views)
    for view in views:
        if normalize is not None:
            mean, std = (torch.tensor(v)[:, None, None] for v in (normalize.mean, normalize.std))
            view = view * std + mean
        pixels = (view.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        right = GAP + width - view.shape[3]
        padded = np.pad(pixels, ((0, 0), (0, GAP), (0, right), (0, 0)), constant_values=255)
        rows.append(np.concatenate(list(padded), 1))
    return np.concatenate(rows)


def save(sheet: Image.Image, path: str | os.PathLike[str]) -> None:
    """Writes the picture; its folder is made where it is missing."""
    folder = os.path.dirname(os.fspath(path))
    if folder:
        os.makedirs(folder, exist_ok=True)
    sheet.save(path)
