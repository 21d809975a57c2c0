"""Which part of an image an output shows: RandomResizedCrop, Resize, CenterCrop, and what they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..checks import MAX_SIZE, interval, size_pair, whole
from ..philox import Keys, Stream, integers
from .base import INTERPOLATIONS, Augmentation, Draft, Ints, Sample, interpolation_name

_TRIES = 10  # boxes drawn before the fallback
MAX_SOURCE = 1 << 27  # pixels along a side of a source image: an i32 counts 12 bytes for each


@dataclass(frozen=True)
class Crop(Augmentation):
    """Base of what a ``Geometry`` is made of."""

    # The pixels to decode, in the source image; where the output's first pixel begins and how far it goes
    # from one to the next, in decoded pixels.
    columns: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("y0", "i4"),
            ("x0", "i4"),
            ("h", "i4"),
            ("w", "i4"),
            ("interpolation", "i4"),
            ("start_y", "f8"),
            ("start_x", "f8"),
            ("step_y", "f8"),
            ("step_x", "f8"),
        ]
    )
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        **dict.fromkeys(("y0", "x0"), (0, MAX_SOURCE)),
        **dict.fromkeys(("h", "w"), (1, MAX_SOURCE)),
        "interpolation": (0, len(INTERPOLATIONS) - 1),
    }
    heading: ClassVar[str] = "crop y0,x0 hxw"

    @classmethod
    def describe(cls, sample: Sample) -> str:
        row = sample.row
        return f"{row['y0']},{row['x0']} {row['h']}x{row['w']}"


@dataclass(frozen=True)
class RandomResizedCrop(Crop):
    """A random part of the image, scaled to ``size``. As torchvision's ``RandomResizedCrop``.

    Up to ten times: an area of scale x the image's, an aspect ratio (width / height) log-uniform
    in ``ratio``; the first box that fits is placed uniformly. If none fits: the largest centred box
    of the nearest allowed ratio. Scaled as Pillow does, antialiased: nearest as it,
    bilinear within 1 of it, bicubic within 2.

    Args:
        size: output side, or (height, width), in pixels, 1 to 8192.
        scale: share of the image's area, 0 < low <= high <= 1.
        ratio: width / height, 0 < low <= high.
        interpolation: "bilinear", "bicubic" or "nearest", or torchvision's InterpolationMode; "random":
            bilinear or bicubic, drawn for each sample, as timm does.

    Example:
        >>> import fastaug
        >>> fastaug.RandomResizedCrop(224, scale=(0.35, 1)).size
        (224, 224)
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    stream: ClassVar[int | None] = Stream.CROP

    def _check(self) -> None:
        self._set(
            size=size_pair("RandomResizedCrop size", self.size),
            scale=interval("RandomResizedCrop scale", self.scale, 0, 1),
            ratio=interval("RandomResizedCrop ratio", self.ratio, 0),
            interpolation=self.interpolation
            if self.interpolation == "random"
            else interpolation_name("RandomResizedCrop", self.interpolation),
        )


@dataclass(frozen=True)
class Resize(Crop):
    """The whole image, scaled. As torchvision's ``Resize`` (antialiased).

    Args:
        size: the shorter side in pixels, the longer follows the image's shape; or (height, width).
            A batch needs images of one size, so a single number wants a CenterCrop behind it.
        interpolation: "bilinear", "bicubic" or "nearest", or torchvision's InterpolationMode.

    Example:
        >>> import fastaug
        >>> fastaug.Resize(256)
        Resize(size=256, interpolation='bilinear')
    """

    size: int | tuple[int, int]
    interpolation: str = "bilinear"

    def _check(self) -> None:
        if isinstance(self.size, Sequence):
            self._set(size=size_pair("Resize size", self.size))
        else:
            whole("Resize size", self.size, 1, MAX_SIZE)
        self._set(interpolation=interpolation_name("Resize", self.interpolation))


@dataclass(frozen=True)
class CenterCrop(Crop):
    """The middle of the image. As torchvision's ``CenterCrop``, but never larger than the image.

    Args:
        size: side, or (height, width), in pixels, 1 to 8192.

    Example:
        >>> import fastaug
        >>> fastaug.CenterCrop(224)
        CenterCrop(size=(224, 224))
    """

    size: int | tuple[int, int]

    def _check(self) -> None:
        self._set(size=size_pair("CenterCrop size", self.size))


class Geometry:
    """The geometric part of a list: RandomResizedCrop, or Resize and CenterCrop, or nothing.

    Attributes:
        size: (height, width) of the output images.
        interpolation: how images are scaled, by its number in ``kernels/plan.h``.
        mixed: whether half of them are scaled by bicubic instead.
    """

    def __init__(self, ops: Sequence[Augmentation], image_size: tuple[int, int] | None) -> None:
        kinds = tuple(type(op) for op in ops)
        allowed = {(), (RandomResizedCrop,), (Resize,), (CenterCrop,), (Resize, CenterCrop)}
        if kinds not in allowed:
            raise ValueError(
                f"augment's geometry is {' then '.join(k.__name__ for k in kinds)}; it may be "
                "RandomResizedCrop, Resize, CenterCrop, or Resize then CenterCrop"
            )
        self.random = ops[0] if kinds == (RandomResizedCrop,) else None
        self.resize = ops[0] if kinds[:1] == (Resize,) else None
        self.crop = ops[-1] if kinds[-1:] == (CenterCrop,) else None
        scaling = self.random or self.resize
        name = getattr(scaling, "interpolation", "bilinear")
        self.mixed = name == "random"
        self.interpolation = INTERPOLATIONS.index("bilinear" if self.mixed else name)
        self.size = self._output_size(image_size)

    def _output_size(self, image_size: tuple[int, int] | None) -> tuple[int, int]:
        last = self.random or self.crop or self.resize
        if last is not None and isinstance(last.size, tuple):  # type: ignore[attr-defined]
            height, width = last.size  # type: ignore[attr-defined]
            return height, width
        if image_size is None:
            want = "augment" if last is None else repr(last)
            raise ValueError(
                f"the images have different sizes and {want} does not bring them to one, so they "
                "cannot form a batch; add fastaug.RandomResizedCrop(224) for training, or "
                "fastaug.Resize(256) and fastaug.CenterCrop(224) for evaluation"
            )
        height, width = (int(v[0]) for v in self._resized(*(np.array([v]) for v in image_size)))
        if max(height, width) > MAX_SIZE:
            raise ValueError(
                f"the images are {height}x{width} pixels; output images may have at "
                f"most {MAX_SIZE} a side: add a crop or Resize"
            )
        return height, width

    def _resized(self, height: Ints, width: Ints) -> tuple[Ints, Ints]:
        """Sizes after Resize; torchvision's rule for the longer side."""
        if self.resize is None:
            return height, width
        size = self.resize.size  # type: ignore[attr-defined]
        if isinstance(size, tuple):
            return np.full_like(height, size[0]), np.full_like(width, size[1])
        short = np.minimum(height, width)
        return size * height // short, size * width // short

    def fits(self, height: Ints, width: Ints) -> npt.NDArray[np.bool_]:
        """Whether images of these sizes make output images; for files that change their size later."""
        if self.random is not None:
            return np.ones(len(height), bool)
        tall, wide = self._resized(height, width)
        if self.crop is None:
            return (tall == self.size[0]) & (wide == self.size[1])
        return (tall >= self.size[0]) & (wide >= self.size[1])

    def check(self, height: Ints, width: Ints, name: Callable[[int], str]) -> None:
        """Raises when a CenterCrop is bigger than one of the (resized) images; name(k) is the k-th."""
        if self.crop is None or not len(height):
            return
        tall, wide = self._resized(height, width)
        small = np.flatnonzero(~self.fits(height, width))
        if small.size:
            first = int(small[0])
            raise ValueError(
                f"CenterCrop {self.size[0]}x{self.size[1]} is bigger than {len(small)} of the images"
                f", {name(first)} ({tall[first]}x{wide[first]} pixels) the first; take a smaller "
                "crop or put fastaug.Resize before it"
            )

    def draw(self, draft: Draft, height: Ints, width: Ints) -> None:
        """Fills the rows' box to decode and where the output begins and steps in it.

        Args:
            draft: all rows of a plan.
            height: int64 ``[B]``, of the source images, in pixels.
            width: likewise.
        """
        rows = draft.rows
        rows["interpolation"] = self.interpolation
        if self.mixed:
            bicubic = draft.keys.uniforms(Stream.CROP, 1, _TRIES)[0] < 0.5
            rows["interpolation"][bicubic] = INTERPOLATIONS.index("bicubic")
        if self.random is not None:
            box = random_box(self.random, draft.keys, height, width)  # type: ignore[arg-type]
            for axis, first, length, out in zip("yx", box[:2], box[2:], self.size, strict=True):
                rows[f"{axis}0"] = first
                rows["h" if axis == "y" else "w"] = length
                rows[f"step_{axis}"] = length / out
            return
        resized = self._resized(height, width)
        for axis, full, scaled, out in zip("yx", (height, width), resized, self.size, strict=True):
            offset = np.rint((scaled - out) / 2.0)  # CenterCrop, rounded as torchvision does
            step = full / scaled
            reach = (1, 1, 2)[self.interpolation] * np.maximum(step, 1)  # of the filter to either side
            low = np.maximum(np.floor(offset * step - reach), 0)
            high = np.minimum(np.ceil((offset + out) * step + reach), full)
            rows[f"{axis}0"] = low
            rows["h" if axis == "y" else "w"] = high - low
            rows[f"start_{axis}"] = offset * step - low
            rows[f"step_{axis}"] = step


def random_box(op: RandomResizedCrop, keys: Keys, height: Ints, width: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """RandomResizedCrop's boxes (y0, x0, h, w): torchvision's ``get_params``, vectorised."""
    y0, x0, h, w = fallback_box(op.ratio, height, width)
    todo = np.arange(len(height))
    for attempt in range(_TRIES):
        if not todo.size:
            break
        u = keys[todo].uniforms(Stream.CROP, 4, attempt)
        tall, wide = height[todo], width[todo]
        area = tall * wide * (op.scale[0] + u[0] * (op.scale[1] - op.scale[0]))
        low, high = np.log(op.ratio)
        aspect = np.exp(low + u[1] * (high - low))
        try_w = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        try_h = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (try_w > 0) & (try_w <= wide) & (try_h > 0) & (try_h <= tall)
        done = todo[fits]
        h[done], w[done] = try_h[fits], try_w[fits]
        y0[done] = integers(u[2][fits], 0, height[done] - h[done] + 1)
        x0[done] = integers(u[3][fits], 0, width[done] - w[done] + 1)
        todo = todo[~fits]
    return y0, x0, h, w


def fallback_box(ratio: tuple[float, float], height: Ints, width: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """The largest centred box whose ratio (width / height) is the nearest allowed one."""
    shape = width / height
    w = np.where(shape > ratio[1], np.rint(height * ratio[1]), width).astype(np.int64)
    h = np.where(shape < ratio[0], np.rint(width / ratio[0]), height).astype(np.int64)
    h, w = np.clip(h, 1, height), np.clip(w, 1, width)
    return (height - h) // 2, (width - w) // 2, h, w
