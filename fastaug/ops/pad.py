"""Padding, and crops that pad: pixels around an image that it does not have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import MAX_SIZE, colour, one_of, size_pair, whole
from ..sampling.philox import Keys, Stream, integers
from .base import Fill
from .crop import Crop, cut
from .sheet import PADDING_MODES, Sheet


@dataclass(frozen=True)
class RandomCrop(Crop):
    """A box of fixed size anywhere in the image, not scaled. As torchvision's ``RandomCrop``.

    Args:
        size: side, or (height, width), in pixels, 1 to 8192.
        padding: pixels around the image before: a number, (left and right, top and bottom), or (left, top,
            right, bottom); None: none.
        pad_if_needed: whether images that are too small are padded, on both sides by what is missing.
        fill: of padding_mode "constant", 0 to 255, a number or one for each colour.
        padding_mode: "constant", "edge", "reflect" (without the edge's pixel) or "symmetric" (with it).

    Example:
        >>> import fastaug
        >>> fastaug.RandomCrop(32, padding=4, padding_mode="reflect").padding
        (4, 4, 4, 4)
    """

    size: int | tuple[int, int]
    padding: int | Sequence[int] | None = None
    pad_if_needed: bool = False
    fill: Fill = 0
    padding_mode: str = "constant"

    stream: ClassVar[int | None] = Stream.CROP
    must_fit: ClassVar[bool] = True

    def _check(self) -> None:
        self._set(
            size=size_pair("RandomCrop size", self.size),
            padding=None if self.padding is None else _four("RandomCrop padding", self.padding),
            fill=colour("RandomCrop fill", self.fill, 0, 255),
        )
        one_of("RandomCrop pad_if_needed", self.pad_if_needed, (False, True))
        one_of("RandomCrop padding_mode", self.padding_mode, PADDING_MODES)

    def _padding(self, sheet: Sheet) -> tuple[list[Any], list[Any]]:
        """What goes before, (top, left), and behind."""
        left, top, right, bottom = self.padding or (0, 0, 0, 0)  # type: ignore[misc]
        before, after = [top, left], [bottom, right]
        if self.pad_if_needed:
            for k, (side, out) in enumerate(zip(sheet.sides, self.size, strict=True)):  # type: ignore[arg-type]
                missing = np.maximum(out - (side + before[k] + after[k]), 0)
                if missing.any():
                    before[k], after[k] = before[k] + missing, after[k] + missing
        return before, after

    def fits(self, sheet: Sheet) -> np.ndarray | bool:
        before, after = self._padding(sheet)
        tall, wide = (side + b + a for side, b, a in zip(sheet.sides, before, after, strict=True))
        return (tall >= self.size[0]) & (wide >= self.size[1])  # type: ignore[index]

    def place(self, sheet: Sheet, keys: Keys | None, stream: int) -> None:
        before, after = self._padding(sheet)
        if any(np.any(k) for k in (*before, *after)):
            fill: tuple[float, float, float] = self.fill  # type: ignore[assignment]
            sheet.pad((before[0], before[1]), (after[0], after[1]), self.padding_mode, fill)
        size: tuple[int, int] = self.size  # type: ignore[assignment]
        corner = [np.zeros_like(side) for side in sheet.sides]
        if keys is not None:
            u = keys.uniforms(stream, 2)
            corner = [
                integers(u[k], 0, np.maximum(side - out + 1, 1))
                for k, (side, out) in enumerate(zip(sheet.sides, size, strict=True))
            ]
        cut(sheet, corner, size)


@dataclass(frozen=True)
class Pad(Crop):
    """More around the image. As torchvision's ``Pad``.

    Args:
        padding: pixels: a number, (left and right, top and bottom), or (left, top, right, bottom).
        fill: of padding_mode "constant", 0 to 255, a number or one for each colour.
        padding_mode: "constant", "edge", "reflect" (without the edge's pixel) or "symmetric" (with it).

    Example:
        >>> import fastaug
        >>> fastaug.Pad((4, 2)).padding
        (4, 2, 4, 2)
    """

    padding: int | Sequence[int]
    fill: Fill = 0
    padding_mode: str = "constant"

    def _check(self) -> None:
        self._set(padding=_four("Pad padding", self.padding), fill=colour("Pad fill", self.fill, 0, 255))
        one_of("Pad padding_mode", self.padding_mode, PADDING_MODES)

    def place(self, sheet: Sheet, keys: Keys | None, stream: int) -> None:
        left, top, right, bottom = self.padding  # type: ignore[misc]
        fill: tuple[float, float, float] = self.fill  # type: ignore[assignment]
        sheet.pad((top, left), (bottom, right), self.padding_mode, fill)


def _four(where: str, value: object) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of torchvision's forms of padding."""
    given = list(value) if isinstance(value, Sequence) else [value]
    if len(given) not in (1, 2, 4):
        raise ValueError(f"{where} must be one number, two or four, not {value!r}")
    each = [whole(where, v, 0, MAX_SIZE) for v in given]
    left, top, right, bottom = each * (4 // len(each))
    return left, top, right, bottom
