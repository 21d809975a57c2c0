"""The data of a run: both splits found and compared, and the loaders made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.listing import Listing, folder_listing
from ..loader import Loader
from ..ops.base import Augmentation
from ..ops.normalize import Normalize
from ..recipes import recipe
from .arrays import Splits, array_splits
from .config import Config
from .settings import Settings, without_mixing

SPLITS = ("val", "validation", "test")


def find_splits(data: Sequence[str]) -> Splits:
    """The splits in one folder, or in two; or in one or two files of arrays.

    Raises:
        FileNotFoundError, ValueError: a missing split, or different classes, by name.
    """
    if any(name.endswith(".npz") for name in data):
        return array_splits(data)
    train, test = _folders(data)
    first, second = folder_listing(train), folder_listing(test)
    a, b = set(first.classes or []), set(second.classes or [])
    if a != b:
        only = [
            f"only {folder} has {', '.join(sorted(names)[:5])}{' …' if len(names) > 5 else ''}"
            for folder, names in ((str(train), a - b), (str(test), b - a))
            if names
        ]
        raise ValueError(
            f"the splits must have the same classes, but {'; '.join(only)}; add or remove these folders"
        )
    return Splits(first, second, list(first.classes or []))


def _folders(data: Sequence[str]) -> tuple[Path, Path]:
    if len(data) == 2:
        return Path(data[0]), Path(data[1])
    root = Path(data[0])
    if not root.is_dir():
        raise FileNotFoundError(f"the folder {str(root)!r} does not exist; check the path")
    test = next((root / name for name in SPLITS if (root / name).is_dir()), None)
    missing = [] if (root / "train").is_dir() else ["train/"]
    if test is None:
        missing.append(" or ".join(f"{name}/" for name in SPLITS))
    if missing or test is None:
        there = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        raise FileNotFoundError(
            f"{str(root)!r} has no folder {' and no '.join(missing)}; it has "
            f"{', '.join(there[:8]) or 'none'}; rename them, or give both folders: "
            "fastaug train TRAIN TEST"
        )
    return root / "train", test


@dataclass(frozen=True)
class Loaders:
    """What a run iterates over.

    Attributes:
        train: augmented and shuffled; (images, targets, plan).
        check: a part of the training images, as many as the test images at most, augmented as in training
            but never mixed, with hard labels: what training accuracy is measured on.
        test: Resize and CenterCrop.
        check_chance: the share of the largest class among check's images: the accuracy of one answer for all.
        test_chance: likewise among test's.
    """

    train: Loader
    check: Loader
    test: Loader
    check_chance: float
    test_chance: float

    def close(self) -> None:
        """Ends their threads."""
        for loader in (self.train, self.check, self.test):
            loader.close()


def make_loaders(
    splits: Splits, config: Config, settings: Settings, device: torch.device, world_size: int, workers: int
) -> Loaders:
    """The loaders of a run; ranks are taken from torch.distributed.

    Raises:
        ValueError: when a batch, or so many together, are larger than the training set.
    """
    images, step = len(splits.train), config.batch_size * world_size
    if images < step:
        raise ValueError(
            f"a step takes {config.batch_size} x {world_size} images and there are only {images} to "
            f"train on; give a --batch-size of at most {images // world_size}"
        )
    if config.accumulate > images // step:
        raise ValueError(
            f"--accumulate {config.accumulate} asks for more batches than the {images // step} of an epoch; "
            f"give at most {images // step}"
        )
    dtype = getattr(torch, config.amp) if config.amp else torch.float32
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    evaluate = [*recipe("imagenet-eval", config.size)[:-1], Normalize(settings.mean, settings.std)]
    # Evenly spaced, so that all classes are among them.
    some = np.linspace(0, images - 1, min(images, len(splits.test))).round().astype(np.int64)

    def make(listing: Listing, augment: Sequence[Augmentation], train: bool) -> Loader:
        return Loader(
            listing,
            config.batch_size,
            train,
            num_workers=workers,
            drop_last=train,
            augment=augment,
            num_classes=len(splits.classes),
            label_smoothing=settings.label_smoothing if train else 0,
            device=device,
            dtype=dtype,
            memory_format=layout,
            seed=config.seed,
            on_error=config.on_error if train or config.on_error == "raise" else "skip",
            with_plan=True,
        )

    check = splits.train.take(some)
    return Loaders(
        make(splits.train, settings.augment, True),
        make(check, without_mixing(settings.augment), False),
        make(splits.test, evaluate, False),
        _largest_share(check),
        _largest_share(splits.test),
    )


def _largest_share(listing: Listing) -> float:
    return float(np.bincount(listing.labels).max()) / len(listing)
