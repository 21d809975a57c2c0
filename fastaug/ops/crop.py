"""Which part of an image an output shows: crops, padding and scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..checks import MAX_SIZE, interval, size_pair, whole
from ..sampling.philox import Keys, Stream, integers
from .base import INTERPOLATIONS, Augmentation, Ints, Sample, interpolation_name
from .sheet import PADDING_MODES, Sheet

TRIES = 10  # boxes drawn before the fallback
MAX_SOURCE = 1 << 27  # pixels along a side of a source image: an i32 counts 12 bytes for each


@dataclass(frozen=True)
class Crop(Augmentation):
    """Base of what decides on an output's size, and where in the image it begins."""

    # y0 to w: the pixels to decode, in the source image. Upright: where the output's first pixel begins and
    # how far it goes from one to the next, in decoded pixels; frame: of the output the part (y0, x0, y1, x1)
    # that shows the image, its rest is padded. warp 1: the map times a place in the output (x, y, 1), seen
    # through start and step, is a place in the decoded pixels; frame: how far padding goes around these.
    # padding_mode: one of PADDING_MODES; crop_fill: what "constant" gives, and all that lies further out.
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
            ("frame", "i4", 4),
            ("padding_mode", "i4"),
            ("crop_fill", "f4", 3),
            ("warp", "i4"),
            ("warp_map", "f8", 9),
        ]
    )
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        **dict.fromkeys(("y0", "x0"), (0, MAX_SOURCE)),
        **dict.fromkeys(("h", "w"), (1, MAX_SOURCE)),
        "interpolation": (0, len(INTERPOLATIONS) - 1),
        "padding_mode": (0, len(PADDING_MODES) - 1),
        "warp": (0, 1),
    }
    heading: ClassVar[str] = "crop y0,x0 hxw"
    must_fit: ClassVar[bool] = False  # in the image, which may be too small

    @classmethod
    def describe(cls, sample: Sample) -> str:
        row, m = sample.row, sample.row["warp_map"]
        turn = f" turn x={m[2]:.1f}{m[0]:+.3f}x{m[1]:+.3f}y y={m[5]:.1f}{m[3]:+.3f}x{m[4]:+.3f}y"
        return f"{row['y0']},{row['x0']} {row['h']}x{row['w']}" + turn * int(row["warp"])

    def place(self, sheet: Sheet, keys: Keys | None, stream: int) -> None:
        """Does to a sheet what it does to images.

        Args:
            sheet: the images.
            keys: of the samples; None: by the choice that leaves the smallest image.
            stream: its random numbers.

        Raises:
            ValueError: where no image can be treated so, whatever its size.
        """
        raise NotImplementedError

    def fits(self, sheet: Sheet) -> np.ndarray | bool:
        """bool ``[n]``, or for all: whether images are large enough."""
        return True


@dataclass(frozen=True)
class RandomResizedCrop(Crop):
    """A random part of the image, scaled to ``size``. As torchvision's ``RandomResizedCrop``.

    Up to ten times: an area of scale x the image's, an aspect ratio (width / height) log-uniform
    in ``ratio``; the first box that fits is placed uniformly. If none fits: the largest centred box
    of the nearest allowed ratio. Scaled as Pillow does, antialiased: nearest as it,
    bilinear within 1 of it, bicubic and lanczos within 2.

    Args:
        size: output side, or (height, width), in pixels, 1 to 8192.
        scale: share of the image's area, 0 < low <= high <= 1.
        ratio: width / height, 0 < low <= high.
        interpolation: "bilinear", "bicubic", "lanczos", "box", "hamming" or "nearest", or torchvision's
            InterpolationMode; "random": bilinear or bicubic, drawn for each sample, as timm does.

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
            interpolation=_filter("RandomResizedCrop", self.interpolation),
        )

    def place(self, sheet: Sheet, keys: Keys | None, stream: int) -> None:
        height, width = self.size  # type: ignore[misc]
        if keys is not None:
            y0, x0, h, w = random_box(self, keys, stream, *sheet.sides)
            sheet.crop((y0, x0), (h, w))
        _to(sheet, height, width)


@dataclass(frozen=True)
class Resize(Crop):
    """The whole image, scaled. As torchvision's ``Resize`` (antialiased).

    Args:
        size: the shorter side in pixels, the longer follows the image's shape; or (height, width).
            A batch needs images of one size, so a single number wants a crop behind it.
        interpolation: as RandomResizedCrop's.
        max_size: the most pixels that the longer side may get, where ``size`` is one number.

    Example:
        >>> import fastaug
        >>> fastaug.Resize(256)
        Resize(size=256, interpolation='bilinear')
    """

    size: int | tuple[int, int]
    interpolation: str = "bilinear"
    max_size: int | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        most = "" if self.max_size is None else f", max_size={self.max_size}"
        return f"{type(self).__name__}(size={self.size}, interpolation={self.interpolation!r}{most})"

    def _check(self) -> None:
        if isinstance(self.size, Sequence):
            self._set(size=size_pair("Resize size", self.size))
        else:
            whole("Resize size", self.size, 1, MAX_SIZE)
        if self.max_size is not None:
            if isinstance(self.size, tuple):
                raise ValueError(f"Resize max_size={self.max_size} needs a size of one number")
            whole("Resize max_size", self.max_size, self.size + 1, MAX_SIZE)
        self._set(interpolation=_filter("Resize", self.interpolation))

    def place(self, sheet: Sheet, keys: Keys | None, stream: int) -> None:
        if isinstance(self.size, tuple):
            _to(sheet, *self.size)
            return
        height, width = sheet.sides
        short, long = np.minimum(height, width), np.maximum(height, width)
        size, longer = np.full_like(short, self.size), self.size * long // short
        if self.max_size is not None:
            over = longer > self.max_size
            size = np.where(over, self.max_size * size // longer, size).clip(1)
            longer = np.where(over, self.max_size, longer)
        sheet.resize((np.where(height <= width, size, longer), np.where(height <= width, longer, size)))


@dataclass(frozen=True)
class RandomShortestSize(Crop):
    """The whole image, its shorter side scaled to one of some sizes. As torchvision's.

    Args:
        min_size: sizes, or one, in pixels, 1 to 8192.
        max_size: the most pixels of the longer side; None: any number.
        interpolation: as RandomResizedCrop's.

    Example:
        >>> import fastaug
        >>> fastaug.RandomShortestSize((256, 480)).min_size
        (256, 480)
    """

    min_size: int | Sequence[int]
    max_size: int | None = None
    interpolation: str = "bilinear"

    stream: ClassVar[int | None] = Stream.CROP

    def _check(self) -> None:
        given = self.min_size if isinstance(self.min_size, Sequence) else (self.min_size,)
        if not given:
            raise ValueError("RandomShortestSize min_size must hold a size")
        self._set(
            min_size=tuple(whole("RandomShortestSize min_size", size, 1, MAX_SIZE) for size in given),
            interpolation=_filter("RandomShortestSize", self.interpolation),
        )
        if self.max_size is not None:
            whole("RandomShortestSize max_size", self.max_size, 1, MAX_SIZE)

    def place(self, sheet: Sheet, keys: Keys | None, stream: int) -> None:
        sizes = np.array(self.min_size)
        chosen = sizes.min() if keys is None else sizes[integers(keys.uniforms(stream)[0], 0, len(sizes))]
        height, width = sheet.sides
        ratio = chosen / np.minimum(height, width)
        if self.max_size is not None:
            ratio = np.minimum(ratio, self.max_size / np.maximum(height, width))
        sheet.resize(((height * ratio).astype(np.int64).clip(1), (width * ratio).astype(np.int64).clip(1)))


@dataclass(frozen=True)
class CenterCrop(Crop):
    """The middle of the image, with black around it where the image is smaller. As torchvision's.

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

    def place(self, sheet: Sheet, keys: Keys | None, stream: int) -> None:
        size: tuple[int, int] = self.size  # type: ignore[assignment]
        missing = [np.maximum(out - side, 0) for side, out in zip(sheet.sides, size, strict=True)]
        if any(side.any() for side in missing):  # padded as torchvision does
            before, after = ([(side + k) // 2 for side in missing] for k in (0, 1))
            sheet.pad(tuple(before), tuple(after), "constant", (0.0, 0.0, 0.0))  # type: ignore[arg-type]
        # Rounded as torchvision does, half to even.
        corner = [np.rint((side - out) / 2.0) for side, out in zip(sheet.sides, size, strict=True)]
        cut(sheet, corner, size)


def _filter(name: str, value: object) -> str:
    return "random" if value == "random" else interpolation_name(name, value)


def _to(sheet: Sheet, height: int, width: int) -> None:
    """Scales to one size."""
    sheet.resize((np.full_like(sheet.sides[0], height), np.full_like(sheet.sides[1], width)))
    sheet.fixed = height, width


def cut(sheet: Sheet, corner: Sequence[Any], size: tuple[int, int]) -> None:
    """Crops to one size."""
    sheet.crop(
        (corner[0], corner[1]), (np.full_like(sheet.sides[0], size[0]), np.full_like(sheet.sides[1], size[1]))
    )
    sheet.fixed = size


def random_box(
    op: RandomResizedCrop, keys: Keys, stream: int, height: Ints, width: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """RandomResizedCrop's boxes (y0, x0, h, w): torchvision's ``get_params``, vectorised."""
    y0, x0, h, w = fallback_box(op.ratio, height, width)
    todo = np.arange(len(height))
    for attempt in range(TRIES):
        if not todo.size:
            break
        u = keys[todo].uniforms(stream, 4, attempt)
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
