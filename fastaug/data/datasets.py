"""What holds a user's images, as a Listing: torchvision's data sets, torch's Subset and ConcatDataset,
Hugging Face's Dataset, and what ``listing`` reads by itself. Nothing is decoded and no ``__getitem__`` is
called: what has code of its own for samples is refused, and what changes after it was read is noticed
(``watch``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, IterableDataset, Subset

from ..checks import shown
from ..errors import Unrecognised
from .hugging import hugging_face_listing
from .listing import (
    Listing,
    array_listing,
    folder_listing,
    joined,
    pairs_listing,
    targets_of,
)
from .torchvision import class_names, families_of, torchvision_listing, unwrapped

# What torch's loader asks for samples, and whose answers fastaug knows without asking.
_HOOKS = ("__getitem__", "__getitems__", "__len__")
_HUGGING_FACE = ("datasets.arrow_dataset", "datasets.dataset_dict", "datasets.iterable_dataset")
_KNOWN = ("builtins", "torch.utils.data", "torchvision.datasets", "timm.data.dataset", *_HUGGING_FACE)
_LOADERS = ("default_loader", "pil_loader", "accimage_loader")  # of torchvision.datasets.folder
_CALLING_BOTH = {"OxfordIIITPet", "Places365"}  # torchvision's classes that call ``transforms``
# Where data sets keep what their samples are.
_KEPT = (
    "samples",
    "imgs",
    "_samples",
    "_image_files",
    "_images",
    "_labels",
    "_bin_labels",
    "data",
    "targets",
    "labels",
    "y",
    "index",
    "target_type",
    "_target_types",
    "loader",
    "_loader",
)


def as_listing(data: object) -> Listing:
    """Turns what a user has into a Listing.

    A ``target_transform`` is carried out here, once for each sample.

    Raises:
        TypeError: naming what is accepted, or whose code would not be run.
        FileNotFoundError, ValueError: for folders without images, wrong labels or shapes.
    """
    if isinstance(data, Listing):
        return data
    if isinstance(data, (str, os.PathLike)):
        return folder_listing(Path(data))
    if isinstance(data, Subset):
        _check_own(data)
        return _subset(data)
    if isinstance(data, ConcatDataset):
        _check_own(data)
        return _joined(data)
    if _is_hugging_face(data):
        _check_own(data, (*_HOOKS, "_getitem"))
        return hugging_face_listing(data)
    listing = _held(data)
    transform = _called(data, "target_transform")
    return listing if transform is None else _with_targets(listing, transform)


def own_transforms(data: object) -> list[tuple[str, object]]:
    """The transform that torch calls on the images of each part of a data set, with what messages call the
    part: a Subset's is its data set's, a ConcatDataset has several; None where there is none.

    Raises:
        ValueError: where the part's ``transform`` and ``transforms`` do not go together.
    """
    if isinstance(data, Subset):
        return own_transforms(data.dataset)
    if isinstance(data, ConcatDataset):
        found = [(k, own) for k, part in enumerate(data.datasets, 1) for own in own_transforms(part)]
        return [(f"part {k} ({name})", transform) for k, (name, transform) in found]
    return [(type(data).__name__, _called(data, "transform"))]


def _called(data: object, what: str) -> Any:
    """What torch calls on the images ("transform") or labels ("target_transform") of one data set; None for
    nothing.

    VisionDataset's constructor makes a StandardTransform, ``transforms``, of the two. A class calls either
    that or the two, whatever is assigned to the other later.

    Raises:
        ValueError: when nothing is called and something was assigned where it is not read; when it is not
            known which is called, and they differ; when ``transforms`` may change labels.
    """
    alone, both = getattr(data, what, None), getattr(data, "transforms", None)
    standard = type(both).__name__ == "StandardTransform"
    shared = getattr(both, what) if standard else both if what == "transform" else None
    name, reads = type(data).__name__, _reads(data)
    if reads == ("transforms",):
        called, lost = shared, alone
    elif "transforms" not in reads:
        called, lost = alone, None if standard else shared
    elif None in (alone, shared) or alone == shared:
        called, lost = shared if alone is None else alone, None
    else:
        raise ValueError(
            f"{name}.{what} is {shown(alone)}, and its transforms say {shown(shared)}; keep the "
            "one that is meant"
        )
    if called is None and lost is not None:
        raise ValueError(
            f"{name} calls {' and '.join(reads)}, and {shown(lost)} is assigned elsewhere, so "
            "torch would leave it out; assign it there"
        )
    if (
        what == "target_transform"
        and "transforms" in reads
        and both is not None
        and not standard
        and not _keeps_labels(both)
    ):
        raise Unrecognised(f"{name}.transforms is {shown(both)}, which may change labels")
    return called


def _keeps_labels(transform: Any) -> bool:
    """Whether a transform of image and label together is torchvision's, which leave whole numbers alone."""
    inner = getattr(transform, "transforms", ())
    kind = type(transform)
    known = kind.__module__.startswith("torchvision.transforms.") and kind.__name__ != "Lambda"
    return known and all(map(_keeps_labels, inner))


def watch(data: object, own: bool) -> Callable[[], None]:
    """A check that a data set still says what it says now.

    Args:
        data: what ``as_listing`` has read, once.
        own: whether its transform was read too.

    Returns:
        A function that raises a RuntimeError with the attribute's name when a transform, the length, or
        labels, files or indices have changed; of arrays of images, whether they are other arrays. For a
        million files it takes a tenth of a second.
    """
    before = _observed(data, own, type(data).__name__)

    def check() -> None:
        now = _observed(data, own, type(data).__name__)
        for place in {**before, **now}:
            if before.get(place) != now.get(place):
                raise RuntimeError(
                    f"{place} has changed since the loader was made, which reads a data set "
                    "once; make a new loader"
                )

    return check


def _observed(data: Any, own: bool, name: str) -> dict[str, object]:
    """What is to stay as it is, by what messages call it."""
    if isinstance(data, Subset):
        return {f"{name}.indices": _print(data.indices), **_observed(data.dataset, own, f"{name}.dataset")}
    if isinstance(data, ConcatDataset):
        parts = [_observed(part, own, f"{name}.datasets[{k}]") for k, part in enumerate(data.datasets)]
        return {place: observed for part in parts for place, observed in part.items()}
    if isinstance(data, (str, os.PathLike, Listing)):
        return {}
    if _is_hugging_face(data):
        return {f"{name}.format": str(data.format), f"the length of {name}": len(data)}
    observed: dict[str, object] = {}
    for attribute in _reads(data):
        value = getattr(data, attribute, None)
        if attribute == "transforms" and not own:
            value = getattr(value, "target_transform", None)
        if own or attribute != "transform":
            observed[f"{name}.{attribute}"] = value, repr(value)  # which tells what is edited in place
    if isinstance(data, Sequence):
        observed[name] = _print(data)
    held = getattr(unwrapped(data), "__dict__", {})
    kept = [k for k in _KEPT if k in held and not ("samples" in held and k in ("imgs", "targets"))]
    observed.update({f"{name}.{k}": _print(held[k]) for k in kept})
    return observed


def _print(held: Any) -> object:
    """What differs when labels, files or indices are others. Encoded images are not looked at."""
    if isinstance(held, (np.ndarray, torch.Tensor)):
        array = np.asarray(held)
        return (array.shape, array.ctypes.data) if array.ndim > 1 else hash(array.tobytes())
    if not isinstance(held, (list, tuple)):
        return len(held) if isinstance(held, Sized) and not isinstance(held, (str, bytes, range)) else held
    if held and isinstance(held[0], (list, tuple)) and any(isinstance(part, bytes) for part in held[0]):
        held = [pair[1:] for pair in held]
    try:
        return hash(tuple(held))
    except TypeError:  # lists or arrays inside
        return hash(tuple(map(_print, held)))


def _held(data: Any) -> Listing:
    """The listing of one data set, before its ``target_transform``."""
    data = unwrapped(data)
    families = families_of(data)
    reader: Any = getattr(data, "reader", None)
    if type(reader).__module__ == "timm.data.readers.reader_image_folder":
        _check_own(data)
        if data.load_bytes or data.input_img_mode != "RGB" or data.additional_features:
            raise Unrecognised("timm's ImageDataset is given load_bytes, another mode or additional_features")
        return pairs_listing(reader.samples)
    listed = hasattr(data, "samples") and hasattr(data, "classes")
    if families or listed or (hasattr(data, "data") and hasattr(data, "targets")):
        _check_own(data)
        if families:
            return torchvision_listing(families, data)
        if listed:
            return pairs_listing(data.samples, class_names(data))
        return array_listing(data.data, data.targets, class_names(data))
    if isinstance(data, tuple) and len(data) == 2 and hasattr(data[0], "ndim"):
        return array_listing(data[0], data[1])
    if isinstance(data, Sequence):  # which is asked for its samples one by one
        _check_own(data, ("__getitems__",))
        return pairs_listing(data)
    raise Unrecognised(f"{type(data).__name__} is known by its __getitem__ alone")


def _is_hugging_face(data: object) -> bool:
    return any(c.__module__ in _HUGGING_FACE for c in type(data).__mro__)


def _check_own(data: object, hooks: Sequence[str] = _HOOKS) -> None:
    """Raises when the user's own code says what a sample is: it would not be run."""
    kind = type(data)
    for hook in (*hooks, "__iter__") if isinstance(data, IterableDataset) else hooks:
        home = next((c for c in kind.__mro__ if hook in vars(c)), object)
        module = getattr(vars(home).get(hook), "__module__", None) or home.__module__
        if hook == "__getitems__" and hook in getattr(data, "__dict__", {}):  # torch finds this one there too
            home, module = kind, ""
        if not module.startswith(_KNOWN):
            raise Unrecognised(f"{home.__name__} has a {hook} of its own")
    folder = sys.modules.get("torchvision.datasets.folder")
    for name in ("loader", "_loader"):
        loader = getattr(data, name, None)
        if loader is not None and not any(loader is getattr(folder, known, None) for known in _LOADERS):
            raise Unrecognised(f"{kind.__name__}.{name} is {shown(loader)}")


def _reads(data: object) -> tuple[str, ...]:
    """Where a data set's ``__getitem__`` finds its transforms; all places where that is not torchvision's."""
    families = families_of(data)
    if not families:
        return "transform", "target_transform", "transforms"
    if unwrapped(data) is not data or not _CALLING_BOTH.isdisjoint(families):
        return ("transforms",)
    return "transform", "target_transform"


def _joined(data: Any) -> Listing:
    listing = joined([as_listing(part) for part in data.datasets])
    if len(listing) != len(data):
        raise ValueError(
            f"the ConcatDataset counts {len(data)} samples, and its parts now hold "
            f"{len(listing)}; make a new one"
        )
    return listing


def _subset(data: Any) -> Listing:
    listing = as_listing(data.dataset)
    index = np.asarray(data.indices)
    if not index.size:
        raise ValueError("the Subset is empty; give it at least one index")
    if index.ndim != 1 or index.dtype.kind not in "iub":
        raise TypeError(
            f"the Subset's indices are {index.dtype} {list(index.shape)}; they must be whole "
            "numbers, one for each sample"
        )
    index = index.astype(np.int64)
    wrong = (index < -len(listing)) | (index >= len(listing))
    if wrong.any():
        raise IndexError(
            f"the Subset holds index {index[wrong][0]}; its data set has {len(listing)} samples, "
            f"numbered 0 to {len(listing) - 1}"
        )
    return listing.take(index % len(listing))


def _with_targets(listing: Listing, transform: Callable[[int], Any]) -> Listing:
    """The listing with its targets changed; its class names, which may fit no more, are left out."""
    made = [(transform(label),) for label in listing.labels.tolist()]
    labels, fields = targets_of(made)
    return replace(listing, labels=labels, fields=fields, classes=None)
