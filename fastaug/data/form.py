"""What a data set's samples look like: where in them the image is, what else comes with it, and its pixels as
the line takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..checks import shown

IMAGES = ("image", "img", "pixel_values", "images", "x", "input", "inputs", "jpg", "png")  # usual names
TARGETS = ("label", "labels", "target", "targets", "y", "class", "cls", "fine_label")
_ENCODED = (bytes, bytearray, memoryview)
_CHANNELS = (1, 3, 4)
_SLACK = 1e-4  # by which rounding may carry a float out of [0, 1]


@dataclass(frozen=True)
class Form:
    """Where things are in a sample.

    Attributes:
        kind: "bare" for an image alone, "tuple", or "dict".
        image: the image's place or key; None in a bare sample.
        fields: places or keys of what else there is, in order.
        target: which of the fields is the target; None: there is none, or it is not known.
        place: where the image stands among all parts.
    """

    kind: str
    image: int | str | None
    fields: tuple[int | str, ...]
    target: int | None
    place: int = 0

    def split(self, sample: Any) -> tuple[Any, tuple[Any, ...]]:
        """A sample's image and its fields.

        Raises:
            ValueError: when it is of another form.
        """
        if self.kind == "bare":
            return sample, ()
        kind = Mapping if self.kind == "dict" else (tuple, list)
        count = 1 + len(self.fields)
        if not isinstance(sample, kind) or len(sample) != count:
            raise ValueError(
                f"it gives {_said(sample)}, and the first sample was a {self.kind} of {count}; samples must "
                "be of one form"
            )
        try:
            held: Any = sample
            return held[self.image], tuple(held[field] for field in self.fields)
        except KeyError as error:
            raise ValueError(f"it has no {error}; the first sample had it") from None

    def join(self, image: Any, fields: Sequence[Any]) -> Any:
        """A sample of this form."""
        if self.kind == "bare":
            return image
        parts, keys = list(fields), list(self.fields)
        parts.insert(self.place, image)
        keys.insert(self.place, self.image or 0)
        return dict(zip(keys, parts, strict=True)) if self.kind == "dict" else tuple(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts of a batch are called, the image first."""
        if self.kind == "dict":
            return str(self.image), *map(str, self.fields)
        more = len(self.fields) - 1
        return ("image", *(("label", *(f"field{k + 2}" for k in range(more))) if self.fields else ()))


def form_of(sample: Any, name: str) -> Form:
    """The form of a sample.

    Args:
        sample: what ``__getitem__`` gave.
        name: of its class, for messages.

    Raises:
        TypeError: when no part of it is an image, or several could be.
    """
    if _image_like(sample):
        return Form("bare", None, (), None)
    if isinstance(sample, Mapping):
        keys = [key for key, value in sample.items() if _image_like(value)]
        named = [key for key in IMAGES if key in keys]
        found = named[:1] if named else keys
        if len(found) == 1:
            fields = tuple(key for key in sample if key != found[0])
            target = next((fields.index(key) for key in TARGETS if key in fields), None)
            target = 0 if target is None and len(fields) == 1 else target
            return Form("dict", found[0], fields, target, list(sample).index(found[0]))
        if found:
            raise TypeError(
                f"{name} gives a dict in which {' or '.join(map(repr, found))} could be the image; call the "
                "one that is meant 'image'"
            )
    elif isinstance(sample, (tuple, list)) and sample:
        place = next((k for k, part in enumerate(sample) if _image_like(part)), None)
        if place is not None:
            fields = tuple(k for k in range(len(sample)) if k != place)
            return Form("tuple", place, fields, 0 if fields else None, place)
    raise TypeError(
        f"{name} gives {_said(sample)}, in which nothing is an image; give (image, target, …), or a dict "
        "with an image: PIL's, an array or tensor [H, W], [H, W, C] or [C, H, W], or the bytes of a file"
    )


def _said(sample: Any) -> str:
    if isinstance(sample, Mapping):
        return f"a dict of {', '.join(f'{k}: {type(v).__name__}' for k, v in sample.items())}"
    if isinstance(sample, (tuple, list)):
        return f"a {type(sample).__name__} of {', '.join(type(v).__name__ for v in sample) or 'nothing'}"
    shape = f" {list(sample.shape)}" if hasattr(sample, "shape") else f" {shown(sample)}"
    return f"a {type(sample).__name__}{shape}"


def _image_like(part: Any) -> bool:
    if isinstance(part, (Image.Image, *_ENCODED)):
        return True
    array = isinstance(part, (np.ndarray, torch.Tensor))
    return array and part.ndim in (2, 3) and min(part.shape) > 0 and (part.ndim == 2 or _has_channels(part))


def _has_channels(part: Any) -> bool:
    return part.shape[0] <= 16 or part.shape[2] <= 16


@dataclass(frozen=True)
class Raster:
    """How a batch's pixels lie in the line: uint8 RGB, which the compiled kernels take, or "wide", float32
    with any number of channels.

    Attributes:
        channels: 3, or 1 to 16 where it is wide.
        white: of a wide one, the value of a white pixel: 1, 255 or 65535; 0: uint8 RGB.
        wide: which of the two.
        dtype: of a value.
        bytes: of a pixel.
    """

    channels: int = 3
    white: float = 0.0
    wide: bool = field(init=False)
    dtype: np.dtype[Any] = field(init=False)
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        wide, dtype = self.white > 0, np.dtype(np.float32 if self.white else np.uint8)
        for name, value in (("wide", wide), ("dtype", dtype), ("bytes", self.channels * dtype.itemsize)):
            object.__setattr__(self, name, value)


RGB = Raster()
MOST_CHANNELS = 16


def channels_of(image: Any) -> int:
    """How many channels an image has."""
    if isinstance(image, Image.Image):
        return 1 if image.mode in ("L", "1", "LA", "F") or image.mode.startswith("I") else 3
    return 3 if isinstance(image, _ENCODED) else _last(image, None).shape[2]


def white_of(image: Any) -> float:
    """The value of a white pixel in an array or tensor: 255, 65535, or 1 in floats; 0 of other images."""
    if not isinstance(image, (np.ndarray, torch.Tensor)):
        return 0.0
    kind = str(image.dtype).removeprefix("torch.")
    return {"uint8": 255.0, "uint16": 65535.0}.get(kind, 1.0 if "float" in kind else 0.0)


def encoded(image: Any) -> npt.NDArray[np.uint8] | None:
    """The bytes of an image that is not decoded; None of others."""
    return np.frombuffer(image, np.uint8) if isinstance(image, _ENCODED) else None


def pixels_of(image: Any, raster: Raster = RGB) -> npt.NDArray[Any]:
    """An image as the raster has it, ``[H, W, C]``, lines one after another.

    Args:
        image: PIL's; or an array or tensor, uint8 or a float in [0, 1], ``[H, W]``, ``[H, W, C]`` or
            ``[C, H, W]`` with C 1, 3 or 4. Where both could be meant, channels are the last of an array and
            the first of a tensor. What is wide may have any values, and any of the raster's channels.
        raster: how.

    Raises:
        TypeError, ValueError: naming what it is and what is accepted.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if not isinstance(image, (np.ndarray, torch.Tensor)):
        raise TypeError(f"its image is a {type(image).__name__}, where the first sample's was none")
    array = _last(image, raster.channels if raster.wide else None)
    if raster.wide:
        if array.shape[2] != raster.channels:
            raise ValueError(
                f"its image has {array.shape[2]} channels, and the first sample's {raster.channels}"
            )
        return np.ascontiguousarray(array, np.float32)
    if array.dtype != np.uint8:
        array = _bytes(array)
    if array.shape[2] != 3:
        array = np.repeat(array, 3, 2) if array.shape[2] == 1 else array[:, :, :3]
    return np.ascontiguousarray(array)


def tensor_last(image: torch.Tensor, raster: Raster) -> torch.Tensor:
    """As ``pixels_of`` of a tensor, on the device that it is on."""
    channels = raster.channels if raster.wide else None
    if image.ndim == 2:
        image = image[:, :, None]
    elif _channels_first(image.shape, channels, True, image.dtype):
        image = image.permute(1, 2, 0)
    if raster.wide:
        return image.float()
    if image.is_floating_point():
        image = image.mul(255).round().clamp(0, 255).to(torch.uint8)
    return image.expand(-1, -1, 3) if image.shape[2] == 1 else image[:, :, :3]


def _last(image: Any, channels: int | None) -> npt.NDArray[Any]:
    """Channels last.

    Args:
        image: an array or tensor.
        channels: how many there are; None: 1, 3 or 4.
    """
    first = isinstance(image, torch.Tensor)
    if first and image.dtype == torch.bfloat16:
        image = image.float()
    array = image.detach().cpu().numpy() if first else np.asarray(image)
    if array.ndim == 2:
        return array[:, :, None]
    return array.transpose(1, 2, 0) if _channels_first(array.shape, channels, first, array.dtype) else array


def _channels_first(shape: Sequence[int], channels: int | None, tensor: bool, dtype: object) -> bool:
    """Whether an image's channels come first; where both could be meant, a tensor's do."""
    if len(shape) == 3:
        accepted = _CHANNELS if channels is None else (channels,)
        ends = shape[0] in accepted, shape[2] in accepted
        if ends[0] and (tensor or not ends[1]):
            return True
        if ends[1]:
            return False
    raise ValueError(
        f"its image is {dtype} {list(shape)}; it must be [H, W], [H, W, C] or [C, H, W] with C "
        + ("1, 3 or 4; say channels=... for others" if channels is None else str(channels))
    )


def _bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind != "f":
        raise TypeError(f"its image is {array.dtype}; it must be uint8, uint16, or a float in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        raise ValueError(
            f"its image holds floats from {low:g} to {high:g}, and augment takes pixels in [0, 1]: take "
            "Normalize, or what else makes them larger, out of the data set's transform and put it into "
            "augment=[...]"
        )
    return np.rint(array * np.float32(255)).clip(0, 255).astype(np.uint8)


def portable(fields: Sequence[Any]) -> tuple[Any, ...]:
    """Fields for another process: tensors as arrays, which need no descriptors."""
    return tuple(map(_portable, fields))


def _portable(field: Any) -> Any:
    if type(field) is torch.Tensor and field.dtype is not torch.bfloat16 and not field.is_sparse:
        return _Tensor(field.detach().cpu().numpy())
    if type(field) in (tuple, list):
        return type(field)(map(_portable, field))
    if type(field) is dict:
        return {key: _portable(value) for key, value in field.items()}
    return field


@dataclass(frozen=True, eq=False)
class _Tensor:
    array: npt.NDArray[Any]


def restored(field: Any) -> Any:
    """A field that was made ``portable``."""
    if isinstance(field, _Tensor):
        return torch.from_numpy(field.array.copy()) if field.array.ndim else torch.tensor(field.array[()])
    if type(field) in (tuple, list):
        return type(field)(map(restored, field))
    if type(field) is dict:
        return {key: restored(value) for key, value in field.items()}
    return field
