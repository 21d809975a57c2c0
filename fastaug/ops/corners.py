"""Crops at an image's corners and in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import one_of, size_pair
from ..sampling.philox import Keys
from .base import Augmentation
from .crop import Crop, cut
from .flip import RandomHorizontalFlip, RandomVerticalFlip
from .sheet import Sheet

CORNERS = ("top left", "top right", "bottom left", "bottom right", "center")
_FLIPS = {"vertical": 0, "horizontal": 1}


@dataclass(frozen=True)
class CornerCrop(Crop):
    """A box of fixed size in a corner of the image, or in its middle, not scaled.

    Args:
        size: side, or (height, width), in pixels, 1 to 8192.
        corner: "top left", "top right", "bottom left", "bottom right" or "center", which is rounded as
            torchvision's CenterCrop does.
        flipped: "horizontal" or "vertical": the corner of the image when it is mirrored so. The crop itself
            is not mirrored; a flip behind it does that.

    Example:
        >>> import fastaug
        >>> fastaug.CornerCrop(224, "top left").size
        (224, 224)
    """

    size: int | tuple[int, int]
    corner: str = "center"
    flipped: str = ""

    must_fit: ClassVar[bool] = True

    def _check(self) -> None:
        self._set(size=size_pair("CornerCrop size", self.size))
        one_of("CornerCrop corner", self.corner, CORNERS)
        one_of("CornerCrop flipped", self.flipped, ("", *_FLIPS))

    def place(self, sheet: Sheet, keys: Keys | None, stream: int) -> None:
        size: tuple[int, int] = self.size  # type: ignore[assignment]
        place = []
        for axis, (side, out, far) in enumerate(zip(sheet.sides, size, ("bottom", "right"), strict=True)):
            free = side - out
            first = np.rint(free / 2.0) if self.corner == "center" else free * (far in self.corner)
            place.append(free - first if _FLIPS.get(self.flipped) == axis else first)
        cut(sheet, place, size)

    def fits(self, sheet: Sheet) -> np.ndarray | bool:
        return np.all([side >= out for side, out in zip(sheet.sides, self.size, strict=True)], axis=0)  # type: ignore[arg-type]


@dataclass(frozen=True)
class FiveCrop(Crop):
    """Five views of an image: its corners and its middle. As torchvision's ``FiveCrop``, whose order they
    have. In ``fastaug.Views``, or in a list, which it makes Views.

    Args:
        size: side, or (height, width), in pixels, 1 to 8192.

    Example:
        >>> import fastaug
        >>> views = fastaug.Views([[fastaug.Resize(256), fastaug.FiveCrop(224), fastaug.Normalize()]])
    """

    size: int | tuple[int, int]

    def _check(self) -> None:
        self._set(size=size_pair(f"{type(self).__name__} size", self.size))

    def parts(self) -> Iterator[tuple[Augmentation, ...]]:
        """What each view has in its place."""
        for corner in CORNERS:
            yield (CornerCrop(self.size, corner),)


@dataclass(frozen=True)
class TenCrop(FiveCrop):
    """Ten views of an image: five of it, as ``FiveCrop``'s, and five of it mirrored. As torchvision's
    ``TenCrop``, whose order they have.

    Args:
        size: side, or (height, width), in pixels, 1 to 8192.
        vertical_flip: whether it is mirrored top to bottom instead.

    Example:
        >>> import fastaug
        >>> views = fastaug.Views([[fastaug.Resize(256), fastaug.TenCrop(224), fastaug.Normalize()]])
    """

    vertical_flip: bool = False

    def _check(self) -> None:
        super()._check()
        one_of("TenCrop vertical_flip", self.vertical_flip, (False, True))

    def parts(self) -> Iterator[tuple[Augmentation, ...]]:
        yield from super().parts()
        flip = RandomVerticalFlip(1.0) if self.vertical_flip else RandomHorizontalFlip(1.0)
        for corner in CORNERS:
            yield CornerCrop(self.size, corner, "vertical" if self.vertical_flip else "horizontal"), flip
