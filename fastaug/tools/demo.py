"""The demonstration: photographs that scikit-image bundles, through the loader, as a picture."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from PIL import Image

from ..loader import Loader
from ..ops.crop import RandomResizedCrop
from ..ops.cutout import Cutout
from ..ops.flip import RandomHorizontalFlip
from ..ops.grid_mask import GridMask
from ..ops.mixing import CutMix, MixUp
from ..ops.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from ..ops.one_of import OneOf
from .sheet import gallery, render, save

PHOTOS = (
    "astronaut",
    "coffee",
    "chelsea",
    "rocket",
    "retina",
    "immunohistochemistry",
    "hubble_deep_field",
    "motorcycle_left",
)
COPIES = 32  # of each photograph, cut differently


def make_photos(root: Path, copies: int = COPIES) -> Path:
    """root/name/00.jpg …: scikit-image's photographs as JPEGs of about 500 x 375 pixels."""
    import skimage.data

    for name in PHOTOS:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        if len(list(folder.glob("*.jpg"))) == copies:
            continue
        try:
            pixels = (
                getattr(skimage.data, name)()
                if name != "motorcycle_left"
                else skimage.data.stereo_motorcycle()[0]
            )
        except Exception:  # a photograph that this scikit-image does not bundle but download
            folder.rmdir()
            continue
        photo = Image.fromarray(pixels).convert("RGB")
        for k in range(copies):
            margin = k * min(photo.size) // (6 * copies)
            cut = photo.crop((margin, margin, photo.width - margin, photo.height - margin))
            wide = 500 if cut.width >= cut.height else 375
            cut.resize((wide, round(wide * cut.height / cut.width))).save(folder / f"{k:02}.jpg", quality=92)
    return root


def demo(out: str = "demo", copies: int = COPIES) -> None:
    """Writes out/contact-sheet.png and prints images/s beside torch's DataLoader."""
    photos = make_photos(Path(out) / "photos", copies)
    sheet = Path(out) / "contact-sheet.png"
    save(render(str(photos), dict(gallery(160))), sheet)
    print(f"{sheet}: a row for each augmentation")
    threads = os.cpu_count() or 1
    ours = Loader(
        str(photos),
        32,
        True,
        num_workers=threads,
        device="cpu",
        augment=[
            RandomResizedCrop(224),
            RandomHorizontalFlip(),
            Cutout(56),
            GridMask(p=0.5),
            OneOf([MixUp(0.2), CutMix(1.0)]),
            Normalize(),
        ],
    )
    for images, targets in ours:
        print(f"a batch: images {list(images.shape)} {images.dtype}, targets {list(targets.shape)}")
        break
    theirs = _torch_loader(photos, threads)
    rates: dict[str, list[float]] = {"fastaug": [], "torch DataLoader": []}
    for _ in range(4):  # in turn; the first round warms up
        rates["fastaug"].append(_rate(ours))
        rates["torch DataLoader"].append(_rate(theirs))
    ours.close()
    best = {name: sorted(r[1:])[1] for name, r in rates.items()}
    print(f"crop, flip, GridMask, Cutout, MixUp or CutMix, {threads} workers, median of 3 epochs:")
    for name, rate in best.items():
        print(f"  {name:17} {rate:7.0f} images/s  ({rate / best['torch DataLoader']:.1f} x)")


def _rate(loader: Any) -> float:
    begin, count = time.perf_counter(), 0
    for images, _ in loader:
        count += len(images)
    return count / (time.perf_counter() - begin)


def _torch_loader(photos: Path, workers: int) -> Any:
    """The same work with torch and torchvision; GridMask, which they lack, is left out there."""
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(224, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            v2.RandomErasing(p=1.0, scale=(1 / 16, 1 / 16), ratio=(1.0, 1.0)),
        ]
    )
    dataset = ImageFolder(str(photos), steps)
    classes = len(dataset.classes)
    mixing = v2.RandomChoice([v2.MixUp(alpha=0.2, num_classes=classes), v2.CutMix(num_classes=classes)])
    return torch.utils.data.DataLoader(
        dataset, 32, shuffle=True, num_workers=workers, persistent_workers=True, collate_fn=_Mixed(mixing)
    )


class _Mixed:
    """torch's default collation, then torchvision's batchwise mixing."""

    def __init__(self, mixing: Any) -> None:
        self._mixing = mixing

    def __call__(self, samples: list[Any]) -> Any:
        from torch.utils.data import default_collate

        return self._mixing(*default_collate(samples))
