"""Splits, and those that are arrays in .npz files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data.listing import Listing, array_listing, class_ids

IMAGES, LABELS = ("images", "x", "data"), ("labels", "y", "targets")
TRAIN, TEST = ("train",), ("val", "validation", "test")
ACCEPTED = (
    "uint8 images [N, H, W, 3] and labels [N] named train_images, train_labels, val_images (or "
    "test_images) and val_labels; x_train, y_train, x_test, y_test will do, and in a file of one split "
    "images, labels or x, y"
)


@dataclass(frozen=True)
class Splits:
    """Training and test images, with the same classes.

    Attributes:
        train: what is learnt from.
        test: what accuracy is measured on.
        classes: names, in label order.
    """

    train: Listing
    test: Listing
    classes: list[str]


def array_splits(data: Sequence[str]) -> Splits:
    """The splits in one .npz file, or in two.

    Raises:
        FileNotFoundError, ValueError, TypeError: for what is missing or of another kind, by name.
    """
    if len(data) == 1:
        arrays = _read(data[0])
        splits = [_split(arrays, names, data[0]) for names in (TRAIN, TEST)]
    else:
        splits = [
            _split(_read(path), ("", *names), path) for path, names in zip(data, (TRAIN, TEST), strict=True)
        ]
    classes = [str(label) for label in range(1 + max(int(split.labels.max()) for split in splits))]
    train, test = (replace(split, classes=classes) for split in splits)
    return Splits(train, test, classes)


def _read(path: str) -> dict[str, Any]:
    if not path.endswith(".npz"):
        raise ValueError(f"{path!r} is no .npz file, and the other is; give two folders or two .npz files")
    try:
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path!r}; check the path") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path!r} is no .npz file of plain arrays ({error}); it must hold {ACCEPTED}"
        ) from None


def _split(arrays: Mapping[str, Any], names: Sequence[str], path: str) -> Listing:
    """Images and labels of the first of the names that is there."""
    for name in names:
        images, labels = (_named(arrays, name, kinds) for kinds in (IMAGES, LABELS))
        if images is not None and labels is not None:
            labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
            try:
                return array_listing(images, class_ids(labels, len(images)))
            except (TypeError, ValueError) as error:
                raise type(error)(f"{path!r}: {error}") from None
    wanted = " or ".join(name or "one split" for name in names)
    has = ", ".join(arrays) or "none"
    raise ValueError(f"{path!r} has no arrays for {wanted}; it has {has}, and needs {ACCEPTED}")


def _named(arrays: Mapping[str, Any], split: str, kinds: Sequence[str]) -> Any:
    for kind in kinds:
        for key in (f"{split}_{kind}", f"{kind}_{split}") if split else (kind,):
            if key in arrays:
                return arrays[key]
    return None
