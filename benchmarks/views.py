"""Multi-crop, 2 x 224 and 8 x 96 pixels of each photograph: what the views cost together.

    python benchmarks/views.py --data DIR [--batch 64] [--workers 2] [--rounds 5] [--output FILE]

``fastaug.Views`` beside ten loads by the same decoder, one view each; and beside torchvision's transforms on
Pillow in torch's DataLoader, as DINO's and SwAV's code has them. Without and with jitter and blur. In turns,
the median of the rounds, in ms an image.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

from torch.utils.data import DataLoader
from torchvision import transforms as tv
from torchvision.datasets import ImageFolder

import fastaug as fa

LARGE, SMALL, GLOBAL, LOCAL = 224, 96, (0.4, 1.0), (0.05, 0.4)


def ours(size: int, scale: tuple[float, float], full: bool) -> list[Any]:
    """A view's list."""
    blur = fa.GaussianBlur(2 * (size // 20) + 1, (0.1, 2.0), p=0.5)
    colour = [
        fa.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        fa.RandomGrayscale(0.2),
        blur,
    ]
    crop = [fa.RandomResizedCrop(size, scale, interpolation="bicubic"), fa.RandomHorizontalFlip()]
    return [*crop, *(colour if full else []), fa.Normalize()]


def theirs(size: int, scale: tuple[float, float], full: bool) -> Any:
    """The same of torchvision's."""
    bicubic = tv.InterpolationMode.BICUBIC
    colour = [
        tv.RandomApply([tv.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
        tv.RandomGrayscale(0.2),
        tv.RandomApply([tv.GaussianBlur(2 * (size // 20) + 1, (0.1, 2.0))], p=0.5),
    ]
    crop = [tv.RandomResizedCrop(size, scale, interpolation=bicubic), tv.RandomHorizontalFlip()]
    end = [tv.ToTensor(), tv.Normalize(fa.IMAGENET_MEAN, fa.IMAGENET_STD)]
    return tv.Compose([*crop, *(colour if full else []), *end])


class MultiCrop:
    """A list of transforms, as SwAV and DINO have it."""

    def __init__(self, transforms: list[Any]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> list[Any]:
        return [transform(image) for transform in self.transforms]


def cost(loaders: list[Any], count: int) -> float:
    """ms an image of an epoch of all the loaders, one after another."""
    begin = time.perf_counter()
    for loader in loaders:
        for _ in loader:
            pass
    return (time.perf_counter() - begin) / count * 1e3


def main() -> None:
    """Prints the costs, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    made: dict[str, list[Any]] = {}
    for full in (False, True):
        lists = [ours(LARGE, GLOBAL, full)] * 2 + [ours(SMALL, LOCAL, full)] * 8
        transforms = [theirs(LARGE, GLOBAL, full)] * 2 + [theirs(SMALL, LOCAL, full)] * 8

        def loader(augment: Any) -> Any:
            return fa.loader(args.data, args.batch, True, num_workers=args.workers, augment=augment, seed=0)

        what = ", jitter, blur" if full else ""
        made[f"fastaug.Views{what}"] = [loader(fa.Views(lists))]
        made[f"ten loads{what}"] = [loader(each) for each in lists]
        folder = ImageFolder(args.data, MultiCrop(transforms))
        made[f"torchvision{what}"] = [
            DataLoader(
                folder, args.batch, True, num_workers=args.workers, persistent_workers=args.workers > 0
            )
        ]
    count = len(folder)
    costs: dict[str, list[float]] = {name: [] for name in made}
    for number in range(args.rounds + 1):
        for name, loaders in made.items():
            value = cost(loaders, count)
            if number:  # the first warms up
                costs[name].append(value)
    medians = {name: median(values) for name, values in costs.items()}
    for name, value in medians.items():
        print(f"{name:28} {value:8.2f} ms an image")
    for what in ("", ", jitter, blur"):
        views = medians[f"fastaug.Views{what}"]
        print(
            f"Views{what}: {views / medians[f'ten loads{what}']:.2f} of ten loads, "
            f"{medians[f'torchvision{what}'] / views:.1f} x torchvision"
        )
    if args.output is not None:
        args.output.write_text(json.dumps({"images": count, "ms": medians}, indent=1) + "\n")


if __name__ == "__main__":
    main()
