"""The AutoAugment family and colour operations: what a user asks for, as in ``augment``.

All of them work on uint8 pixels after cropping and scaling, before masks, for each sample by itself.
Operations, magnitudes and defaults are torchvision's (``torchvision.transforms.v2``); ``fill`` None
leaves black outside a turned or shifted image, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from ..checks import colour, interval, number, one_of, whole
from .augment import Augmentation, interpolation_name

Colour = float | tuple[float, float, float] | None
Entry = tuple[str, float, float | int | None]

# Operations whose magnitude may be negated, and those that have none.
SIGNED = (
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
)
PLAIN = ("Identity", "AutoContrast", "Equalize", "Invert")
OPERATIONS = (*SIGNED, "Posterize", "Solarize", "SolarizeAdd", "Cutout", *PLAIN)
MAX_OPS = 12  # of a sample
MAX_CHAINS, MAX_BLUR = 4, 12  # as in plan.h: AugMix's chains; blur's weights from the middle outwards


@cache
def magnitudes(name: str, bins: int, size: tuple[int, int], kind: str) -> npt.NDArray[np.float64]:
    """The magnitudes of an operation in each bin, torchvision's to the last bit: float64 ``[bins]``, shared
    by all who ask, so not to be written.

    Args:
        name: the operation.
        bins: number of bins.
        size: (height, width) of the images, which translations depend on.
        kind: "auto" (AutoAugment, RandAugment), "wide" (TrivialAugmentWide) or "mix" (AugMix).
    """
    wide = kind == "wide"
    if name in PLAIN:
        return np.zeros(bins)
    if name == "Posterize":
        top, reach = {"auto": (8, 4), "wide": (8, 6), "mix": (4, 4)}[kind]
        return (top - torch.arange(bins) / ((bins - 1) / reach)).round().double().numpy()
    low, high = 0.0, 0.99 if wide else 0.9
    if name == "Solarize":
        low, high = 1.0, 0.0
    elif name.startswith("Shear"):
        high = 0.99 if wide else 0.3
    elif name.startswith("Translate"):
        side = size[1] if name == "TranslateX" else size[0]
        high = {"auto": 150.0 / 331.0 * side, "wide": 32.0, "mix": side / 3.0}[kind]
    elif name == "Rotate":
        high = 135.0 if wide else 30.0
    return torch.linspace(low, high, bins).double().numpy()


_RAND = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
_AUGMIX_PARTIAL = (
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
_AUGMIX = (*_AUGMIX_PARTIAL, "Brightness", "Color", "Contrast", "Sharpness")


@dataclass(frozen=True)
class PolicyOp(Augmentation):
    """Base of what works on pixels between geometry and masks."""

    stage: ClassVar[int] = 1
    interpolation: str = field(default="nearest", kw_only=True)
    fill: Colour = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        name = type(self).__name__
        self._set(interpolation=interpolation_name(name, self.interpolation))
        one_of(f"{name} interpolation", self.interpolation, ("nearest", "bilinear"))
        if self.fill is not None:
            self._set(fill=colour(f"{name} fill", self.fill))

    @property
    def most(self) -> int:
        """The most operations that a sample may get."""
        return 1


@dataclass(frozen=True)
class RandAugment(PolicyOp):
    """``num_ops`` operations, each one of 14, at one magnitude (Cubuk et al. 2019,
    https://arxiv.org/abs/1909.13719). As torchvision's ``RandAugment``; signed magnitudes are negated
    for half of the samples (Kornia picks one operation for the whole batch; here each sample has its
    own).

    Args:
        num_ops: 1 to 12.
        magnitude: the bin, 0 to num_magnitude_bins - 1. The paper's 5 of 10 is bin 15 of 31.
        num_magnitude_bins: 2 or more.
        interpolation: "nearest" or "bilinear", for shear, translation and rotation.
        fill: None, a number or (red, green, blue), 0 to 255, outside the image.
    """

    num_ops: int = 2
    magnitude: int = 9
    num_magnitude_bins: int = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("RandAugment num_ops", self.num_ops, 1, MAX_OPS)
        whole("RandAugment num_magnitude_bins", self.num_magnitude_bins, 2, 1000)
        whole("RandAugment magnitude", self.magnitude, 0, self.num_magnitude_bins - 1)

    @property
    def most(self) -> int:
        return self.num_ops

    operations: ClassVar[tuple[str, ...]] = _RAND


@dataclass(frozen=True)
class TrivialAugmentWide(PolicyOp):
    """One operation of 14 at a random magnitude from a wide range (Müller and Hutter 2021,
    https://arxiv.org/abs/2103.10158). As torchvision's ``TrivialAugmentWide``.

    Args:
        num_magnitude_bins: 2 or more.
        interpolation: as in RandAugment.
        fill: as in RandAugment.
    """

    num_magnitude_bins: int = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("TrivialAugmentWide num_magnitude_bins", self.num_magnitude_bins, 2, 1000)

    operations: ClassVar[tuple[str, ...]] = _RAND


@dataclass(frozen=True)
class AugMix(PolicyOp):
    """Chains of operations, mixed with each other and with the image (Hendrycks et al. 2019,
    https://arxiv.org/abs/1912.02781). As torchvision's ``AugMix``, of which the weights are
    Dirichlet(alpha) over the chains times a Beta(alpha, alpha).

    Args:
        severity: 1 to 10: magnitudes come from the first ``severity`` of ten bins.
        mixture_width: number of chains, 1 to 4.
        chain_depth: operations of a chain; below 1: one to three, drawn for each chain.
        alpha: above 0.
        all_ops: also brightness, colour, contrast and sharpness.
        interpolation: "bilinear" by default here.
        fill: as in RandAugment.
    """

    severity: int = 3
    mixture_width: int = 3
    chain_depth: int = -1
    alpha: float = 1.0
    all_ops: bool = True
    interpolation: str = field(default="bilinear", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("AugMix severity", self.severity, 1, 10)
        whole("AugMix mixture_width", self.mixture_width, 1, MAX_CHAINS)
        whole("AugMix chain_depth", self.chain_depth, -(2**31), MAX_OPS)
        number("AugMix alpha", self.alpha, 0, math.inf, above=True)
        one_of("AugMix all_ops", self.all_ops, (True, False))
        if self.most > MAX_OPS:
            raise ValueError(
                f"AugMix of {self.mixture_width} chains, {self.chain_depth} deep, is {self.most} "
                f"operations; at most {MAX_OPS} are possible"
            )

    @property
    def most(self) -> int:
        return self.mixture_width * (self.chain_depth if self.chain_depth > 0 else 3)

    @property
    def operations(self) -> tuple[str, ...]:
        """The space that chains draw from."""
        return _AUGMIX if self.all_ops else _AUGMIX_PARTIAL


@dataclass(frozen=True)
class Policy(PolicyOp):
    """One of several sequences of operations, each carried out with a probability of its own.

    Args:
        sequences: a list of sequences; a sequence is a list of (operation, probability, magnitude).
            Magnitudes are those of ``torchvision.transforms.v2.functional``: Shear a tangent, Translate
            pixels, Rotate degrees, Brightness, Color, Contrast and Sharpness a factor less 1, Posterize
            bits, Solarize a threshold as a share of 255, SolarizeAdd what is added below 128, Cutout the
            side of a gray (128) square in pixels, others None. Those in ``SIGNED`` are negated for half
            of the samples.
        interpolation: as in RandAugment.
        fill: as in RandAugment.
    """

    sequences: Sequence[Sequence[Entry]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.sequences, Sequence) or not self.sequences:
            raise TypeError(f"Policy sequences must be a list of sequences, not {self.sequences!r}")
        for sequence in self.sequences:
            for entry in sequence:
                check_entry(entry)
        self._set(sequences=tuple(tuple(tuple(e) for e in s) for s in self.sequences))
        if self.most > MAX_OPS:
            raise ValueError(
                f"Policy has a sequence of {self.most} operations; at most {MAX_OPS} are possible"
            )

    @property
    def most(self) -> int:
        return max(len(s) for s in self.sequences)


def check_entry(entry: object) -> None:
    """Raises when an entry of a Policy is not (operation, probability, magnitude)."""
    if not isinstance(entry, Sequence) or len(entry) != 3:
        raise TypeError(f"Policy entries are (operation, probability, magnitude), not {entry!r}")
    name, probability, magnitude = entry
    one_of("Policy operation", name, OPERATIONS)
    number(f"Policy probability of {name}", probability, 0, 1)
    if name in PLAIN:
        if magnitude is not None:
            raise ValueError(f"Policy operation {name} has no magnitude; give None, not {magnitude!r}")
        return
    bounds = {
        "Posterize": (0, 8),
        "Solarize": (0, 1),
        "SolarizeAdd": (-255, 255),
        "Cutout": (0, 8192),
        "ShearX": (-10, 10),
        "ShearY": (-10, 10),
        "TranslateX": (-8192, 8192),
        "TranslateY": (-8192, 8192),
        "Rotate": (-360, 360),
    }
    number(f"Policy magnitude of {name}", magnitude, *bounds.get(name, (-1, 100)))


@dataclass(frozen=True)
class AutoAugment(PolicyOp):
    """One of 25 learnt pairs of operations (Cubuk et al. 2018, https://arxiv.org/abs/1805.09501). As
    torchvision's ``AutoAugment`` (DALI's ``image_net`` policy is another one, for TPUs).

    Args:
        policy: "imagenet", "cifar10" or "svhn", or a member of torchvision's AutoAugmentPolicy.
        interpolation: as in RandAugment.
        fill: as in RandAugment.
    """

    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(policy=getattr(self.policy, "value", self.policy))
        one_of("AutoAugment policy", self.policy, ("imagenet", "cifar10", "svhn"))

    @property
    def most(self) -> int:
        return 2


@dataclass(frozen=True)
class ColorJitter(PolicyOp):
    """Brightness, contrast, saturation and hue, in random order. As torchvision's ``ColorJitter``.

    Args:
        brightness: a number b for a factor in [max(0, 1 - b), 1 + b], or (low, high).
        contrast: likewise.
        saturation: likewise.
        hue: a number h <= 0.5 for a shift in [-h, h], or (low, high), in turns of the colour circle.
        p: probability that the sample is touched.
    """

    brightness: float | tuple[float, float] = 0.0
    contrast: float | tuple[float, float] = 0.0
    saturation: float | tuple[float, float] = 0.0
    hue: float | tuple[float, float] = 0.0
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("brightness", "contrast", "saturation"):
            self._set(**{name: _factors(f"ColorJitter {name}", getattr(self, name), 1.0, 0.0, math.inf)})
        self._set(hue=_factors("ColorJitter hue", self.hue, 0.0, -0.5, 0.5))
        number("ColorJitter p", self.p, 0, 1)

    @property
    def most(self) -> int:
        return 4


def _factors(where: str, value: object, centre: float, low: float, high: float) -> tuple[float, float]:
    if isinstance(value, Sequence):
        if len(value) != 2:
            raise ValueError(f"{where} must be a number or (low, high), not {value!r}")
        a, b = (number(where, v, low, high) for v in value)
        if a > b:
            raise ValueError(f"{where} must be (low, high) with low <= high, not {value!r}")
        return a, b
    reach = number(where, value, 0, high)
    return max(low, centre - reach), centre + reach


@dataclass(frozen=True)
class RandomGrayscale(PolicyOp):
    """The image in gray with probability ``p``. As torchvision's ``RandomGrayscale``."""

    p: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        number("RandomGrayscale p", self.p, 0, 1)


@dataclass(frozen=True)
class GaussianBlur(PolicyOp):
    """A Gaussian blur with reflected borders. As torchvision's ``GaussianBlur``.

    Args:
        kernel_size: odd, 1 to 23; no wider than the image allows (kernel_size // 2 < its shorter side).
        sigma: a number, or (low, high) to draw from.
        p: probability (torchvision: ``RandomApply``).
    """

    kernel_size: int
    sigma: float | tuple[float, float] = (0.1, 2.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("GaussianBlur kernel_size", self.kernel_size, 1, 2 * MAX_BLUR - 1)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"GaussianBlur kernel_size must be odd, not {self.kernel_size}")
        pair = self.sigma if isinstance(self.sigma, Sequence) else (self.sigma, self.sigma)
        self._set(sigma=interval("GaussianBlur sigma", pair, 0))
        number("GaussianBlur p", self.p, 0, 1)


@dataclass(frozen=True)
class RandomSolarize(PolicyOp):
    """Pixels at or above ``threshold`` inverted, with probability ``p``. As torchvision's.

    Args:
        threshold: 0 to 255.
        p: probability.
    """

    threshold: float
    p: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        number("RandomSolarize threshold", self.threshold, 0, 255)
        number("RandomSolarize p", self.p, 0, 1)
