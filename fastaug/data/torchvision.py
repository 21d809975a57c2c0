"""torchvision's data sets as listings: where each class keeps its images and labels."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import Unrecognised
from .listing import Listing, array_listing, pairs_listing


def families_of(data: object) -> list[str]:
    """torchvision's names of a data set's class and its bases, the nearest first; empty for others."""
    families = [c.__name__ for c in type(data).__mro__ if c.__module__.startswith("torchvision.datasets")]
    return families if len(families) > 1 else []  # more than VisionDataset


def unwrapped(data: Any) -> Any:
    """What is in torchvision's ``wrap_dataset_for_transforms_v2``, which leaves images and labels alone."""
    wrapped = any(c.__name__ == "VisionDatasetTVTensorWrapper" for c in type(data).__mro__)
    return data._dataset if wrapped else data


def _files(folder: object, names: Sequence[str]) -> list[str]:
    return [os.path.join(str(folder), name) for name in names]


def _pet(data: Any) -> tuple[Any, Any]:
    labels = {"category": "_labels", "binary-category": "_bin_labels"}
    return data._images, getattr(data, labels[_one_target(data._target_types, labels)])


def _one_target(asked: Sequence[str], accepted: Any) -> str:
    if len(asked) != 1 or asked[0] not in accepted:
        raise ValueError(
            f"the data set's targets are {list(asked)!r}; fastaug needs one class id a sample: "
            f"ask for one of {', '.join(map(repr, accepted))}"
        )
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


def class_names(data: Any) -> list[str] | None:
    """Class names by label; None where there are none, or where the data set's own numbers are others."""
    binary = getattr(data, "_target_types", None) == ["binary-category"]  # of pets: cats and dogs
    places = ("bin_classes",) if binary else ("classes", "categories", "all_categories")
    held = (getattr(data, place, None) for place in places)
    names = next((n for n in held if n is not None and len(n)), None)
    if names is None:
        return None
    numbers = getattr(data, "class_to_idx", None) or {}
    if any(numbers.get(name, k) != k for k, name in enumerate(names) if isinstance(name, str)):
        return None
    return [name if isinstance(name, str) else ", ".join(name) for name in names]


# Where torchvision's classes keep images (paths, or uint8 arrays) and labels.
_TORCHVISION: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "DatasetFolder": _pairs("samples"),
    "Places365": _pairs("imgs"),
    **dict.fromkeys(("GTSRB", "Imagenette", "RenderedSST2", "StanfordCars"), _pairs("_samples")),
    **dict.fromkeys(
        ("CLEVRClassification", "DTD", "FGVCAircraft", "Flowers102", "Food101", "SUN397"),
        operator.attrgetter("_image_files", "_labels"),
    ),
    "OxfordIIITPet": _pet,
    "LFWPeople": operator.attrgetter("data", "targets"),
    "Caltech101": _caltech101,
    "Caltech256": _caltech256,
    "INaturalist": _inaturalist,
    "CIFAR10": operator.attrgetter("data", "targets"),
    **dict.fromkeys(("SVHN", "STL10"), _turned),
}
_GRAY = ("FER2013", "MNIST", "Omniglot", "SEMEION", "USPS")


def torchvision_listing(families: Sequence[str], data: Any) -> Listing:
    """The listing of a torchvision data set.

    Args:
        families: torchvision's names of its class and that class's bases, the nearest first.
        data: the data set.

    Raises:
        TypeError: for a class of which images and labels cannot be read without decoding.
    """
    family = families[0]
    if not set(families).isdisjoint(_GRAY):
        raise Unrecognised(f"torchvision's {family} holds gray images")
    read = next((_TORCHVISION[f] for f in families if f in _TORCHVISION), None)
    if read is None:
        raise Unrecognised(f"torchvision's {family} keeps its files in a way that is not known")
    try:
        images, labels = read(data)
    except AttributeError as error:
        raise Unrecognised(f"this torchvision keeps the files of {family} elsewhere ({error})") from error
    classes = class_names(data)
    if hasattr(images, "ndim"):
        return array_listing(images, labels, classes)
    return pairs_listing(list(zip(images, labels, strict=True)), classes)
