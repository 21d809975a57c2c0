"""Reads torchvision's transforms, v1 or v2, and says the same with fastaug's augmentations.

A pipeline is walked once, transform by transform. Images are taken to enter as PIL images, as torchvision's
data sets give them. What torchvision does to float tensors is done to uint8 pixels, the same up to rounding
in each step. A flip between Resize and CenterCrop is carried out after both: where the crop cannot be centred
exactly, what is flipped is a pixel aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from ..checks import shown
from .base import Augmentation
from .base import Stage as Place
from .colour import ColorJitter, GaussianBlur, RandomGrayscale, RandomSolarize
from .crop import CenterCrop, RandomResizedCrop, Resize
from .dictionary import State, leaves, read
from .flip import Flip
from .normalize import Normalize
from .one_of import OneOf
from .sequences import Policy

_GEOMETRY = (RandomResizedCrop, Resize, CenterCrop)
_MIRRORED = (ColorJitter, RandomGrayscale, RandomSolarize, GaussianBlur)  # a flip may come before or after
_TURNS = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Cutout"}


Stage = tuple[int, tuple[Augmentation, ...]]


@dataclass(frozen=True)
class Translation:
    """A pipeline in fastaug's words.

    Attributes:
        augment: the augmentations, in fastaug's order.
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

    augment: tuple[Augmentation, ...]
    dtype: torch.dtype | None = None
    num_classes: int | None = None
    later: tuple[Stage, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """(first epoch, augmentations) of each stage."""
        return (0, self.augment), *self.later

    def __str__(self) -> str:
        lines = [*map(str, self.augment), f"dtype={self.dtype}"]
        lines += [f"from epoch {first}: {', '.join(map(str, augment))}" for first, augment in self.later]
        if self.num_classes is not None:
            lines.append(f"num_classes={self.num_classes}")
        return "Translation(\n" + "".join(f"    {line},\n" for line in lines) + ")"


def from_torchvision(transform: object) -> Translation:
    """A torchvision transform in fastaug's words.

    Args:
        transform: a transform or a (nested) Compose of v1 or v2, an ``nn.Sequential``, a
            ``weights.transforms()``, or one of the presets of torchvision's classification reference.

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
    pipeline = [leaf for member in members for leaf in leaves(member)]
    state, steps = State(pixels), list[_Step]()
    for number, leaf in enumerate(pipeline, 1):
        place = f"transform {number} of {len(pipeline)}, {shown(leaf, 120)}"
        try:
            own = isinstance(leaf, Augmentation)
            op = leaf if isinstance(leaf, Augmentation) else read(state, leaf)
            if op is None:
                continue
            for step in steps:
                _check_pair(step, op)
            # Fills of torchvision's masks are in units of the image as it is then, fastaug's of the output.
            fills = op.stage is Place.MASK and not own and _normalize(steps) is None
            steps.append(_Step(op, place, state.white if fills else None))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{place}: {error}") from error
    white = 255.0 if (dtype or state.dtype) == torch.uint8 else 1.0
    ops = [_delivered(step, _normalize(steps), white) for step in steps]
    return Translation(tuple(sorted(ops, key=lambda op: op.stage)), state.dtype, state.num_classes)


@dataclass(frozen=True)
class _Step:
    op: Augmentation
    place: str
    white: float | None  # of a mask whose value is not in output units: the value that is white


def _normalize(steps: Sequence[_Step]) -> Normalize | None:
    return next((s.op for s in steps if isinstance(s.op, Normalize)), None)


def _check_pair(step: _Step, op: Augmentation) -> None:
    """Raises when ``op`` may not stand behind ``step``: sorting the two would change what they mean."""
    before = step.op
    if isinstance(op, (Normalize, Flip)) and type(before) is type(op):
        raise ValueError(f"{step.place} is a {type(op).__name__} already; keep one of them")
    if (
        isinstance(op, _GEOMETRY)
        and isinstance(before, _GEOMETRY)
        and not (isinstance(before, Resize) and isinstance(op, CenterCrop))
    ):
        raise ValueError(
            f"it comes after {step.place}; fastaug's geometry is RandomResizedCrop, Resize, "
            "CenterCrop, or Resize then CenterCrop: drop one of the two"
        )
    if before.stage <= op.stage:
        return
    if isinstance(before, Normalize):  # which fills, mixing and flips commute with
        free = op.stage in (Place.MASK, Place.MIX) or isinstance(op, Flip)
    else:
        free = isinstance(op, Flip) and keeps_places(before)
    if not free:
        raise ValueError(
            f"it comes after {step.place}, and fastaug's order is geometry and "
            "flip, policy, masks, mixing, Normalize: move it "
            "before that one"
        )


def keeps_places(op: Augmentation) -> bool:
    """Whether a policy moves no pixels, and does the same to a mirrored image."""
    if isinstance(op, Policy):
        return not any(name in _TURNS for sequence in op.sequences for name, *_ in sequence)
    return isinstance(op, _MIRRORED)


def _delivered(step: _Step, normalize: Normalize | None, white: float) -> Augmentation:
    """The step's augmentation with its fill in output units, of which ``white`` is white before Normalize."""
    if step.white is None:
        return step.op
    if isinstance(step.op, OneOf):
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
