"""Source: what a user has, as samples addressable by number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# Formats that DALI decodes on every device.
EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".pnm", ".ppm",
              ".pgm", ".jp2")  # fmt: skip

_ACCEPTED = (
    "a folder in ImageFolder layout (root/class/image.jpg), a torchvision ImageFolder or "
    "DatasetFolder, a sequence of (path or bytes, label), or uint8 images [N, H, W, 3] with labels, "
    "as a pair or a data set's .data and .targets"
)


class Names(Sequence[str]):
    """Many paths as one byte buffer with offsets: a few bytes each beside their text.

    Args:
        blob: uint8, all paths' file-system bytes one after another.
        offsets: int64 ``[N + 1]``, where each begins and the last ends.
    """

    def __init__(self, blob: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self.blob, self.offsets = blob, offsets

    @classmethod
    def of(cls, names: Sequence[str | bytes | os.PathLike[str]]) -> Names:
        """Packs a list of paths."""
        raw = [os.fsencode(name) for name in names]
        offsets = np.zeros(len(raw) + 1, np.int64)
        np.cumsum([len(r) for r in raw], out=offsets[1:])
        return cls(np.frombuffer(b"".join(raw), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def raw(self, i: int) -> npt.NDArray[np.uint8]:
        """Path i as uint8, the form in which DALI takes it."""
        return self.blob[self.offsets[i] : self.offsets[i + 1]]

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        return os.fsdecode(self.raw(i).tobytes())


@dataclass(frozen=True, eq=False)
class Source:
    """Samples by number, each a file, encoded bytes or a decoded uint8 image.

    Attributes:
        labels: int64 ``[N]``, class ids.
        classes: class names, or None where there are none.
        root: the folder, or None.
        paths: the files, or None.
        blobs: encoded images, or None.
        arrays: uint8 ``[N, H, W, 3]``, or None.
    """

    labels: npt.NDArray[np.int64]
    classes: list[str] | None = None
    root: str | None = None
    paths: Names | None = None
    blobs: Sequence[bytes] | None = field(default=None, repr=False)
    arrays: npt.NDArray[np.uint8] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        """What messages call sample i: its path, or its place in the data."""
        return repr(self.paths[i]) if self.paths is not None else f"sample {i} (in memory)"


def as_source(data: object) -> Source:
    """Turns what a user has into a Source.

    Raises:
        TypeError: naming what is accepted.
        FileNotFoundError, ValueError: for folders without images, wrong labels or shapes.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, (str, os.PathLike)):
        return folder_source(Path(data))
    if hasattr(data, "samples") and hasattr(data, "classes"):  # ImageFolder, DatasetFolder
        return pairs_source(data.samples, list(data.classes))
    if hasattr(data, "data") and hasattr(data, "targets"):  # CIFAR10 and its like
        classes = getattr(data, "classes", None)
        return array_source(data.data, data.targets, list(classes) if classes else None)
    if isinstance(data, tuple) and len(data) == 2 and hasattr(data[0], "ndim"):
        return array_source(data[0], data[1])
    if isinstance(data, Sequence):
        return pairs_source(data)
    raise TypeError(f"the data set is a {type(data).__name__}; accepted are {_ACCEPTED}")


def folder_source(root: Path) -> Source:
    """root/class/…/image.jpg: classes are the folders' names in sorted order."""
    if not root.exists():
        raise FileNotFoundError(f"the folder {str(root)!r} does not exist; check the path")
    if not root.is_dir():
        raise NotADirectoryError(f"{str(root)!r} is a file; give the folder that holds one folder "
                                 "for each class")
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    if not classes:
        raise ValueError(f"{str(root)!r} holds no class folders; fastaug expects "
                         "root/class/image.jpg, one folder for each class")
    files: list[str] = []
    labels: list[int] = []
    empty = []
    for label, name in enumerate(classes):
        found = sorted(_images(os.path.join(root, name)))
        if not found:
            empty.append(name)
        files += found
        labels += [label] * len(found)
    if empty:
        raise ValueError(f"{len(empty)} class folders of {str(root)!r} hold no image "
                         f"({', '.join(EXTENSIONS)}), {empty[0]!r} the first; remove them or fill "
                         "them, so that class numbers mean the same everywhere")
    return Source(np.array(labels, np.int64), classes, str(root), Names.of(files))


def _images(folder: str) -> list[str]:
    found: list[str] = []
    for base, _, names in os.walk(folder, followlinks=True):
        found += [os.path.join(base, n) for n in names if n.lower().endswith(EXTENSIONS)]
    return found


def pairs_source(pairs: Sequence[Any], classes: list[str] | None = None) -> Source:
    """A sequence of (path or bytes, label)."""
    if not len(pairs):
        raise ValueError("the data set is empty; give at least one (path or bytes, label)")
    for i, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"entry {i} of the data set is {_short(pair)}; accepted are {_ACCEPTED}")
    images = [image for image, _ in pairs]
    labels = _labels([label for _, label in pairs], len(images))
    encoded, path = (bytes, bytearray, memoryview), (str, os.PathLike)
    expected = encoded if isinstance(images[0], encoded) else path
    odd = next((i for i, image in enumerate(images) if not isinstance(image, expected)), None)
    if odd is None and expected is encoded:
        return Source(labels, classes, blobs=images)
    if odd is None:
        return Source(labels, classes, paths=Names.of(images))
    raise TypeError(f"entry {odd} of the data set has a {type(images[odd]).__name__} for an image; "
                    "all must be paths, or all bytes of encoded images")


def array_source(images: Any, labels: Any, classes: list[str] | None = None) -> Source:
    """Decoded images uint8 ``[N, H, W, 3]`` with labels ``[N]``."""
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise TypeError(f"the images are {array.dtype} {list(array.shape)}; they must be uint8 "
                        "[N, H, W, 3]")
    if not len(array):
        raise ValueError("the data set is empty; give at least one image")
    return Source(_labels(labels, len(array)), classes, arrays=np.ascontiguousarray(array))


def _labels(labels: Any, n: int) -> npt.NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim != 1 or len(array) != n:
        raise ValueError(f"there are {n} images but labels of shape {list(array.shape)}; give one "
                         "label for each image")
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels are {array.dtype}, such as {array[0]!r}; they must be whole numbers "
                        "from 0")
    if array.min() < 0:
        raise ValueError(f"sample {int(array.argmin())} has label {array.min()}; labels count from 0")
    return array.astype(np.int64)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
