"""A data set that is called for its samples, as a source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..checks import IN_MEMORY
from ..data.form import Form
from ..data.source import Fault, Ids
from ..sampling.epoch import Ticket
from .samples import Calling, answered
from .workers import Workers

BARE = Form("bare", None, (), None)


class Called:
    """A map-style data set, whose ``__getitem__`` is called as torch's DataLoader calls it.

    Args:
        calling: the data set, and how it is called.
        n: its number of samples.
        workers: who calls it.
        first: sample 0's image, or what its transform is given where that is taken out.
        why: which way was taken and why, for people.

    Raises:
        ValueError: when the image is none that the line takes.
    """

    in_memory = False

    def __init__(self, calling: Calling, n: int, workers: Workers, first: Any, why: str) -> None:
        self.calling, self.workers, self._n = calling, workers, n
        self.names = calling.form.names
        self.classes: list[str] | None = named_classes(calling.dataset)
        alone = replace(calling, dataset=[first], form=BARE, keyed=False)
        found = answered(alone, Ticket.of(np.zeros(1, np.int64)))
        if isinstance(found.items[0], Fault):
            raise ValueError(f"the first sample of {calling.name}: {found.items[0].reason}")
        self._size = found.height, found.width
        by = f"{workers.number} {'worker processes' if workers.kind == 'process' else 'threads'}"
        self.summary = (
            f"{n:,} samples of {calling.name}, called by {by if workers.number else 'this process'}"
        )
        self.summary += f"{', keyed by sample' if calling.keyed else ', not keyed'}; {why}"

    def __len__(self) -> int:
        return self._n

    def sizes(self) -> tuple[Ids, Ids, Ids]:
        return np.zeros(1, np.int64), *self._size

    def bad(self) -> Ids:
        return np.zeros(0, np.int64)

    def largest_label(self) -> tuple[int, int] | None:
        return None

    def labels(self) -> Ids | None:
        return known_labels(self.calling.dataset, self._n)

    def name(self, i: int) -> str:
        return f"sample {i} of {self.calling.name}{IN_MEMORY}"

    def reason(self, i: int) -> str:
        return ""

    def identity(self) -> dict[str, Any]:
        return {"samples": self._n, "names": self.calling.name, "labels": ""}


def length_of(dataset: Any) -> int:
    """The number of samples.

    Raises:
        TypeError, ValueError: when there is none.
    """
    name = type(dataset).__name__
    try:
        n = len(dataset)
    except (TypeError, NotImplementedError) as error:
        raise TypeError(
            f"{name} has no length ({error}); give it a __len__, from which samples are drawn"
        ) from None
    if not n:
        raise ValueError(f"{name} is empty; give at least one sample")
    return n


def named_classes(dataset: Any) -> list[str] | None:
    """Its class names, where it or what it wraps has some."""
    for _ in range(16):
        classes = getattr(dataset, "classes", None)
        if isinstance(classes, (list, tuple)) and classes and all(isinstance(c, str) for c in classes):
            return list(classes)
        dataset = getattr(dataset, "dataset", None)
        if dataset is None:
            return None
    return None


def known_labels(dataset: Any, n: int) -> Ids | None:
    """The class ids of a data set that keeps them as torchvision's do, and of those that wrap one; None where
    there are none."""
    for name in ("targets", "labels"):
        held = getattr(dataset, name, None)
        try:
            ids = np.asarray(held)
        except Exception:
            continue
        if held is not None and ids.shape == (n,) and ids.dtype.kind in "iu":
            return ids.astype(np.int64)
    inner, index = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    parts = getattr(dataset, "datasets", None)
    if inner is not None:
        found = known_labels(inner, len(inner))
        return found[np.asarray(index)] if found is not None and index is not None else found
    if isinstance(parts, list):
        each = [known_labels(part, len(part)) for part in parts]
        known = [ids for ids in each if ids is not None]
        return np.concatenate(known) if len(known) == len(each) else None
    return None
