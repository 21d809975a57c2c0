"""CIFAR-10's training pipeline from memory: pad 4, crop, flip, cutout 8, normalize, in batches of 512.

    python benchmarks/cifar.py [--images 50000] [--workers 2] [--rounds 5] [--output FILE]

fastaug beside the same as tensor operations over the whole epoch, as airbench does it, and beside torch's
DataLoader with torchvision's v2 transforms; in turns, the median of the rounds. Planning is timed on its own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import fastaug as fa
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket
from fastaug.sampling.philox import U32

BATCH, SIDE, PAD, HOLE = 512, 32, 4, 8
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
AUGMENT = [fa.RandomCrop(SIDE, PAD), fa.RandomHorizontalFlip(), fa.Cutout(HOLE), fa.Normalize(MEAN, STD)]


class Images(Dataset):
    """The arrays, through torchvision's transforms one by one."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels
        side = (HOLE / SIDE) ** 2
        self.transform = v2.Compose(
            [
                v2.RandomCrop(SIDE, PAD),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
                v2.RandomErasing(1.0, (side, side), (1.0, 1.0)),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def as_tensors(images: torch.Tensor) -> Iterable[torch.Tensor]:
    """An epoch as tensor operations: each batch's crops, flips, holes and normalization at once."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    for rows in torch.randperm(len(images)).split(BATCH):
        batch = ((images[rows].float() / 255) - mean) / std
        padded, n = pad(batch, [PAD] * 4), len(rows)
        y, x = torch.randint(0, 2 * PAD + 1, (2, n))
        across = torch.arange(SIDE) + x[:, None]
        flipped = torch.rand(n) < 0.5
        across[flipped] = across[flipped].flip(1)
        down = torch.arange(SIDE) + y[:, None]
        batch = padded[torch.arange(n)[:, None, None], :, down[:, :, None], across[:, None, :]]
        cy, cx = torch.randint(0, SIDE, (2, n, 1))
        side = torch.arange(SIDE)
        hidden = ((side - cy).abs() < HOLE // 2)[:, :, None] & ((side - cx).abs() < HOLE // 2)[:, None, :]
        yield batch.masked_fill_(hidden[..., None], 0).permute(0, 3, 1, 2)


def rate(batches: Iterable, count: int) -> float:
    """Images a second of an epoch of so many."""
    begin = time.perf_counter()
    for _ in batches:
        pass
    return count / (time.perf_counter() - begin)


def planning(count: int) -> float:
    """Images a second that one thread plans."""
    planner, sides = Planner(AUGMENT, (SIDE, SIDE)), np.full(BATCH, SIDE)
    none = np.zeros(BATCH, bool)
    begin = time.perf_counter()
    for k in range(count // BATCH):
        ids = np.arange(k * BATCH, (k + 1) * BATCH)
        planner.plan(Ticket(ids, np.zeros(BATCH, U32), none, 0, 0, k, 0, rank_keyed=False), sides, sides)
    return count // BATCH * BATCH / (time.perf_counter() - begin)


def main() -> None:
    """Prints the rates, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (args.images, SIDE, SIDE, 3), np.uint8)
    labels = rng.integers(0, 10, args.images)
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    few = min(args.images, 8 * BATCH)  # of DataLoader, which takes long
    theirs = DataLoader(
        Images(images[:few], labels[:few]), BATCH, True, num_workers=args.workers, persistent_workers=True
    )
    found: dict[str, list[float]] = {"fastaug": [], "planning": [], "tensor operations": [], "DataLoader": []}
    with fa.loader((images, labels), BATCH, True, num_workers=args.workers, augment=AUGMENT) as ours:
        for number in range(args.rounds + 1):
            rates = (
                rate(ours, args.images),
                planning(max(args.images, BATCH)),
                rate(as_tensors(tensors), args.images),
                rate(theirs, few),
            )
            if number:  # the first warms up
                for name, value in zip(found, rates, strict=True):
                    found[name].append(value)
    medians = {name: median(values) for name, values in found.items()}
    for name, value in medians.items():
        print(f"{name:18} {value:12,.0f} images/s")
    if args.output is not None:
        args.output.write_text(json.dumps({"images": args.images, "rates": medians}, indent=1) + "\n")


if __name__ == "__main__":
    main()
