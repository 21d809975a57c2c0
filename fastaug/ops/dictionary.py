"""What each torchvision transform means in fastaug, v1 and v2 alike.

Classes are known by name, so torchvision is not imported here. What an image is by then, a PIL image, a uint8
tensor or a float tensor, decides what fills, thresholds and antialiasing mean, so ``State`` keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..checks import one_of
from .augmix import AugMix
from .base import Augmentation
from .colour import ColorJitter, GaussianBlur, RandomPhotometricDistort
from .corners import FiveCrop, TenCrop
from .crop import CenterCrop, RandomResizedCrop, RandomShortestSize, Resize
from .erasing import RandomErasing
from .flip import RandomHorizontalFlip, RandomVerticalFlip
from .mixing import CutMix, MixUp
from .normalize import Normalize
from .one_of import Group, OneOf, RandomApply
from .pad import Pad, RandomCrop
from .point import (
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomChannelPermutation,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from .policy import PolicyOp
from .rand_augment import RandAugment, TrivialAugmentWide
from .reading import State, leaves, name_of
from .sequences import AutoAugment
from .timm_policy import read_policy
from .turns import RandomAffine, RandomPerspective, RandomRotation

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_REMEDY = "drop it, run it on the batches with extra=..., or say another pipeline with augment=[...]"


def read(state: State, t: Any) -> Augmentation | None:
    """The augmentation that a transform is, or None where it only changes what the image is.

    Raises:
        TypeError, ValueError: saying what cannot be done and the remedy, not where.
    """
    name = name_of(t)
    if name in _MEANING:
        return _MEANING[name](state, t)
    if not name:
        raise ValueError(
            "it is not one of torchvision's transforms, and fastaug runs no Python code on "
            f"samples; {_REMEDY}"
        )
    raise ValueError(f"{_WHY.get(name, 'fastaug has nothing that does the same')}; {_REMEDY}")


_WHY = {
    "Lambda": "fastaug runs no Python code on samples",
    "RandomOrder": "fastaug keeps one order",
    "RandomResize": "take RandomShortestSize with the sizes to choose from",
    "ScaleJitter": "it leaves images of many sizes; take RandomResizedCrop",
    "RandomZoomOut": "it leaves images of many sizes; take RandomAffine with scale=",
    "RandomIoUCrop": "it follows bounding boxes, which classification has none of; take RandomResizedCrop",
    "ElasticTransform": "fastaug moves pixels by affine and perspective maps only; take RandomPerspective",
    "GaussianNoise": "fastaug has no noise on whole images; add it on the batches, with extra=...",
    "JPEG": "fastaug does not encode images",
    "LinearTransformation": "it mixes all pixels with each other; take Normalize",
}


def _scaling(state: State, t: Any) -> str:
    """The interpolation of a Resize or RandomResizedCrop, if fastaug scales so."""
    if isinstance(t.interpolation, (tuple, list)):  # timm's, of bilinear and bicubic
        return "random"
    name = str(getattr(t.interpolation, "value", t.interpolation))
    if state.pixels == "PIL":  # Pillow always antialiases, and both nearest modes are its own
        return "nearest" if name == "nearest-exact" else name
    if name == "nearest":
        raise ValueError(
            "on tensors, NEAREST takes other pixels than Pillow and fastaug; use "
            "NEAREST_EXACT, or put it before the conversion to a tensor"
        )
    if name != "nearest-exact" and not getattr(t, "antialias", True):
        raise ValueError(
            f"antialias={t.antialias} on tensors is not possible, fastaug always antialiases; "
            "give antialias=True, or put it before the conversion to a tensor"
        )
    return name.removesuffix("-exact")


def _random_resized_crop(state: State, t: Any) -> Augmentation:
    return RandomResizedCrop(tuple(t.size), tuple(t.scale), tuple(t.ratio), _scaling(state, t))


def _resize(state: State, t: Any) -> Augmentation:
    if t.size is None:
        raise ValueError(
            f"max_size={t.max_size} without a size is not possible; give the shorter side and a crop, or "
            "(height, width)"
        )
    size = list(t.size) if isinstance(t.size, Sequence) else [t.size]
    return Resize(size[0] if len(size) == 1 else tuple(size), _scaling(state, t), max_size=t.max_size)


def _shortest(state: State, t: Any) -> Augmentation:
    return RandomShortestSize(tuple(t.min_size), t.max_size, _scaling(state, t))


def _filled(state: State, t: Any) -> Any:
    """A transform's fill, of 0 to 255."""
    fill = t.fill if isinstance(t.fill, dict) else _numbers(t.fill)
    if isinstance(fill, dict):
        raise ValueError(f"a fill for each type of input, {fill!r}, is not possible; give one fill")
    fill = 0 if fill is None else fill
    scale = 255 / state.white
    return tuple(v * scale for v in fill) if isinstance(fill, tuple) else fill * scale


def _padding(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) else value


def _random_crop(state: State, t: Any) -> Augmentation:
    return RandomCrop(tuple(t.size), _padding(t.padding), t.pad_if_needed, _filled(state, t), t.padding_mode)


def _turn(kind: Callable[..., Augmentation], *names: str) -> Callable[[State, Any], Augmentation]:
    """A rotation or its like: arguments of the same names."""

    def read(state: State, t: Any) -> Augmentation:
        values = {name: _numbers(getattr(t, name)) for name in names}
        return kind(**values, interpolation=t.interpolation, fill=_filled(state, t))

    return read


def _numbers(value: Any) -> Any:
    """A colour of torchvision's, as a number or a tuple."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = tuple(v.item() if hasattr(v, "item") else v for v in value)
        return value if len(value) > 1 else value[0]
    return value


def _normalize(state: State, t: Any) -> Augmentation:
    if state.pixels != "float":
        raise ValueError(
            "it needs a float tensor; put ToTensor(), or v2.ToImage() and "
            "v2.ToDtype(torch.float32, scale=True), before it"
        )
    return Normalize(_numbers(t.mean), _numbers(t.std))


def _erasing(state: State, t: Any) -> Augmentation:
    if state.pixels == "PIL":
        raise ValueError("torchvision erases tensors only; put it after ToTensor() or v2.ToImage()")
    value: Any = "random" if t.value is None else _numbers(t.value)
    return RandomErasing(t.p, tuple(t.scale), tuple(t.ratio), value)


def _timm_policy(state: State, t: Any) -> Augmentation:
    if state.pixels != "PIL":
        raise ValueError("timm's policies work on PIL images; put it before the conversion to a tensor")
    return read_policy(t)


def _timm_erasing(state: State, t: Any) -> Augmentation:
    if t.mode == "rand" or t.num_splits > 1 or t.min_count != 1:
        raise ValueError(
            f"mode={t.mode!r}, num_splits={t.num_splits} and min_count={t.min_count}: fastaug erases by "
            "zeros ('const') or noise for each pixel ('pixel'), in all samples, at least one box"
        )
    if state.pixels != "float":
        raise ValueError("timm erases normalized tensors; put it behind Normalize")
    low, high = (math.exp(v) for v in t.log_aspect_ratio)
    value: Any = "random" if t.mode == "pixel" else 0.0
    return RandomErasing(t.probability, (t.min_area, t.max_area), (low, high), value, max_count=t.max_count)


def _convert(state: State, dtype: torch.dtype, scale: bool = True) -> None:
    """ToTensor, ToDtype and the like: a tensor from here on."""
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"a dtype for each type of input, {dtype!r}, is not possible; give one dtype")
    one_of("its dtype", dtype, (*_FLOATS, torch.uint8))
    if dtype == torch.uint8 and state.pixels == "float":
        raise ValueError("back from float to uint8 is not possible; leave out both conversions")
    if dtype != torch.uint8 and state.pixels == "uint8" and not scale:
        raise ValueError(
            "without scale=True the images are floats of 0 to 255, where fastaug's are 0 to 1; "
            "give scale=True and divide a Normalize behind it by 255"
        )
    state.pixels, state.dtype = "uint8" if dtype == torch.uint8 else "float", dtype


def _to_dtype(state: State, t: Any) -> None:
    if state.pixels == "PIL":
        raise ValueError("it converts tensors only; put v2.ToImage() or PILToTensor() before it")
    _convert(state, t.dtype, getattr(t, "scale", True))


def _to_tensor(state: State, t: Any) -> None:
    _convert(state, torch.float32)


def _to_image(state: State, t: Any) -> None:
    if state.pixels == "PIL":
        _convert(state, torch.uint8)


def _to_pil(state: State, t: Any) -> None:
    if state.pixels == "float" or t.mode not in (None, "RGB"):
        raise ValueError("to PIL images of another mode, or from floats, is not possible; leave it out")
    state.pixels, state.dtype = "PIL", None


def _grayscale(state: State, t: Any) -> Augmentation:
    if t.num_output_channels != 3:
        raise ValueError("fastaug makes images of three channels; give num_output_channels=3")
    return RandomGrayscale(1.0)


def _policy(kind: Callable[..., PolicyOp], *names: str) -> Callable[[State, Any], Augmentation]:
    """An AutoAugment or its like: arguments of the same names, and a fill in units of the image."""

    def read(state: State, t: Any) -> Augmentation:
        fill = _numbers(t.fill)
        if isinstance(fill, dict):
            raise ValueError(f"a fill for each type of input, {fill!r}, is not possible; give one fill")
        if fill is not None and state.pixels == "float":
            fill = tuple(255 * v for v in fill) if isinstance(fill, tuple) else 255 * fill
        values = {name: getattr(t, name) for name in names}
        return kind(**values, interpolation=t.interpolation, fill=fill)

    return read


def _jitter(state: State, t: Any) -> Augmentation:
    names = ("brightness", "contrast", "saturation", "hue")
    given: dict[str, Any] = {name: tuple(getattr(t, name) or (float(name != "hue"),) * 2) for name in names}
    return ColorJitter(**given)


def _distort(state: State, t: Any) -> Augmentation:
    names = ("brightness", "contrast", "saturation", "hue")
    given: dict[str, Any] = {name: tuple(getattr(t, name)) for name in names}
    return RandomPhotometricDistort(**given, p=t.p)


def _blur(state: State, t: Any) -> Augmentation:
    across, down = t.kernel_size
    if across != down:
        raise ValueError(f"kernel_size={tuple(t.kernel_size)} is not possible; give one odd number")
    return GaussianBlur(across, tuple(t.sigma))


def _solarize(state: State, t: Any) -> Augmentation:
    return RandomSolarize(t.threshold * 255 / state.white, t.p)


def _mix(kind: Callable[[float], Augmentation]) -> Callable[[State, Any], Augmentation]:
    def read(state: State, t: Any) -> Augmentation:
        state.classes(t.num_classes)
        return kind(t.alpha)

    return read


def _members(state: State, transforms: Any) -> list[Augmentation]:
    """What a list of transforms does that is drawn together."""
    parts = [leaf for t in transforms for leaf in leaves(t)]
    before = state.pixels
    ops = [op for op in (read(state, p) for p in parts) if op is not None]
    if state.pixels != before or not ops:
        raise ValueError("a choice must do something, and leave the type of the image as it is")
    return ops


def _apply(state: State, t: Any) -> Augmentation:
    ops: list[Any] = _members(state, t.transforms)
    if len(ops) == 1 and hasattr(ops[0], "p") and not isinstance(ops[0], Group):
        return replace(ops[0], p=ops[0].p * t.p)
    return RandomApply(ops, t.p)


def _choice(state: State, t: Any) -> Augmentation:
    members = [
        ops[0] if len(ops := _members(state, [part])) == 1 else RandomApply(ops, 1.0) for part in t.transforms
    ]
    return OneOf(members, None if t.p is None else tuple(t.p))


def _nothing(state: State, t: Any) -> None:
    """What changes nothing here: images are RGB tensors in the end."""


_MEANING: dict[str, Callable[[State, Any], Augmentation | None]] = {
    "RandomResizedCrop": _random_resized_crop,
    "Resize": _resize,
    "CenterCrop": lambda state, t: CenterCrop(tuple(t.size)),
    "RandomCrop": _random_crop,
    "FiveCrop": lambda state, t: FiveCrop(tuple(t.size)),
    "TenCrop": lambda state, t: TenCrop(tuple(t.size), t.vertical_flip),
    "RandomShortestSize": _shortest,
    "Pad": lambda state, t: Pad(_padding(t.padding), _filled(state, t), t.padding_mode),
    "RandomRotation": _turn(RandomRotation, "degrees", "expand", "center"),
    "RandomAffine": _turn(RandomAffine, "degrees", "translate", "scale", "shear", "center"),
    "RandomPerspective": _turn(RandomPerspective, "distortion_scale", "p"),
    "RandomHorizontalFlip": lambda state, t: RandomHorizontalFlip(t.p),
    "RandomVerticalFlip": lambda state, t: RandomVerticalFlip(t.p),
    "AutoAugment": _policy(AutoAugment, "policy"),
    "RandAugment": _policy(RandAugment, "num_ops", "magnitude", "num_magnitude_bins"),
    "TrivialAugmentWide": _policy(TrivialAugmentWide, "num_magnitude_bins"),
    "AugMix": _policy(AugMix, "severity", "mixture_width", "chain_depth", "alpha", "all_ops"),
    "ColorJitter": _jitter,
    "Grayscale": _grayscale,
    "RandomGrayscale": lambda state, t: RandomGrayscale(t.p),
    "GaussianBlur": _blur,
    "RandomSolarize": _solarize,
    "RandomPosterize": lambda state, t: RandomPosterize(t.bits, t.p),
    "RandomInvert": lambda state, t: RandomInvert(t.p),
    "RandomAutocontrast": lambda state, t: RandomAutocontrast(t.p),
    "RandomEqualize": lambda state, t: RandomEqualize(t.p),
    "RandomAdjustSharpness": lambda state, t: RandomAdjustSharpness(t.sharpness_factor, t.p),
    "RandomChannelPermutation": lambda state, t: RandomChannelPermutation(),
    "RandomPhotometricDistort": _distort,
    "RandomErasing": _erasing,
    "timm's policy": _timm_policy,
    "timm's RandomErasing": _timm_erasing,
    "Normalize": _normalize,
    "MixUp": _mix(MixUp),
    "CutMix": _mix(CutMix),
    "RandomApply": _apply,
    "RandomChoice": _choice,
    "ToTensor": _to_tensor,
    "PILToTensor": _to_image,
    "ToImage": _to_image,
    "ConvertImageDtype": _to_dtype,
    "ToDtype": _to_dtype,
    "ToPILImage": _to_pil,
    **dict.fromkeys(("Identity", "RGB", "ToPureTensor"), _nothing),
}
