"""A called data set's own transform: where it is, whether it can be taken out of ``__getitem__`` and carried
out by us, and how it is taken out for a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..checks import first_line, shown
from ..data.form import Form
from ..sampling.given import preserved, restore, states_now
from .aside import aside
from .samples import seed_all

_DEPTH = 16


def holders(dataset: Any, depth: int = 0) -> Iterator[tuple[Any, str, Any]]:
    """The objects within a data set that hold a transform of images, with the attribute's name and the
    transform: its own, and those of what it wraps."""
    both = getattr(dataset, "transforms", None)
    standard = type(both).__name__ == "StandardTransform"
    if standard and getattr(both, "transform", None) is not None:
        yield dataset, "transforms", both.transform  # type: ignore[union-attr]
    elif callable(both):
        yield dataset, "transforms", both
    if callable(getattr(dataset, "transform", None)):
        yield dataset, "transform", dataset.transform
    parts = getattr(dataset, "datasets", None)
    inner = list(parts) if isinstance(parts, (list, tuple)) else [getattr(dataset, "dataset", None)]
    for part in inner:
        if part is not None and depth < _DEPTH:
            yield from holders(part, depth + 1)


def the_transform(dataset: Any) -> Any:
    """The one transform of a data set and all that it wraps; None where there is none.

    Raises:
        ValueError: where there are several.
    """
    found: list[Any] = []
    for _, _, transform in holders(dataset):
        if not any(transform is known or transform == known for known in found):
            found.append(transform)
    if len(found) > 1:
        raise ValueError(f"there are several, {shown(found[0])} and {shown(found[1])}")
    return found[0] if found else None


@contextmanager
def taken_out(dataset: Any) -> Iterator[None]:
    """Inside, a data set's transforms change nothing; afterwards they are as they were."""
    undo = take_out(dataset)
    try:
        yield
    finally:
        for holder, name, before in reversed(undo):
            setattr(holder, name, before)


def take_out(dataset: Any, instead: Callable[..., Any] | None = None) -> list[tuple[Any, str, Any]]:
    """Puts what changes nothing into a data set's transforms' places.

    Returns:
        What was there: the objects, the attributes' names and their values.
    """
    undo = []
    for holder, name, _ in list(holders(dataset)):
        before = getattr(holder, name)
        after: Any = instead or unchanged
        if type(before).__name__ == "StandardTransform":
            after = type(before)(after, before.target_transform)
        setattr(holder, name, after)
        undo.append((holder, name, before))
    return undo


def unchanged(image: Any, *more: Any) -> Any:
    """Its image, or its arguments."""
    return (image, *more) if more else image


@dataclass
class _Recorder:
    """Takes a transform's place, and remembers what it was given."""

    calls: list[tuple[Any, Any]] = field(default_factory=list)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls.append(((given, named), states_now()))
        return given[0] if given else None


@dataclass(frozen=True)
class Probe:
    """What one sample with and without the transform told.

    Attributes:
        refused: why the transform cannot be taken out; "" where it can.
        entering: the image that the transform is given, where it can.
        seconds: that a sample took.
        within: of these, in the transform.
    """

    refused: str
    entering: Any
    seconds: float
    within: float


def probe(dataset: Any, form: Form, transform: Any, place: int = 0) -> Probe:
    """Asks for a sample of copies of a data set, with its transform and with a recorder in its place, under
    the same random numbers. The transform can be taken out when it is called once, with an image alone, when
    what it makes of that image is the sample's image, and when all else is the same."""
    with preserved():
        seed_all(0, 0)
        begin = time.perf_counter()
        image, fields = form.split(aside(dataset)[place])
        whole = time.perf_counter() - begin
        recorder = _Recorder()
        try:
            bare = aside(dataset)
            take_out(bare, recorder)
            seed_all(0, 0)
            begin = time.perf_counter()
            sample = bare[place]
            within = max(0.0, whole - (time.perf_counter() - begin))
        except Exception as error:
            why = f"without it sample {place} fails ({type(error).__name__}: {first_line(error)})"
            return Probe(why, None, whole, 0.0)
        refused, entering = _compared(transform, form, (image, fields), sample, recorder)
    return Probe(refused, entering, whole, within)


def _compared(
    transform: Any, form: Form, found: tuple[Any, Any], sample: Any, recorder: _Recorder
) -> tuple[str, Any]:
    if len(recorder.calls) != 1:
        return f"__getitem__ calls it {len(recorder.calls)} times for a sample", None
    (given, named), states = recorder.calls[0]
    if len(given) != 1 or named:
        return "__getitem__ gives it more than an image", None
    try:
        image, fields = form.split(sample)
    except ValueError as error:
        return f"without it {error}", None
    entering = given[0]
    if not isinstance(entering, Image.Image) and getattr(entering, "dtype", None) not in (
        np.uint8,
        torch.uint8,
    ):
        return f"it is given {shown(entering)}, neither a PIL image nor uint8 pixels", None
    if image is not entering and not same(image, entering):
        return "__getitem__ changes the image behind it", None
    if not same(fields, found[1]):
        return "without it other parts of the sample differ", None
    restore(states)
    if not same(transform(entering), found[0]):
        return "__getitem__ changes what it makes, or gives it something else each time", None
    return "", entering


def same(a: Any, b: Any) -> bool:
    """Whether two samples, or parts of them, are equal."""
    if isinstance(a, Image.Image) and isinstance(b, Image.Image):
        return a.mode == b.mode and a.size == b.size and a.tobytes() == b.tobytes()
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and bool(torch.equal(a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    try:
        return bool(a == b)
    except Exception:
        return False
