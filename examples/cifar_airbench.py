"""CIFAR-10 in the shape of airbench (Jordan 2024, https://arxiv.org/abs/2404.00498): images in memory, crops
of reflected borders, alternating flips, a small network behind fixed whitening, smoothed labels, a triangular
rate.

    python examples/cifar_airbench.py DATA [--loader fastaug] [--epochs 12] [--seeds 3] [--width 1.0]

DATA holds train/ and test/ with a folder for each class. ``--loader tensors`` makes batches by tensor
operations over a whole epoch instead, as airbench's own loader does. Prints each seed's accuracy, their mean
and its standard error.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import fastaug as fa

MEAN, STD, SHIFT = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616), 2
Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


def arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """A folder's images, uint8 [N, 32, 32, 3], and labels."""
    with fa.loader(folder, 256, augment=[fa.Resize((32, 32))], dtype=torch.uint8, num_workers=2) as loader:
        images, labels = zip(*loader, strict=True)
    return torch.cat(images).permute(0, 2, 3, 1).contiguous().numpy(), torch.cat(labels).numpy()


class Tensors:
    """Batches as airbench's loader makes them: each epoch is augmented at once."""

    def __init__(self, data: tuple[np.ndarray, np.ndarray], size: int, seed: int) -> None:
        images, self.labels = (torch.from_numpy(part) for part in data)
        mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
        self.images = (images.permute(0, 3, 1, 2) / 255 - mean) / std
        self.random, self.size, self.epoch = torch.Generator().manual_seed(seed), size, 0
        self.first = torch.rand(len(images), generator=self.random) < 0.5  # flipped in even epochs

    def __len__(self) -> int:
        return len(self.labels) // self.size

    def __iter__(self) -> Batches:
        n, padded = len(self.labels), functional.pad(self.images, [SHIFT] * 4, "reflect")
        y, x = torch.randint(0, 2 * SHIFT + 1, (2, n, 1), generator=self.random) + torch.arange(32)
        flip = self.first ^ (self.epoch % 2 == 1)
        x[flip] = x[flip].flip(1)
        images = padded[torch.arange(n)[:, None, None], :, y[:, :, None], x[:, None]].permute(0, 3, 1, 2)
        self.epoch += 1
        for rows in torch.randperm(n, generator=self.random).split(self.size)[: len(self)]:
            yield images[rows], self.labels[rows]


def group(before: int, after: int) -> nn.Sequential:
    """Two convolutions, the first followed by pooling."""
    first, second = (nn.Conv2d(c, after, 3, padding="same", bias=False) for c in (before, after))
    norms = (nn.BatchNorm2d(after) for _ in range(2))
    return nn.Sequential(first, nn.MaxPool2d(2), next(norms), nn.GELU(), second, next(norms), nn.GELU())


class Network(nn.Module):
    """airbench's, ``width`` times as wide, behind filters that whiten 2 x 2 patches of the images."""

    def __init__(self, images: torch.Tensor, width: float) -> None:
        super().__init__()
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
        self.whitening = nn.Conv2d(3, 24, 2)
        self.whitening.weight.data[:] = torch.cat([filters, -filters])
        self.whitening.weight.requires_grad = False
        sides = [round(c * width) for c in (64, 256, 256)]
        self.groups = nn.Sequential(*(group(a, b) for a, b in zip([24, *sides], sides, strict=False)))
        self.head = nn.Linear(sides[-1], 10, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = functional.max_pool2d(self.groups(functional.gelu(self.whitening(images))), 3)
        return self.head(features.flatten(1)) / 9


def accuracy(network: nn.Module, test: tuple[np.ndarray, np.ndarray]) -> float:
    """The share of test images that are right, the image and its mirror image together."""
    flip = [[fa.Normalize(MEAN, STD)], [fa.RandomHorizontalFlip(1.0), fa.Normalize(MEAN, STD)]]
    right = 0
    network.eval()
    with torch.inference_mode(), fa.loader(test, 500, augment=fa.Views(flip)) as loader:
        for views, labels in loader:
            right += int((fa.merge([network(view) for view in views]).argmax(1) == labels).sum())
    return right / len(test[1])


def run(args: argparse.Namespace, train: tuple, test: tuple, seed: int) -> float:
    """The accuracy of one training."""
    torch.manual_seed(seed)
    augment = [
        fa.RandomCrop(32, SHIFT, padding_mode="reflect"),
        fa.RandomHorizontalFlip(alternating=True),
        fa.Normalize(MEAN, STD),
    ]
    loader = (
        fa.loader(train, args.batch, True, drop_last=True, augment=augment, seed=seed, num_workers=1)
        if args.loader == "fastaug"
        else Tensors(train, args.batch, seed)
    )
    first, _ = next(iter(Tensors(train, min(2000, len(train[1])), seed)))
    network = Network(first, args.width)
    steps = args.epochs * len(loader)
    learnt = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learnt, args.rate, 0.85, nesterov=True, weight_decay=5e-4)
    peak = max(1, round(0.23 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: 0.2 + 0.8 * k / peak if k < peak else max(0.0, (steps - k) / (steps - peak))
    )
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)
    for _ in range(args.epochs):
        network.train()
        for images, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            loss(network(images), labels).backward()
            optimizer.step()
            schedule.step()
    return accuracy(network, test)


def main() -> None:
    """Trains once for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--loader", choices=("fastaug", "tensors"), default="fastaug")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=0.2)
    args = parser.parse_args()
    train, test = arrays(args.data / "train"), arrays(args.data / "test")
    found, begin = [], time.perf_counter()
    for seed in range(args.seeds):
        found.append(run(args, train, test, seed))
        print(f"{args.loader}, seed {seed}: {found[-1]:.4f}", flush=True)
    error = stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0
    spent = (time.perf_counter() - begin) / len(found)
    print(f"{args.loader}: {mean(found):.4f} +- {error:.4f}, {spent:.0f} s each")


if __name__ == "__main__":
    main()
