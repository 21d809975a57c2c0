"""Which way a user's data goes: read by number where fastaug knows its bytes, or called as torch calls it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..checks import first_line, plain, shown
from ..data.datasets import as_listing, own_transforms
from ..data.form import MOST_CHANNELS, RGB, Form, Raster, channels_of, encoded, form_of, white_of
from ..data.listing import ACCEPTED
from ..data.opening import opened_listing
from ..data.source import Source
from ..errors import Unrecognised
from ..ops.base import Augmentation, Stage
from ..ops.crop import Crop
from ..ops.several import several
from ..ops.translate import Translation, translate
from ..sampling.given import preserved
from .aside import aside
from .called import Called, length_of
from .mixture import Mixture, Parts
from .samples import Calling
from .transforms import Probe, probe, take_out, the_transform
from .workers import Workers

log = logging.getLogger("fastaug")
_LOOKS = 8  # samples that may be bad before one is seen


@dataclass(frozen=True)
class Asked:
    """What a user asks for.

    Attributes:
        dataset: the data.
        way: "files", "call", or None for the first where that is possible.
        augment: what ``augment`` means; None where the data set's own transform is to be read.
        dtype: of the images, or None.
        channels: of the images, or None.
        keyed: seed before each call.
        max_pixels: as in ``Loader``.
    """

    dataset: Any
    way: str | None
    augment: Callable[[], Translation] | None
    dtype: torch.dtype | None
    channels: int | None
    keyed: bool
    max_pixels: int | None


@dataclass(frozen=True)
class Chosen:
    """The data and what happens to it.

    Attributes:
        source: the samples.
        form: of its samples.
        translation: what is done to images, behind what the data set does itself.
        raster: of the pixels.
        ids: whether targets are class ids.
    """

    source: Source
    form: Form
    translation: Translation
    raster: Raster
    ids: bool = True


def choose(asked: Asked, workers: Workers) -> Chosen:
    """The way that a user's data goes.

    Raises:
        TypeError, ValueError, FileNotFoundError: naming what is wrong with the data, and what is accepted.
    """
    if isinstance(asked.dataset, Mixture):
        return _mixed(asked, workers)
    why = "source='call'"
    if asked.way != "call":
        try:
            return _read(asked)
        except Unrecognised as error:
            why, pair = str(error), arrays_of(asked.dataset)
            if asked.way != "files" and pair is not None:
                return _called(replace(asked, dataset=pair), workers, why)
            if asked.way == "files" or not _callable(asked.dataset):
                raise TypeError(f"{why}; accepted are {ACCEPTED}") from error
        except _Untranslated as error:
            why = str(error)
            if asked.way == "files" or not _callable(asked.dataset):
                raise ValueError(why) from error.__cause__
    elif (pair := arrays_of(asked.dataset)) is not None:
        return _called(replace(asked, dataset=pair), workers, why)
    elif not _callable(asked.dataset):
        raise TypeError(
            f"source='call' needs a data set with __getitem__ and __len__, not {shown(asked.dataset)}"
        )
    return _called(asked, workers, why)


def _mixed(asked: Asked, workers: Workers) -> Chosen:
    """The parts of a mixture, which have to go together."""
    parts = asked.dataset.parts
    each = {name: choose(replace(asked, dataset=data), workers) for name, (data, _) in parts.items()}
    name, first = next(iter(each.items()))
    for other, chosen in each.items():
        for what, a, b in (
            ("transforms", first.translation, chosen.translation),
            ("forms of samples", (first.form, first.ids), (chosen.form, chosen.ids)),
            ("kinds of pixels", first.raster, chosen.raster),
            ("classes", first.source.classes, chosen.source.classes),
        ):
            if a != b:
                raise ValueError(
                    f"the parts of a Mixture must go together, and {name!r} and {other!r} have other {what}: "
                    f"{shown(a)} and {shown(b)}; give them the same, such as augment=[...] for all"
                )
    sources = [chosen.source for chosen in each.values()]
    return replace(first, source=Parts(list(parts), sources, [weight for _, weight in parts.values()]))


class _Untranslated(ValueError):
    """The data set's own transform cannot be said."""


@dataclass(frozen=True, eq=False)
class ArrayPair:
    """Images of other kinds than uint8 RGB with their targets, as a data set."""

    images: Any
    targets: Any

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self.images[i], self.targets[i]


def arrays_of(data: Any) -> ArrayPair | None:
    """Arrays of images with targets, as a pair or a holder's ``.data`` and ``.targets``; None of other
    data."""
    held = data if isinstance(data, tuple) and len(data) == 2 else None
    if held is None and not hasattr(type(data), "__getitem__"):
        held = getattr(data, "data", None), getattr(data, "targets", None)
    if held is None or getattr(held[0], "ndim", 0) not in (3, 4) or held[1] is None:
        return None
    if len(held[0]) != len(held[1]):
        raise ValueError(f"there are {len(held[0])} images and {len(held[1])} targets; give one for each")
    return ArrayPair(*held)


def _callable(dataset: Any) -> bool:
    known = isinstance(dataset, (str, bytes, dict)) or (isinstance(dataset, tuple) and len(dataset) == 2)
    return not known and hasattr(type(dataset), "__getitem__")


def _read(asked: Asked) -> Chosen:
    listing = as_listing(asked.dataset)
    if asked.augment is not None:
        translation = asked.augment()
    else:
        transforms = own_transforms(asked.dataset)
        try:
            translation = _own(transforms, asked.dtype)
        except ValueError as error:
            raise _Untranslated(str(error)) from error
    form = Form("tuple", 0, tuple(range(1, len(listing.names))), 0)
    ids = listing.fields is None or is_id(listing.fields[0][0])
    return Chosen(opened_listing(listing, asked.max_pixels), form, translation, RGB, ids)


def _own(parts: Sequence[tuple[str, object]], dtype: torch.dtype | None) -> Translation:
    """The translation that all parts of a data set share."""
    known: dict[int, Translation] = {}
    for name, transform in parts:
        if id(transform) not in known:
            known[id(transform)] = Translation(()) if transform is None else translate([transform], dtype)
        if known[id(transform)] != known[id(parts[0][1])]:
            raise ValueError(
                f"{parts[0][0]} and {name} have different transforms, {shown(parts[0][1])} and "
                f"{shown(transform)}; give them the same, or use augment=[...] for all, or a "
                "loader for each"
            )
    return known[id(parts[0][1])]


def _called(asked: Asked, workers: Workers, why: str) -> Chosen:
    dataset, name = asked.dataset, type(asked.dataset).__name__
    n = length_of(dataset)
    workers.loader(dataset)  # torch refuses what it does not accept
    place, sample = _first(dataset, n)
    form, single = _form(dataset, sample, place)
    image, fields = form.split(sample)
    ids = form.target is not None and is_id(fields[form.target])
    inside, translation, found = _transform_of(asked, form, place)
    if inside and not single:
        raise TypeError(
            f"{name} gives several images of each, and its transform cannot be taken out: {inside}"
        )
    stripped = found is not None and not found.refused
    if stripped and found is not None:
        image = found.entering
    raster = raster_of(image, asked.channels, translation.ops)
    if inside:
        spent = f" ({1e3 * found.within:.1f} ms of a sample's {1e3 * found.seconds:.1f})" if found else ""
        log.warning(
            "fastaug: the transform of %s stays in its __getitem__, carried out by Python%s: %s",
            name,
            spent,
            inside,
        )
    log.info("fastaug: %s is called, because %s", name, why)
    said = f"called because {why}" + (f", transform inside: {inside}" if inside else "")
    calling = Calling(dataset, name, form, asked.keyed, asked.max_pixels, raster, stripped)
    return Chosen(Called(calling, n, workers, image, said), form, translation, raster, ids)


def _first(dataset: Any, n: int) -> tuple[int, Any]:
    """The first sample that can be had, of the first few, with its number."""
    for k in range(min(n, _LOOKS)):
        try:
            with preserved():
                return k, aside(dataset)[k]
        except Exception:
            if k + 1 == min(n, _LOOKS):
                raise
    raise AssertionError("n is above 0")


def _form(dataset: Any, sample: Any, place: int) -> tuple[Form, bool]:
    """The form of a data set's samples; and whether their images are single ones, or several that its
    transform makes of one."""
    name = type(dataset).__name__
    try:
        return form_of(sample, name), True
    except TypeError as error:
        try:
            transform = the_transform(dataset)
        except ValueError:
            raise error from None
        if transform is None or several(transform) is None:
            raise
        bare = aside(dataset)
        take_out(bare)
        try:
            with preserved():
                return form_of(bare[place], name), False
        except Exception:
            raise error from None


def _transform_of(asked: Asked, form: Form, place: int) -> tuple[str, Translation, Probe | None]:
    """Why the data set's transform stays where it is, "" where it does not; what is to be done behind the
    data set; what one sample told."""
    given = asked.augment() if asked.augment is not None else None
    try:
        transform = the_transform(asked.dataset)
    except ValueError as error:
        return str(error), given or Translation(()), None
    if transform is None:
        return "", given or Translation(()), None
    found = probe(asked.dataset, form, transform, place)
    if found.refused:
        return found.refused, given or Translation(()), found
    if given is not None:  # which replaces it
        return "", given, found
    try:
        pixels = "uint8" if hasattr(found.entering, "dtype") else "PIL"
        return "", translate([transform], asked.dtype, pixels), found  # type: ignore[arg-type]
    except ValueError as error:
        refused = Probe(first_line(error), None, found.seconds, found.within)
        return first_line(error), Translation(()), refused


def raster_of(image: Any, wanted: int | None, augment: Sequence[Augmentation]) -> Raster:
    """How the line takes images like this one.

    Floats stay floats where nothing is done to them that the kernels do to bytes.

    Args:
        image: what a sample gives.
        wanted: how many channels, or None.
        augment: all that is to be done.
    """
    if encoded(image) is not None:
        return RGB
    white = white_of(image)
    if wanted is not None and wanted not in (1, 3):
        return Raster(wanted, white or 255.0)
    bytes_only = any(isinstance(op, Crop) or op.stage in (Stage.GEOMETRY, Stage.POLICY) for op in augment)
    found = channels_of(image)
    if white == 65535 or (white == 1 and not bytes_only):
        return Raster(found, white)
    return RGB


def is_id(target: Any) -> bool:
    """Whether a target is a class id."""
    target = plain(target)
    return isinstance(target, int) and not isinstance(target, bool)


def check_channels(channels: int | None) -> None:
    """Raises for what is no number of channels."""
    if channels is not None and not (isinstance(channels, int) and 1 <= channels <= MOST_CHANNELS):
        raise ValueError(f"channels must be 1 to {MOST_CHANNELS}, not {channels!r}")
