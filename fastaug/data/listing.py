"""Listing: what a user has, as samples addressable by number; read from a folder, a list or arrays."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import IN_MEMORY, plain, shown
from ..errors import Unrecognised
from .pillow import extensions

log = logging.getLogger("fastaug")

IGNORED = -100  # ignore_index of torch's losses
_NAMES = 100_000  # hashed in full for a fingerprint; of more files, so many evenly spaced

ACCEPTED = (
    "a folder in ImageFolder layout (root/class/image.jpg); a torchvision data set for classification "
    "(ImageFolder, CIFAR10, Food101 and their like), or a Subset or ConcatDataset of them; a Hugging Face "
    "Dataset; a sequence of (path or bytes, label); or uint8 images [N, H, W, 3] with labels, as a pair "
    "or a data set's .data and .targets"
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

    def take(self, index: npt.NDArray[np.int64]) -> Names:
        """The paths of these numbers, in this order."""
        lengths = np.diff(self.offsets)[index]
        offsets = np.zeros(len(index) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        place = np.arange(offsets[-1]) + np.repeat(self.offsets[index] - offsets[:-1], lengths)
        return Names(self.blob[place], offsets)


class _Taken(Sequence[bytes]):
    """Encoded images of another sequence by number, read when asked for."""

    def __init__(self, blobs: Sequence[bytes], index: npt.NDArray[np.int64]) -> None:
        self._blobs, self._index = blobs, index

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: Any) -> Any:
        return self._blobs[int(self._index[i])]


class _Joined(Sequence[bytes]):
    """Encoded images of several sequences, one after another, read when asked for."""

    def __init__(self, parts: Sequence[Sequence[bytes]]) -> None:
        self._parts, self._ends = parts, np.cumsum([len(p) for p in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, i: Any) -> Any:
        part = int(np.searchsorted(self._ends, i, side="right"))
        return self._parts[part][int(i) - (int(self._ends[part - 1]) if part else 0)]


@dataclass(frozen=True, eq=False)
class Listing:
    """Samples by number, each a file, encoded bytes or a decoded uint8 image.

    Attributes:
        labels: int64 ``[N]``, class ids; zeros where ``fields`` holds the targets.
        classes: class names, or None where there are none.
        root: the folder, or None.
        paths: the files, or None.
        blobs: encoded images, or None.
        arrays: uint8 ``[N, H, W, 3]``, or None.
        left_out: how many files of the folder are no images, by what their names end in.
        fields: object ``[N]``, a tuple of what comes with each image, where that is not one class id.
        names: of the parts of a sample, the image first.
    """

    labels: npt.NDArray[np.int64]
    classes: list[str] | None = None
    root: str | None = None
    paths: Names | None = None
    blobs: Sequence[bytes] | None = field(default=None, repr=False)
    arrays: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    left_out: Counter[str] = field(default_factory=Counter, repr=False)
    fields: npt.NDArray[Any] | None = field(default=None, repr=False)
    names: tuple[str, ...] = ("image", "label")

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        """Sample i's path, or its place in the data."""
        return str(self.paths[i]) if self.paths is not None else f"sample {i}{IN_MEMORY}"

    @property
    def summary(self) -> str:
        """For people: how many samples, where, of what kind."""
        where = f" under {self.root!r}" if self.root else ""
        among = f" in {len(self.classes)} classes" if self.classes else ""
        return f"{len(self):,} samples{among}{where}: {self.kind}"

    @property
    def kind(self) -> str:
        """What the images are, for messages."""
        if self.arrays is not None:
            return f"uint8 arrays of {self.arrays.shape[1]}x{self.arrays.shape[2]} pixels"
        return "files" if self.paths is not None else "encoded bytes"

    @property
    def rows(self) -> npt.NDArray[Any]:
        """What comes with each image: int64, class ids, or object, a tuple each."""
        return self.labels if self.fields is None else self.fields

    def largest_label(self) -> tuple[int, int] | None:
        """The largest label, and the number of a sample that has it; None where labels are no class ids."""
        if self.fields is not None:
            return None
        sample = int(self.labels.argmax())
        return int(self.labels[sample]), sample

    def identity(self) -> dict[str, Any]:
        """What is the same for the same data in another place: see ``Source``."""
        return {
            "samples": len(self),
            "names": "" if self.paths is None else names_digest(self.paths),
            "labels": hashlib.blake2b(self._printed(), digest_size=8).hexdigest(),
        }

    def _printed(self) -> bytes:
        return self.labels.tobytes() if self.fields is None else repr(self.fields.tolist()).encode()

    def take(self, index: npt.NDArray[np.int64]) -> Listing:
        """The samples of these numbers, in this order. Files and bytes are not copied, arrays are."""
        return Listing(
            self.labels[index],
            self.classes,
            self.root,
            None if self.paths is None else self.paths.take(index),
            None if self.blobs is None else _Taken(self.blobs, index),
            None if self.arrays is None else self.arrays[index],
            fields=None if self.fields is None else self.fields[index],
            names=self.names,
        )


def joined(parts: Sequence[Listing]) -> Listing:
    """Several listings one after another.

    Raises:
        ValueError: when they differ in kind, image size or class names.
    """
    first = parts[0]
    for number, part in enumerate(parts[1:], 2):
        if part.kind != first.kind:
            raise ValueError(
                f"the parts of a ConcatDataset must be of one kind, but part 1 holds "
                f"{first.kind} and part {number} {part.kind}; use a loader for each"
            )
        if (part.fields is None) != (first.fields is None) or part.names != first.names:
            raise ValueError(
                f"the parts of a ConcatDataset must be of one form, but part {number} gives other than "
                "part 1 beside its images; use a loader for each"
            )
        if part.classes != first.classes:
            raise ValueError(
                f"the parts of a ConcatDataset must have the same classes, but part 1 has "
                f"{shown(first.classes)} and part {number} {shown(part.classes)}, so their "
                "labels mean different things; use a loader for each"
            )
    paths = [p.paths for p in parts if p.paths is not None]
    blobs = [p.blobs for p in parts if p.blobs is not None]
    arrays = [p.arrays for p in parts if p.arrays is not None]
    return Listing(
        np.concatenate([p.labels for p in parts]),
        first.classes,
        None,
        joined_names(paths) if paths else None,
        _Joined(blobs) if blobs else None,
        np.concatenate(arrays) if arrays else None,
        fields=None
        if first.fields is None
        else np.concatenate([p.fields for p in parts if p.fields is not None]),
        names=first.names,
    )


def joined_names(parts: Sequence[Names]) -> Names:
    """Paths one after another."""
    lengths = np.concatenate([np.diff(p.offsets) for p in parts])
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Names(np.concatenate([p.blob for p in parts]), offsets)


def names_digest(names: Names) -> str:
    """A fingerprint of a list of paths: every length, and up to 100,000 names."""
    places = np.unique(np.linspace(0, len(names) - 1, min(len(names), _NAMES)).astype(np.int64))
    texts = [names.raw(int(i)).tobytes() for i in places]
    first, last = min(texts), max(texts)  # all begin with what these two share
    shared = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    start = first.rfind(b"/", 0, shared) + 1
    digest = hashlib.blake2b(digest_size=8)
    digest.update((np.diff(names.offsets) - start).astype(np.int32).tobytes())
    digest.update(b"\0".join(text[start:] for text in texts))
    return digest.hexdigest()


def folder_listing(root: Path) -> Listing:
    """root/class/…/image.jpg: classes are the folders' names in sorted order, samples numbered as by
    torchvision's ``ImageFolder``."""
    if not root.exists():
        raise FileNotFoundError(f"the folder {str(root)!r} does not exist; check the path")
    if not root.is_dir():
        raise NotADirectoryError(
            f"{str(root)!r} is a file; give the folder that holds one folder for each class"
        )
    classes = sorted(entry.name for entry in os.scandir(root) if _is_folder(entry))
    if not classes:
        raise ValueError(
            f"{str(root)!r} holds no class folders; fastaug expects "
            "root/class/image.jpg, one folder for each class"
        )
    files: list[str] = []
    labels: list[int] = []
    empty, left_out = [], Counter[str]()
    for label, name in enumerate(classes):
        found = images_under(os.path.join(root, name), left_out)
        if not found:
            empty.append(name)
        files += found
        labels += [label] * len(found)
    if empty:
        raise ValueError(
            f"{len(empty)} class folders of {str(root)!r} hold no image, {empty[0]!r} the first; remove them "
            "or fill them, so that class numbers mean the same everywhere (images' names end in "
            f"{', '.join(extensions())})"
        )
    if left_out:
        log.warning(
            "fastaug: %s of %r are left out: no format that Pillow reads", counted(left_out), str(root)
        )
    return Listing(np.array(labels, np.int64), classes, str(root), Names.of(files), left_out=left_out)


def counted(left_out: Counter[str]) -> str:
    """Files that were left out, for people."""
    often = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    ends = ", ".join(f"{end or 'no ending'} {n}" for end, n in often[:8])
    return f"{left_out.total()} files ({ends})"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def images_under(folder: str, left_out: Counter[str] | None = None) -> list[str]:
    """The images of a folder and of those in it, in the order of torchvision's ``ImageFolder``: by folder,
    then by name. Links are followed unless they lead to a folder above.

    Args:
        folder: where to look.
        left_out: counts other files, but hidden ones, by what their names end in.
    """
    endings, found = extensions(), dict[str, list[str]]()
    ahead: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while ahead:
        path, above = ahead.pop()
        here = os.stat(path)
        if (here.st_dev, here.st_ino) in above:
            continue
        above |= {(here.st_dev, here.st_ino)}
        found[path] = []
        for entry in os.scandir(path):
            if _is_folder(entry):
                ahead.append((entry.path, above))
            elif entry.name.lower().endswith(endings):
                found[path].append(entry.name)
            elif left_out is not None and not entry.name.startswith("."):
                left_out[os.path.splitext(entry.name)[1].lower()] += 1
    return [os.path.join(path, name) for path in sorted(found) for name in sorted(found[path])]


def pairs_listing(pairs: Sequence[Any], classes: list[str] | None = None) -> Listing:
    """A sequence of (path or bytes, target, …), asked for its length and each number as torch's loader does;
    Unrecognised when its images are neither."""
    if not len(pairs):
        raise ValueError("the data set is empty; give at least one (path or bytes, label)")
    pairs = [pairs[i] for i in range(len(pairs))]  # a list's own iteration would pass a subclass's code by
    for i, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) < 2 or len(pair) != len(pairs[0]):
            raise Unrecognised(f"entry {i} of the data set is {shown(pair)}")
    images = [image for image, *_ in pairs]
    labels, fields = targets_of([tuple(more) for _, *more in pairs])
    names = ("image", "label", *(f"field{k + 2}" for k in range(len(pairs[0]) - 2)))
    encoded, path = (bytes, bytearray, memoryview), (str, os.PathLike)
    expected = encoded if isinstance(images[0], encoded) else path
    odd = next((i for i, image in enumerate(images) if not isinstance(image, expected)), None)
    if odd is None and expected is encoded:
        return Listing(labels, classes, blobs=images, fields=fields, names=names)
    if odd is None:
        return Listing(labels, classes, paths=Names.of(images), fields=fields, names=names)
    raise Unrecognised(f"entry {odd} of the data set has a {type(images[odd]).__name__} for an image")


def array_listing(images: Any, labels: Any, classes: list[str] | None = None) -> Listing:
    """Decoded images uint8 ``[N, H, W, 3]``, or gray ones ``[N, H, W]``, with labels ``[N]``, or other
    targets, N of them.

    Raises:
        Unrecognised: for arrays of another kind.
    """
    array = np.asarray(images)
    if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 1)):
        array = np.repeat(array.reshape(*array.shape[:3], 1), 3, 3)  # gray
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise Unrecognised(f"images are {array.dtype} {list(array.shape)}; they must be uint8 [N, H, W, 3]")
    if not len(array):
        raise ValueError("the data set is empty; give at least one image")
    ids, fields = np.asarray(labels), None
    if ids.ndim == 1 and ids.dtype.kind in "iu":
        ids = class_ids(ids, len(array))
    else:
        if len(labels) != len(array):
            raise ValueError(
                f"there are {len(array)} images but {len(labels)} labels; give one label for each image"
            )
        ids, fields = targets_of([(label,) for label in labels])
    return Listing(ids, classes, arrays=np.ascontiguousarray(array), fields=fields)


def targets_of(fields: Sequence[tuple[Any, ...]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any] | None]:
    """Class ids where each sample has one and nothing else, and otherwise what each has: object ``[N]``."""
    first = fields[0][0]
    if len(fields[0]) == 1 and isinstance(plain(first), int) and not isinstance(plain(first), bool):
        return class_ids([label for (label,) in fields], len(fields)), None
    held = np.empty(len(fields), object)
    for i, each in enumerate(fields):
        held[i] = each
    return np.zeros(len(fields), np.int64), held


def class_ids(labels: Any, n: int) -> npt.NDArray[np.int64]:
    """Labels of n images, checked: int64 ``[n]``, from 0."""
    array = np.asarray(labels)
    if array.ndim != 1 or len(array) != n:
        raise ValueError(
            f"there are {n} images but labels of shape {list(array.shape)}; give one label for each image"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels are {array.dtype}, such as {array[0]!r}; they must be whole numbers from 0")
    wrong = np.flatnonzero((array < 0) & (array != IGNORED))
    if len(wrong):
        raise ValueError(
            f"sample {wrong[0]} has label {array[wrong[0]]}; labels count from 0, and {IGNORED} is left "
            "out of the loss"
        )
    return array.astype(np.int64)
