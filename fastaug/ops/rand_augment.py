"""RandAugment and TrivialAugmentWide: operations of one list, drawn for each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import whole
from ..sampling.philox import integers
from .base import MOST_ENTRIES, Draft, Step
from .policy import PolicyOp, Writer, magnitudes, signed

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


@dataclass(frozen=True)
class RandAugment(PolicyOp):
    """``num_ops`` operations, each one of 14, at one magnitude (Cubuk et al. 2019,
    https://arxiv.org/abs/1909.13719). As torchvision's ``RandAugment``; signed magnitudes are negated
    for half of the samples (Kornia picks one operation for the whole batch; here each sample has its
    own).

    Args:
        num_ops: 1 to 64.
        magnitude: the bin, 0 to num_magnitude_bins - 1. The paper's 5 of 10 is bin 15 of 31.
        num_magnitude_bins: 2 or more.
        interpolation: "nearest" or "bilinear", for shear, translation and rotation.
        fill: None, a number or (red, green, blue), 0 to 255, outside the image.

    Example:
        >>> import fastaug
        >>> fastaug.RandAugment(2, 15).num_magnitude_bins
        31
    """

    num_ops: int = 2
    magnitude: int = 9
    num_magnitude_bins: int = 31

    def _check(self) -> None:
        super()._check()
        whole("RandAugment num_ops", self.num_ops, 1, MOST_ENTRIES)
        whole("RandAugment num_magnitude_bins", self.num_magnitude_bins, 2, 1000)
        whole("RandAugment magnitude", self.magnitude, 0, self.num_magnitude_bins - 1)

    @property
    def most(self) -> int:
        return self.num_ops

    operations: ClassVar[tuple[str, ...]] = _RAND

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)
        u = draft.keys.uniforms(step.stream, 2 * self.num_ops)
        for k in range(self.num_ops):
            chosen = integers(u[2 * k], 0, len(self.operations))
            for number, name in enumerate(self.operations):
                which = np.flatnonzero(chosen == number)
                table = magnitudes(name, self.num_magnitude_bins, draft.size, "auto")
                m = np.full(len(which), table[self.magnitude])
                out.add(name, which, signed(name, m, u[2 * k + 1][which]))


@dataclass(frozen=True)
class TrivialAugmentWide(PolicyOp):
    """One operation of 14 at a random magnitude from a wide range (Müller and Hutter 2021,
    https://arxiv.org/abs/2103.10158). As torchvision's ``TrivialAugmentWide``.

    Args:
        num_magnitude_bins: 2 or more.
        interpolation: as in RandAugment.
        fill: as in RandAugment.

    Example:
        >>> import fastaug
        >>> fastaug.TrivialAugmentWide(fill=128).fill
        (128.0, 128.0, 128.0)
    """

    num_magnitude_bins: int = 31

    def _check(self) -> None:
        super()._check()
        whole("TrivialAugmentWide num_magnitude_bins", self.num_magnitude_bins, 2, 1000)

    operations: ClassVar[tuple[str, ...]] = _RAND

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)
        u = draft.keys.uniforms(step.stream, 3)
        chosen, bins = integers(u[0], 0, len(self.operations)), integers(u[2], 0, self.num_magnitude_bins)
        for number, name in enumerate(self.operations):
            which = np.flatnonzero(chosen == number)
            m = magnitudes(name, self.num_magnitude_bins, draft.size, "wide")[bins[which]]
            out.add(name, which, signed(name, m, u[1][which]))
