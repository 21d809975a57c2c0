"""Walks a torchvision pipeline: its transforms in order, each with the name of what it is.

Classes are known by name, so torchvision is not imported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass
class State:
    """What is known on the way along a pipeline.

    Attributes:
        pixels: what the image is.
        dtype: of the tensor, or None.
        num_classes: what MixUp and CutMix were told, or None.
    """

    pixels: Literal["PIL", "uint8", "float"] = "PIL"
    dtype: torch.dtype | None = None
    num_classes: int | None = None

    @property
    def white(self) -> float:
        """The value of a white pixel."""
        return 1.0 if self.pixels == "float" else 255.0

    def classes(self, given: int | None) -> None:
        """Takes a num_classes in."""
        if given is not None and self.num_classes not in (None, given):
            raise ValueError(
                f"its num_classes is {given}, an earlier one is {self.num_classes}; give one number"
            )
        self.num_classes = self.num_classes if given is None else given


def leaves(member: object) -> Iterator[object]:
    """The transforms of a nested pipeline, in order."""
    name = name_of(member)
    if name == "ImageClassification":
        for part in _weights(member):
            yield from leaves(part)
    elif name in ("Compose", "Preset"):
        inner = member.transforms  # type: ignore[attr-defined]
        for part in inner if isinstance(inner, Sequence) else [inner]:
            yield from leaves(part)
    elif name == "Sequential":
        for part in member:  # type: ignore[attr-defined]
            yield from leaves(part)
    else:
        yield member


# timm's own that do what torchvision's do to PIL images.
_TIMM = {
    "MaybeToTensor": "ToTensor",
    "MaybePILToTensor": "PILToTensor",
    "RandomResizedCropAndInterpolation": "RandomResizedCrop",
    "ToNumpy": "PILToTensor",
}
_TIMM_OWN = {
    ("timm.data.auto_augment", "RandAugment"): "timm's policy",
    ("timm.data.auto_augment", "AutoAugment"): "timm's policy",
    ("timm.data.auto_augment", "AugMixAugment"): "timm's policy",
    ("timm.data.random_erasing", "RandomErasing"): "timm's RandomErasing",
}


def name_of(member: object) -> str:
    """The name of the torchvision class that a transform is, "" for others: a subclass may do anything."""
    kind = type(member)
    name, module = kind.__name__, kind.__module__
    if module.startswith("torchvision.transforms.") or module == "torch.nn.modules.container":
        return name
    if module == "timm.data.transforms":
        return _TIMM.get(name, "")
    if (module, name) in _TIMM_OWN:
        return _TIMM_OWN[module, name]
    presets = ("ClassificationPresetTrain", "ClassificationPresetEval")
    return "Preset" if name in presets and hasattr(member, "transforms") else ""


def _weights(preset: Any) -> list[object]:
    """What torchvision's ``ImageClassification`` (``weights.transforms()``) does, step by step."""
    from torchvision import transforms as v1

    return [
        v1.Resize(preset.resize_size, preset.interpolation, antialias=preset.antialias),
        v1.CenterCrop(preset.crop_size),
        v1.PILToTensor(),
        v1.ConvertImageDtype(torch.float32),
        v1.Normalize(preset.mean, preset.std),
    ]
