"""A data set of one's own, on Pillow, called by worker processes: fastaug beside torch's DataLoader.

    python benchmarks/called.py [--data DIR] [--workers 2] [--rounds 5] [--images 400] [--output FILE]

Every loader calls the same ``__getitem__`` with the same torchvision transform, in turns; the figure is the
median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import numpy as np
import photos
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from workloads import MEAN, STD

import fastaug as fa

BATCH = 64


class Own(Dataset):
    """What people write: a list of files, Pillow, a transform."""

    def __init__(self, samples: list[tuple[str, int]], transform) -> None:
        self.samples, self.transform = samples, transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int):
        path, label = self.samples[i]
        return self.transform(Image.open(path).convert("RGB")), label


def read_only(image: Image.Image) -> torch.Tensor:
    """Decodes, and does nothing else."""
    return torch.from_numpy(np.asarray(image)[:64, :64].copy())


def transforms(policy: bool) -> v2.Compose:
    steps = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
    end = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    if policy:
        return v2.Compose([*steps, v2.RandAugment(), *end, v2.RandomErasing(0.5)])
    return v2.Compose([*steps, *end])


def rate(loader: Iterable, images: int) -> float:
    """Images a second of an epoch."""
    begin = time.perf_counter()
    for _ in loader:
        pass
    return images / (time.perf_counter() - begin)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=None)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--output", default=None)
    given = parser.parse_args(arguments)
    found = ImageFolder(given.data or photos.generated()).samples
    samples = [found[k % len(found)] for k in range(given.images)]
    options = dict(num_workers=given.workers, persistent_workers=True)
    sets = {
        "crop and flip": Own(samples, transforms(False)),
        "RandAugment and RandomErasing": Own(samples, transforms(True)),
    }
    loaders: dict[str, Iterable] = {
        "reading alone": DataLoader(Own(samples, read_only), BATCH, True, **options)
    }
    for name, data in sets.items():
        loaders[f"DataLoader, {name}"] = DataLoader(data, BATCH, True, **options)
        loaders[f"fastaug, {name}"] = fa.loader(data, BATCH, True, **options)
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(given.rounds + 1):
        for name, loader in loaders.items():
            found_rate = rate(loader, given.images)
            if turn:  # the first starts the workers
                rates[name].append(found_rate)
    out = {name: median(each) for name, each in rates.items()}
    for name, value in out.items():
        print(f"{name:45} {value:8.1f} images/s")
    for name in sets:
        ours, theirs = out[f"fastaug, {name}"], out[f"DataLoader, {name}"]
        print(f"{name}: {ours / theirs:.2f} x DataLoader, {ours / out['reading alone']:.2f} x reading alone")
    if given.output:
        Path(given.output).write_text(json.dumps(out, indent=1) + "\n")
    return out


if __name__ == "__main__":
    main()
