"""What holds a user's images, as a Source: torchvision's data sets, torch's Subset and ConcatDataset, Hugging
Face's Dataset, and what ``sources`` reads by itself. Nothing is decoded and no ``__getitem__`` called.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from .sources import ACCEPTED, Names, Source, array_source, class_ids, folder_source, joined, pairs_source


def as_source(data: object) -> Source:
    """Turns what a user has into a Source.

    A ``target_transform`` is carried out here, once for each sample.

    Raises:
        TypeError: naming what is accepted.
        FileNotFoundError, ValueError: for folders without images, wrong labels or shapes.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, (str, os.PathLike)):
        return folder_source(Path(data))
    if isinstance(data, (Subset, ConcatDataset)):
        _check_own(data, "torch.utils.data")
        return _subset(data) if isinstance(data, Subset) else joined([as_source(p) for p in data.datasets])
    if type(data).__module__.partition(".")[0] == "datasets":
        return hugging_face_source(data)
    source = _held(data)
    transform = getattr(data, "target_transform", None)
    return source if transform is None else _with_targets(source, transform)


def own_transforms(data: object) -> list[tuple[str, object]]:
    """The transform of each part of a data set, with what messages call the part: a Subset's is its data
    set's, a ConcatDataset has several; None where there is none."""
    if isinstance(data, Subset):
        return own_transforms(data.dataset)
    if isinstance(data, ConcatDataset):
        found = [(k, own) for k, part in enumerate(data.datasets, 1) for own in own_transforms(part)]
        return [(f"part {k} ({name})", transform) for k, (name, transform) in found]
    transform = getattr(data, "transform", None)
    if transform is None:
        both = getattr(data, "transforms", None)  # of image and target together
        transform = getattr(both, "transform", None) if type(both).__name__ == "StandardTransform" else both
    return [(type(data).__name__, transform)]


def _held(data: Any) -> Source:
    """The source of one data set, before its ``target_transform``."""
    families = [c.__name__ for c in type(data).__mro__ if c.__module__.startswith("torchvision.datasets")]
    if len(families) > 1:  # more than VisionDataset
        _check_own(data, "torchvision")
        return torchvision_source(families, data)
    if hasattr(data, "samples") and hasattr(data, "classes"):
        return pairs_source(data.samples, list(data.classes))
    if hasattr(data, "data") and hasattr(data, "targets"):
        classes = getattr(data, "classes", None)
        return array_source(data.data, data.targets, list(classes) if classes else None)
    if isinstance(data, tuple) and len(data) == 2 and hasattr(data[0], "ndim"):
        return array_source(data[0], data[1])
    if isinstance(data, Sequence):
        return pairs_source(data)
    raise TypeError(f"the data set is a {type(data).__name__}; accepted are {ACCEPTED}")


def _check_own(data: object, package: str) -> None:
    """Raises when a subclass says what a sample is: its code would not be run."""
    home = next(c for c in type(data).__mro__ if "__getitem__" in vars(c))
    if not home.__module__.startswith(package):
        raise TypeError(f"{home.__name__} has a __getitem__ of its own, which fastaug does not call: it "
                        "reads files and labels itself; give them as a list of (path, label)")


def _subset(data: Any) -> Source:
    source = as_source(data.dataset)
    index = np.asarray(data.indices, np.int64).reshape(-1)
    if not index.size:
        raise ValueError("the Subset is empty; give it at least one index")
    wrong = (index < -len(source)) | (index >= len(source))
    if wrong.any():
        raise IndexError(f"the Subset holds index {index[wrong][0]}; its data set has {len(source)} samples, "
                         f"numbered 0 to {len(source) - 1}")
    return source.take(index % len(source))


def _with_targets(source: Source, transform: Callable[[int], Any]) -> Source:
    """The source with its labels changed; its class names, which may fit no more, are left out."""
    labels = np.empty(len(source), np.int64)
    for i, label in enumerate(source.labels.tolist()):
        target = transform(label)
        try:
            labels[i] = operator.index(target)
        except TypeError:
            raise TypeError(
                f"target_transform makes {target!r} of label {label}; it must give whole numbers; take it "
                "out: soft targets are made by the loader (label_smoothing, fastaug.MixUp), others in the "
                "training loop") from None
    if labels.min() < 0:
        raise ValueError(f"target_transform makes label {labels.min()} of {source.labels[labels.argmin()]}; "
                         "labels count from 0")
    return replace(source, labels=labels, classes=None)


# ---- torchvision ----


def _files(folder: object, names: Sequence[str]) -> list[str]:
    return [os.path.join(str(folder), name) for name in names]


def _pet(data: Any) -> tuple[Any, Any]:
    labels = {"category": "_labels", "binary-category": "_bin_labels"}
    return data._images, getattr(data, labels[_one_target(data._target_types, labels)])


def _one_target(asked: Sequence[str], accepted: Any) -> str:
    if len(asked) != 1 or asked[0] not in accepted:
        raise ValueError(f"the data set's targets are {list(asked)!r}; fastaug needs one class id a sample: "
                         f"ask for one of {', '.join(map(repr, accepted))}")
    return asked[0]


def _caltech101(data: Any) -> tuple[Any, Any]:
    _one_target(data.target_type, ("category",))
    names = [f"{data.categories[y]}/image_{k:04d}.jpg" for y, k in zip(data.y, data.index, strict=True)]
    return _files(data.root, [f"101_ObjectCategories/{name}" for name in names]), data.y


def _caltech256(data: Any) -> tuple[Any, Any]:
    names = [f"{data.categories[y]}/{y + 1:03d}_{k:04d}.jpg" for y, k in zip(data.y, data.index, strict=True)]
    return _files(data.root, [f"256_ObjectCategories/{name}" for name in names]), data.y


def _inaturalist(data: Any) -> tuple[Any, Any]:
    _one_target(data.target_type, ("full",))
    names = [f"{data.all_categories[y]}/{name}" for y, name in data.index]
    return _files(data.root, names), [y for y, _ in data.index]


def _turned(data: Any) -> tuple[Any, Any]:
    """Arrays ``[N, 3, H, W]``, of which torchvision turns each image when asked for it."""
    return np.asarray(data.data).transpose(0, 2, 3, 1), data.labels


def _pairs(name: str) -> Callable[[Any], tuple[Any, Any]]:
    def read(data: Any) -> tuple[Any, Any]:
        pairs = getattr(data, name)
        return [image for image, _ in pairs], [label for _, label in pairs]

    return read


# Where torchvision's classes keep images (paths, or uint8 arrays) and labels.
_TORCHVISION: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "DatasetFolder": _pairs("samples"),
    "Places365": _pairs("imgs"),
    **dict.fromkeys(("GTSRB", "Imagenette", "RenderedSST2", "StanfordCars"), _pairs("_samples")),
    **dict.fromkeys(("CLEVRClassification", "DTD", "FGVCAircraft", "Flowers102", "Food101", "SUN397"),
                    operator.attrgetter("_image_files", "_labels")),
    "OxfordIIITPet": _pet,
    "LFWPeople": operator.attrgetter("data", "targets"),
    "Caltech101": _caltech101,
    "Caltech256": _caltech256,
    "INaturalist": _inaturalist,
    "CIFAR10": operator.attrgetter("data", "targets"),
    **dict.fromkeys(("SVHN", "STL10"), _turned),
}  # fmt: skip
_GRAY = ("FER2013", "MNIST", "Omniglot", "SEMEION", "USPS")


def torchvision_source(families: Sequence[str], data: Any) -> Source:
    """The source of a torchvision data set.

    Args:
        families: torchvision's names of its class and that class's bases, the nearest first.
        data: the data set.

    Raises:
        TypeError: for a class of which images and labels cannot be read without decoding.
    """
    family = families[0]
    if not set(families).isdisjoint(_GRAY):
        raise TypeError(f"torchvision's {family} holds gray images and fastaug makes batches of three "
                        "channels; give (uint8 images [N, H, W, 3], labels), each plane repeated three times")
    read = next((_TORCHVISION[f] for f in families if f in _TORCHVISION), None)
    if read is None:
        raise TypeError(f"torchvision's {family} is not read: fastaug takes from torchvision "
                        f"{', '.join(sorted(_TORCHVISION))} and their subclasses; give a list of "
                        "(path, label), or (uint8 images [N, H, W, 3], labels)")
    try:
        images, labels = read(data)
    except AttributeError as error:
        raise TypeError(f"this torchvision keeps the files of {family} elsewhere ({error}); give a list of "
                        "(path, label)") from error
    names = (getattr(data, name, None) for name in ("classes", "categories", "all_categories"))
    found = next((n for n in names if n), None)
    classes = None if found is None else [c if isinstance(c, str) else ", ".join(c) for c in found]
    if hasattr(images, "ndim"):
        return array_source(images, labels, classes)
    return pairs_source(list(zip(images, labels, strict=True)), classes)


# ---- Hugging Face ----


class _Rows(Sequence[bytes]):
    """The encoded images of a Hugging Face column, read when asked for.

    Args:
        table: the data set, with the column's images not decoded and in Arrow's format.
        column: the column's name.
    """

    def __init__(self, table: Any, column: str) -> None:
        self._table, self._column = table, column

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, i: Any) -> Any:
        image = self._table[int(i)][self._column][0]
        data = image["bytes"].as_py()
        if data is None and (path := image["path"].as_py()) is not None:
            try:
                data = Path(path).read_bytes()
            except OSError:
                data = None
        return data or b""


def hugging_face_source(data: Any) -> Source:
    """The source of a Hugging Face ``Dataset`` with one Image column and one of class ids.

    Images are read from Arrow's memory map one by one; a column that holds paths alone is read as files.

    Raises:
        TypeError: for streamed data sets, several splits, or columns that are not these.
        ValueError: where several columns could be meant, or a transform is set.
    """
    from datasets import Dataset, Image

    if isinstance(data, dict):
        raise TypeError(f"the data set has the splits {', '.join(map(repr, data))}; give one of them, such "
                        f"as dataset[{next(iter(data), 'train')!r}]")
    if not isinstance(data, Dataset):
        raise TypeError(f"a Hugging Face {type(data).__name__} has no numbers for its samples, by which "
                        "fastaug shuffles and resumes; load it without streaming=True")
    if data.format["type"] == "custom":
        raise ValueError("the data set has a transform (set_transform or with_transform), Python code that "
                         "fastaug does not run; call dataset.with_format(None) and say the same with "
                         "augment=[...], in which torchvision's transforms may stand too")
    if not len(data):
        raise ValueError("the data set is empty; give at least one row")
    kinds = {name: type(feature).__name__ for name, feature in data.features.items()}
    image = _column("an image", "an Image", [n for n, kind in kinds.items() if kind == "Image"], kinds)
    named = [n for n, kind in kinds.items() if kind == "ClassLabel"]
    whole = [n for n, f in data.features.items() if kinds[n] == "Value" and "int" in f.dtype]
    label = _column("the label", "a ClassLabel or whole-number", named or whole, kinds)
    labels = data.select_columns([label]).with_format("arrow")[:][label]
    if labels.null_count:
        raise ValueError(f"column {label!r} has {labels.null_count} rows without a label; take them out with "
                         "dataset.filter")
    plain = data.select_columns([image]).cast_column(image, Image(decode=False)).with_format("arrow")
    classes = getattr(data.features[label], "names", None)
    ids = class_ids(labels.to_numpy(), len(data))
    paths = _paths(plain, image)
    if paths is not None:
        return Source(ids, classes, paths=Names.of(paths))
    return Source(ids, classes, blobs=_Rows(plain, image))


def _column(what: str, kind: str, found: list[str], columns: dict[str, str]) -> str:
    if len(found) == 1:
        return found[0]
    has = ", ".join(f"{name!r} ({feature})" for name, feature in columns.items())
    if not found:
        raise TypeError(f"the data set needs {kind} column for {what}, and its columns are {has}; make one "
                        "with dataset.cast_column or dataset.class_encode_column")
    raise ValueError(f"{what} could be in {' or '.join(map(repr, found))}; keep one of them with "
                     "dataset.remove_columns or dataset.select_columns")


def _paths(table: Any, column: str) -> list[str] | None:
    """The paths of a column that holds no bytes; None where it holds some."""
    found: list[str] = []
    for begin in range(0, len(table), 1000):
        if table[begin][column][0]["bytes"].is_valid:  # before a thousand images are touched
            return None
        for image in table[begin : begin + 1000][column].to_pylist():
            if image["bytes"] is not None or image["path"] is None:
                return None
            found.append(image["path"])
    return found
