"""Colour operations of several numbers: ColorJitter, RandomPhotometricDistort, GaussianBlur."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ..checks import interval, number, whole
from ..sampling.philox import integers
from .base import Draft, Step
from .policy import MAX_BLUR, PolicyOp, Writer


@dataclass(frozen=True)
class ColorJitter(PolicyOp):
    """Brightness, contrast, saturation and hue, in random order. As torchvision's ``ColorJitter``.

    Args:
        brightness: a number b for a factor in [max(0, 1 - b), 1 + b], or (low, high).
        contrast: likewise.
        saturation: likewise.
        hue: a number h <= 0.5 for a shift in [-h, h], or (low, high), in turns of the colour circle.
        p: probability that the sample is touched.

    Example:
        >>> import fastaug
        >>> fastaug.ColorJitter(0.4, hue=0.1).brightness
        (0.6, 1.4)
    """

    brightness: float | tuple[float, float] = 0.0
    contrast: float | tuple[float, float] = 0.0
    saturation: float | tuple[float, float] = 0.0
    hue: float | tuple[float, float] = 0.0
    p: float = 1.0

    keeps_places: ClassVar[bool] = True

    def _check(self) -> None:
        super()._check()
        for name in ("brightness", "contrast", "saturation"):
            self._set(**{name: _factors(f"ColorJitter {name}", getattr(self, name), 1.0, 0.0, math.inf)})
        self._set(hue=_factors("ColorJitter hue", self.hue, 0.0, -0.5, 0.5))
        number("ColorJitter p", self.p, 0, 1)

    @property
    def most(self) -> int:
        return 4

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)
        u = draft.keys.uniforms(step.stream, 9)
        touched = u[8] < self.p
        order = np.argsort(u[4:8], axis=0)
        ranges = {
            "Brightness": self.brightness,
            "Contrast": self.contrast,
            "Color": self.saturation,
            "Hue": self.hue,
        }
        for place in range(4):
            for index, (name, bounds) in enumerate(ranges.items()):
                low, high = bounds  # type: ignore[misc]
                if low == high == (0.0 if name == "Hue" else 1.0):
                    continue
                which = np.flatnonzero((order[place] == index) & touched)
                value = low + (high - low) * u[index][which]
                if name == "Hue":
                    out.put("Hue", which, value=value)
                else:
                    out.factor(name, which, value)


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
class RandomPhotometricDistort(PolicyOp):
    """Brightness, contrast, saturation and hue, each or not, contrast before or after the other two, and the
    channels exchanged or not. As torchvision's (Liu et al. 2016, SSD, https://arxiv.org/abs/1512.02325).

    Args:
        brightness: (low, high) of a factor.
        contrast: likewise.
        saturation: likewise.
        hue: (low, high) of a shift, in turns of the colour circle, -0.5 to 0.5.
        p: probability of each.

    Example:
        >>> import fastaug
        >>> fastaug.RandomPhotometricDistort().hue
        (-0.05, 0.05)
    """

    brightness: tuple[float, float] = (0.875, 1.125)
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: tuple[float, float] = (-0.05, 0.05)
    p: float = 0.5

    keeps_places: ClassVar[bool] = True

    def _check(self) -> None:
        super()._check()
        for name in ("brightness", "contrast", "saturation"):
            pair = _factors(f"RandomPhotometricDistort {name}", getattr(self, name), 1.0, 0.0, math.inf)
            self._set(**{name: pair})
        self._set(hue=_factors("RandomPhotometricDistort hue", self.hue, 0.0, -0.5, 0.5))
        number("RandomPhotometricDistort p", self.p, 0, 1)

    @property
    def most(self) -> int:
        return 5

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)
        u = draft.keys.uniforms(step.stream, 12)
        on, first = u[4:9] < self.p, u[9] < 0.5

        def add(name: str, k: int, bounds: tuple[float, float], where: npt.NDArray[np.bool_]) -> None:
            which = np.flatnonzero(where)
            value = bounds[0] + (bounds[1] - bounds[0]) * u[k][which]
            if name == "Hue":
                out.put("Hue", which, value=value)
            else:
                out.factor(name, which, value)

        add("Brightness", 0, self.brightness, on[0])
        add("Contrast", 1, self.contrast, on[1] & first)
        add("Color", 2, self.saturation, on[2])
        add("Hue", 3, self.hue, on[3])
        add("Contrast", 1, self.contrast, on[1] & ~first)
        out.put("Permute", which := np.flatnonzero(on[4]), value=integers(u[10][which], 0, 6))


@dataclass(frozen=True)
class GaussianBlur(PolicyOp):
    """A Gaussian blur with reflected borders. As torchvision's ``GaussianBlur``.

    Args:
        kernel_size: odd, 1 to 23; no wider than the image allows (kernel_size // 2 < its shorter side).
        sigma: a number, or (low, high) to draw from.
        p: probability (torchvision: ``RandomApply``).

    Example:
        >>> import fastaug
        >>> fastaug.GaussianBlur(9, (0.1, 2.0), p=0.5).sigma
        (0.1, 2.0)
    """

    kernel_size: int
    sigma: float | tuple[float, float] = (0.1, 2.0)
    p: float = 1.0

    keeps_places: ClassVar[bool] = True

    def _check(self) -> None:
        super()._check()
        whole("GaussianBlur kernel_size", self.kernel_size, 1, 2 * MAX_BLUR - 1)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"GaussianBlur kernel_size must be odd, not {self.kernel_size}")
        pair = self.sigma if isinstance(self.sigma, Sequence) else (self.sigma, self.sigma)
        self._set(sigma=interval("GaussianBlur sigma", pair, 0))
        number("GaussianBlur p", self.p, 0, 1)

    def check_size(self, size: tuple[int, int]) -> None:
        if self.kernel_size // 2 >= min(size):
            raise ValueError(
                f"GaussianBlur kernel_size {self.kernel_size} reaches over images of {size[0]}x"
                f"{size[1]} pixels; take at most {2 * min(size) - 1}"
            )

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)
        u = draft.keys.uniforms(step.stream, 2)
        which = np.flatnonzero(u[0] < self.p)
        low, high = self.sigma  # type: ignore[misc]
        sigma = low + (high - low) * u[1][which]
        half = self.kernel_size // 2
        weight = np.zeros((len(which), MAX_BLUR))
        weight[:, : half + 1] = np.exp(-0.5 * (np.arange(half + 1) / sigma[:, None]) ** 2)
        weight /= weight[:, :1] + 2 * weight[:, 1:].sum(1, keepdims=True)
        out.put("Blur", which, half=half, weight=weight, value=sigma)
