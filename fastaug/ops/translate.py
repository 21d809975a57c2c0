"""Reads torchvision's transforms, v1 or v2, and says the same with fastaug's augmentations.

A pipeline is walked once, transform by transform. Images are taken to enter as PIL images, as torchvision's
data sets give them. What torchvision does to float tensors is done to uint8 pixels, the same up to rounding
in each step. A flip between Resize and CenterCrop is carried out after both: where the crop cannot be centred
exactly, what is flipped is a pixel aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from ..checks import shown
from .base import Augmentation
from .base import Stage as Place
from .colour import ColorJitter
from .crop import CenterCrop, Crop
from .dictionary import read
from .flip import Flip
from .normalize import Normalize
from .one_of import OneOf, RandomApply
from .order import last_crop, places, stands_behind
from .point import RandomChannelPermutation, RandomGrayscale, RandomInvert
from .reading import State, leaves, name_of
from .several import several
from .turns import is_turn, turns_of
from .views import Listing, Views, expanded, lists_of, said_listing

Stage = tuple[int, Listing]


@dataclass(frozen=True)
class Translation:
    """A pipeline in fastaug's words.

    Attributes:
        augment: the augmentations, in fastaug's order; or Views of such lists.
        dtype: of the images: torch.uint8, float32, float16 or bfloat16; None where the pipeline ends with PIL
            images and leaves it to the loader.
        num_classes: what MixUp and CutMix were told, or None.
        later: (first epoch, augmentations) of a schedule's later stages.

    Example:
        >>> import fastaug
        >>> from torchvision.transforms import v2
        >>> read = fastaug.from_torchvision(v2.Compose([v2.Resize((8, 8)), v2.RandomHorizontalFlip()]))
        >>> [type(op).__name__ for op in read.augment]
        ['Resize', 'RandomHorizontalFlip']
    """

    augment: Listing
    dtype: torch.dtype | None = None
    num_classes: int | None = None
    later: tuple[Stage, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """(first epoch, augmentations) of each stage."""
        return (0, self.augment), *self.later

    @property
    def lists(self) -> list[tuple[Augmentation, ...]]:
        """The lists of all stages and views."""
        return [ops for _, listing in self.stages for ops in lists_of(listing)]

    @property
    def ops(self) -> list[Augmentation]:
        """The augmentations of all lists."""
        return [op for ops in self.lists for op in ops]

    def __str__(self) -> str:
        own = [str(self.augment)] if isinstance(self.augment, Views) else [*map(str, self.augment)]
        lines = [*own, f"dtype={self.dtype}"]
        lines += [f"from epoch {first}: {said_listing(augment)}" for first, augment in self.later]
        if self.num_classes is not None:
            lines.append(f"num_classes={self.num_classes}")
        return "Translation(\n" + "".join(f"    {line},\n" for line in lines) + ")"


def from_torchvision(transform: object) -> Translation:
    """A torchvision transform in fastaug's words.

    Args:
        transform: a transform or a (nested) Compose of v1 or v2, an ``nn.Sequential``, a
            ``weights.transforms()``, or one of the presets of torchvision's classification reference. Or a
            callable that returns what several transforms make of the image, as a list: what is written for
            SimCLR, MoCo or DINO.

    Returns:
        What ``fastaug.loader`` does with a data set that has the transform.

    Raises:
        ValueError: for what cannot be said, with the transform, its place and the remedy. Nothing is left out
            in silence.

    Example:
        >>> from torchvision.transforms import v2
        >>> from_torchvision(v2.Resize((8, 8))).augment
        (Resize(size=(8, 8), interpolation='bilinear'),)
    """
    return translate([transform])


def translate(
    members: Sequence[object],
    dtype: torch.dtype | None = None,
    pixels: Literal["PIL", "uint8"] = "PIL",
) -> Translation:
    """A list of torchvision transforms and fastaug augmentations as fastaug augmentations.

    Args:
        members: run one after another. MixUp and CutMix, which torchvision runs on batches, may stand behind
            Normalize: they commute with it.
        dtype: of the images, where the loader was told one; it decides the unit of fills.
        pixels: as what images enter, PIL's or uint8 tensors.

    Raises:
        ValueError: as ``from_torchvision``.
    """
    if len(members) == 1 and not name_of(members[0]) and (views := several(members[0])) is not None:
        return in_views([translate([view], dtype, pixels) for view in views])
    pipeline = [leaf for member in members for leaf in leaves(member)]
    state, steps = State(pixels), list[_Step]()
    for number, leaf in enumerate(pipeline, 1):
        place = f"transform {number} of {len(pipeline)}, {shown(leaf, 120)}"
        with _named(place):
            own = isinstance(leaf, Augmentation)
            op = leaf if isinstance(leaf, Augmentation) else read(state, leaf)
            if op is None:
                continue
            # Fills of torchvision's masks are in units of the image as it is then, fastaug's of the output.
            fills = op.stage is Place.MASK and not own and _normalize(steps) is None
            steps.append(_Step(op, place, state.white if fills else None))
    given = [step.op for step in steps]
    stages = places(given)
    for k, step in enumerate(steps):
        with _named(step.place):
            for before in range(k):
                _check_pair(steps, before, k, stages)
    white = 255.0 if (dtype or state.dtype) == torch.uint8 else 1.0
    ops = [_delivered(step, _normalize(steps), white) for step in steps]
    last = last_crop(given)
    for k, op in enumerate(given):  # a flip behind a turn stays there
        if k > last and isinstance(op, Flip) and any(is_turn(b) for b in given[last + 1 : k]):
            stages[k] = Place.POLICY
    order = sorted(range(len(ops)), key=lambda k: stages[k])
    return Translation(expanded([ops[k] for k in order]), state.dtype, state.num_classes)


def in_views(each: Sequence[Translation]) -> Translation:
    """The translation of several views.

    Raises:
        ValueError: where they are for other dtypes or numbers of classes.
    """
    dtype, num_classes = agreed(each, "Views' lists")
    return Translation(Views([ops for t in each for ops in lists_of(t.augment)]), dtype, num_classes)


def agreed(each: Sequence[Translation], what: str) -> tuple[torch.dtype | None, int | None]:
    """The dtype and the number of classes that several translations share.

    Raises:
        ValueError: where they differ.
    """
    numbers = {found.num_classes for found in each} - {None}
    if len({found.dtype for found in each}) > 1 or len(numbers) > 1:
        raise ValueError(f"{what} say other dtypes or num_classes; let them agree")
    return each[0].dtype, next(iter(numbers), None)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Says in an error which transform it is about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from error


@dataclass(frozen=True)
class _Step:
    op: Augmentation
    place: str
    white: float | None  # of a mask whose value is not in output units: the value that is white


def _normalize(steps: Sequence[_Step]) -> Normalize | None:
    return next((s.op for s in steps if isinstance(s.op, Normalize)), None)


def _check_pair(steps: Sequence[_Step], first: int, second: int, stages: Sequence[Place]) -> None:
    """Raises when one may not stand behind the other: sorting the two would change what they mean."""
    before, op, place = steps[first].op, steps[second].op, steps[first].place
    if isinstance(op, (Normalize, Flip)) and type(before) is type(op):
        raise ValueError(f"{place} is a {type(op).__name__} already; keep one of them")
    if stages[first] <= stages[second]:
        return
    if isinstance(before, Normalize):  # which fills, mixing and flips commute with
        free = stages[second] in (Place.MASK, Place.MIX) or isinstance(op, Flip)
    elif isinstance(op, Flip):
        free = stands_behind(op, [before])
    else:
        free = stages[second] is Place.GEOMETRY and _commutes(before, [s.op for s in steps[first + 1 :]])
    if not free:
        moves = (
            stages[second] is Place.GEOMETRY and stages[first] is Place.POLICY and not isinstance(op, Flip)
        )
        why = ", and what it does to a whole image it does not do to a part of it" if moves else ""
        raise ValueError(
            f"it comes after {place}{why}, and fastaug's order is geometry and "
            "flip, policy, masks, mixing, Normalize: move it "
            "before that one"
        )


def _commutes(op: Augmentation, behind: Sequence[Augmentation]) -> bool:
    """Whether a colour operation does to a part of an image, scaled, what it does to the whole: each pixel a
    linear map of itself, and nothing filled in that it would change."""
    fills = [getattr(b, "fill", None) for b in behind if isinstance(b, Crop)]
    fills += [turn.fill for b in behind if is_turn(b) for turn in turns_of(b)]
    black = not any(np.any(fill) for fill in fills if fill is not None)
    pads = any(fill is not None for fill in fills) or any(isinstance(b, CenterCrop) for b in behind)
    if isinstance(op, RandomGrayscale):  # Grayscale is Pillow's before a crop, which rounds another way
        return black and op.p < 1
    if isinstance(op, ColorJitter):
        return black and op.contrast == (1.0, 1.0) and op.hue == (0.0, 0.0)
    return (isinstance(op, RandomChannelPermutation) and black) or (isinstance(op, RandomInvert) and not pads)


def _delivered(step: _Step, normalize: Normalize | None, white: float) -> Augmentation:
    """The step's augmentation with its fill in output units, of which ``white`` is white before Normalize."""
    if step.white is None:
        return step.op
    if isinstance(step.op, (OneOf, RandomApply)):
        members = [_delivered(replace(step, op=m), normalize, white) for m in step.op.members]
        return replace(step.op, members=members)
    op: Any = step.op  # a RandomErasing: torchvision has no other mask
    if op.value == "random":
        if normalize is not None or step.white != 1 or white != 1:
            raise ValueError(
                f"{step.place}: fastaug's noise has mean 0 and deviation 1 in the images as "
                "they are delivered; put it behind the last conversion and Normalize"
            )
        return op
    value = [v / step.white * white for v in op.value]
    if normalize is not None:
        mean, std = normalize.of(3)
        value = [
            (v / step.white - m) / s for v, m, s in zip(op.value, mean.tolist(), std.tolist(), strict=True)
        ]
    erased: Augmentation = replace(op, value=tuple(value))
    return erased
