"""What a user asks for: one small frozen dataclass for each augmentation.

These are data. They check their values when made, print well, and do nothing else: ``draw``
chooses each sample's parameters, ``batch`` carries them out. Names and defaults are torchvision's
where torchvision has the augmentation, the original paper's otherwise. The order in a list is
geometry and flip, policy (``policies``), masks, mixing, Normalize.

Fills are in output units: with Normalize, 0 is the mean colour; without it 0 is black.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..checks import MAX_SIZE, colour, interval, number, one_of, size_pair, whole

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MAX_HOLES = 8  # rectangles a sample; FASTAUG_MAX_HOLES in plan.h

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")  # by their numbers in plan.h

Per = Literal["batch", "pair", "sample"]
Fill = float | tuple[float, float, float]


@dataclass(frozen=True)
class Augmentation:
    """Base of everything that may stand in ``augment=[...]``."""

    stage: ClassVar[int] = 0  # place in the order: 0 geometry, 1 policy, 2 masks, 3 mixing, 4 Normalize

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def interpolation_name(where: str, value: object) -> str:
    """A name, or a member of torchvision's InterpolationMode, as a name."""
    name = getattr(value, "value", value)
    one_of(f"{where} interpolation", name, INTERPOLATIONS)
    return str(name)


@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """A random part of the image, scaled to ``size``. As torchvision's ``RandomResizedCrop``.

    Up to ten times: an area of scale x the image's, an aspect ratio (width / height) log-uniform
    in ``ratio``; the first box that fits is placed uniformly. If none fits: the largest centred box
    of the nearest allowed ratio. Scaled as Pillow does, antialiased: nearest as it,
    bilinear within 1 of it, bicubic within 2.

    Args:
        size: output side, or (height, width), in pixels, 1 to 8192.
        scale: share of the image's area, 0 < low <= high <= 1.
        ratio: width / height, 0 < low <= high.
        interpolation: "bilinear", "bicubic" or "nearest", or torchvision's InterpolationMode.
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        self._set(
            size=size_pair("RandomResizedCrop size", self.size),
            scale=interval("RandomResizedCrop scale", self.scale, 0, 1),
            ratio=interval("RandomResizedCrop ratio", self.ratio, 0),
            interpolation=interpolation_name("RandomResizedCrop", self.interpolation),
        )


@dataclass(frozen=True)
class Resize(Augmentation):
    """The whole image, scaled. As torchvision's ``Resize`` (antialiased).

    Args:
        size: the shorter side in pixels, the longer follows the image's shape; or (height, width).
            A batch needs images of one size, so a single number wants a CenterCrop behind it.
        interpolation: "bilinear", "bicubic" or "nearest", or torchvision's InterpolationMode.
    """

    size: int | tuple[int, int]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if isinstance(self.size, Sequence):
            self._set(size=size_pair("Resize size", self.size))
        else:
            whole("Resize size", self.size, 1, MAX_SIZE)
        self._set(interpolation=interpolation_name("Resize", self.interpolation))


@dataclass(frozen=True)
class CenterCrop(Augmentation):
    """The middle of the image. As torchvision's ``CenterCrop``, but never larger than the image.

    Args:
        size: side, or (height, width), in pixels, 1 to 8192.
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        self._set(size=size_pair("CenterCrop size", self.size))


@dataclass(frozen=True)
class RandomHorizontalFlip(Augmentation):
    """Left and right exchanged with probability ``p``. As torchvision's."""

    p: float = 0.5

    def __post_init__(self) -> None:
        number("RandomHorizontalFlip p", self.p, 0, 1)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Square holes (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552).

    Each hole's centre (cy, cx) is uniform over the image's pixels; it covers
    [cy - length // 2, cy + length // 2) in both axes, clipped at the border.

    Args:
        length: side in output pixels, at most the image's longer side.
        n_holes: holes a sample, 1 to 8.
        fill: a number or (red, green, blue), in output units.
        p: probability that a sample gets holes.
    """

    stage: ClassVar[int] = 2
    length: int
    n_holes: int = 1
    fill: Fill = 0.0
    p: float = 1.0

    def __post_init__(self) -> None:
        whole("Cutout length", self.length, 1, MAX_SIZE)
        whole("Cutout n_holes", self.n_holes, 1, MAX_HOLES)
        number("Cutout p", self.p, 0, 1)
        self._set(fill=colour("Cutout fill", self.fill))


@dataclass(frozen=True)
class RandomErasing(Augmentation):
    """One erased rectangle (Zhong et al. 2017, https://arxiv.org/abs/1708.04896).

    With probability ``p``, up to ``tries`` times: an area of scale x the image's and an aspect a;
    h = sqrt(area * a), w = sqrt(area / a), rounded; the first with h < H and w < W is placed
    uniformly; none: nothing is erased. Defaults are torchvision's ``RandomErasing``.

    Args:
        p: probability.
        scale: erased share of the image, 0 < low <= high <= 1.
        ratio: height / width, 0 < low <= high.
        value: a number or (red, green, blue) in output units, or "random": normal noise (mean 0,
            deviation 1 in output units), keyed for each pixel.
        aspect: "log" draws the aspect log-uniform (torchvision, timm); "linear" uniform (the
            paper's code, PaddleClas), which makes most boxes taller than wide.
        tries: how often a box that does not fit is drawn again, 1 to 1000.
    """

    stage: ClassVar[int] = 2
    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: Fill | Literal["random"] = 0.0
    aspect: Literal["log", "linear"] = "log"
    tries: int = 10

    def __post_init__(self) -> None:
        number("RandomErasing p", self.p, 0, 1)
        self._set(
            scale=interval("RandomErasing scale", self.scale, 0, 1),
            ratio=interval("RandomErasing ratio", self.ratio, 0),
        )
        one_of("RandomErasing aspect", self.aspect, ("log", "linear"))
        whole("RandomErasing tries", self.tries, 1, 1000)
        if isinstance(self.value, str):
            one_of("RandomErasing value, when it is a str,", self.value, ("random",))
        else:
            self._set(value=colour("RandomErasing value", self.value))


@dataclass(frozen=True)
class HideAndSeek(Augmentation):
    """A grid of cells, each hidden or not (Singh and Lee 2017, https://arxiv.org/abs/1704.04232).

    A cell side is chosen from ``grid_sizes`` with equal chances, 0 leaves the sample alone; then
    each cell, counted from the top left corner, is hidden with probability ``hide_p``.

    Args:
        grid_sizes: sides of a cell in output pixels (the paper's choice is for 224-pixel images).
        hide_p: probability that a cell is hidden.
        fill: a number or (red, green, blue), in output units.
    """

    stage: ClassVar[int] = 2
    grid_sizes: tuple[int, ...] = (0, 16, 32, 44, 56)
    hide_p: float = 0.5
    fill: Fill = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.grid_sizes, Sequence) or not self.grid_sizes:
            raise TypeError(
                f"HideAndSeek grid_sizes must be a tuple of sides, "
                f"such as (0, 16, 32), not {self.grid_sizes!r}"
            )
        for side in self.grid_sizes:
            whole("HideAndSeek grid_sizes", side, 0, MAX_SIZE)
        number("HideAndSeek hide_p", self.hide_p, 0, 1)
        self._set(grid_sizes=tuple(self.grid_sizes), fill=colour("HideAndSeek fill", self.fill))


@dataclass(frozen=True)
class GridMask(Augmentation):
    """A regular grid of erased squares or stripes (Chen et al. 2020,
    https://arxiv.org/abs/2001.04086).

    A period d in [d[0], d[1]) and offsets in [0, d) are drawn; stripes of width l = ceil(d * ratio)
    (1 to d - 1) repeat every d pixels in both axes, on a canvas larger than the image, turned about
    the image's centre by a whole number of degrees in [0, rotate).

    mode 1 keeps the stripes and erases the (d - l)^2 squares between them: a share (1 - ratio)^2.
    mode 0 erases the stripes: 1 - (1 - ratio)^2. Note that DALI's ``grid_mask`` ratio is the
    erased side instead. Defaults are the paper's code; PaddleClas's recipe is mode 0, ratio 0.5,
    which erases 75 % of the image where the paper's erases 16 %.

    Args:
        d: range of the period in output pixels (for 224-pixel images), 2 <= d[0] < d[1].
        ratio: stripe width / period, in (0, 1).
        mode: 0 or 1, see above.
        rotate: degrees, 1 (no rotation) to 360.
        p: probability, after the ramp.
        ramp_epochs: the probability grows from 0 in epoch 0 to ``p`` in this epoch, linearly;
            0: no ramp.
        fill: a number or (red, green, blue), in output units.
    """

    stage: ClassVar[int] = 2
    d: tuple[int, int] = (96, 224)
    ratio: float = 0.6
    mode: Literal[0, 1] = 1
    rotate: int = 360
    p: float = 0.8
    ramp_epochs: float = 0
    fill: Fill = 0.0

    def __post_init__(self) -> None:
        low, high = interval("GridMask d", self.d, 1, MAX_SIZE)
        if not all(isinstance(v, int) for v in self.d) or low == high:
            raise ValueError(
                f"GridMask d must be two whole numbers (low, high) with low < high "
                f"(high is excluded), not {self.d!r}"
            )
        number("GridMask ratio", self.ratio, 0, 1, above=True)
        if self.ratio == 1:
            raise ValueError("GridMask ratio must be below 1: at 1 the stripes cover everything")
        one_of("GridMask mode", self.mode, (0, 1))
        whole("GridMask rotate", self.rotate, 1, 360)
        number("GridMask p", self.p, 0, 1)
        number("GridMask ramp_epochs", self.ramp_epochs, 0, math.inf)
        self._set(d=tuple(self.d), fill=colour("GridMask fill", self.fill))


@dataclass(frozen=True)
class MixUp(Augmentation):
    """Images and labels blended in pairs (Zhang et al. 2018, https://arxiv.org/abs/1710.09412).

    lam ~ Beta(alpha, alpha); x = lam * x + (1 - lam) * x', and labels likewise. Partners come from
    a random permutation of the batch, as in the paper (torchvision rolls by one, timm reverses;
    Kornia's lam is uniform and weighs the partner). Draws depend on (seed, epoch, batch).

    Args:
        alpha: above 0; the paper uses 0.1 to 0.4 on ImageNet.
        per: "batch": one lam; "pair": two samples are each other's partner and share a lam;
            "sample": a lam each.
        p: probability, applied per batch, pair or sample.
    """

    stage: ClassVar[int] = 3
    alpha: float
    per: Per = "batch"
    p: float = 1.0

    def __post_init__(self) -> None:
        check_mixing(self)


@dataclass(frozen=True)
class CutMix(Augmentation):
    """A box of the partner pasted in (Yun et al. 2019, https://arxiv.org/abs/1905.04899).

    lam ~ Beta(alpha, alpha); sides int(H * sqrt(1 - lam)) and int(W * sqrt(1 - lam)); the centre is
    uniform over the pixels; the box, centre -/+ side // 2, is clipped at the border and lam becomes
    1 - pasted area / image area exactly (Kornia corrects it only when asked to). Partners as in
    MixUp. Draws depend on (seed, epoch, batch).

    Args:
        alpha: above 0; 1.0 in the paper.
        per: as in MixUp.
        p: probability, applied per batch, pair or sample.
    """

    stage: ClassVar[int] = 3
    alpha: float
    per: Per = "batch"
    p: float = 1.0

    def __post_init__(self) -> None:
        check_mixing(self)


def check_mixing(mix: MixUp | CutMix) -> None:
    """MixUp and CutMix take the same arguments."""
    name = type(mix).__name__
    number(f"{name} alpha", mix.alpha, 0, math.inf, above=True)
    one_of(f"{name} per", mix.per, ("batch", "pair", "sample"))
    number(f"{name} p", mix.p, 0, 1)


@dataclass(frozen=True)
class OneOf(Augmentation):
    """Exactly one of its members each time: all masks, or all mixing.

    Args:
        members: two or more of Cutout, RandomErasing, HideAndSeek, GridMask; or of MixUp, CutMix.
        weights: chances of the members, in proportion; equal when not given.
        per: "sample" (the only choice for masks) or "batch". Mixing's default is "batch"; with
            "sample" a batch holds all kinds (timm's ``switch_prob`` with ``mode="elem"``).
    """

    members: Sequence[Augmentation]
    weights: Sequence[float] | None = None
    per: Literal["batch", "sample"] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.members, Sequence) or not self.members:
            raise TypeError(f"OneOf members must be a list of augmentations, not {self.members!r}")
        stages = {m.stage if isinstance(m, Augmentation) else None for m in self.members}
        if any(isinstance(m, OneOf) for m in self.members) or stages not in ({2}, {3}):
            raise ValueError(
                "OneOf members must be all masks (Cutout, RandomErasing, HideAndSeek, "
                f"GridMask) or all mixing (MixUp, CutMix), not {self.members!r}"
            )
        count = len(self.members)
        weights = self.weights if self.weights is not None else (1.0,) * count
        if len(weights) != count:
            raise ValueError(f"OneOf weights must be one for each of {count} members, not {weights!r}")
        if sum(number("OneOf weights", w, 0, math.inf) for w in weights) <= 0:
            raise ValueError(f"OneOf weights must not all be 0, as in {weights!r}")
        per = self.per or ("sample" if stages == {2} else "batch")
        one_of("OneOf per", per, ("sample",) if stages == {2} else ("batch", "sample"))
        self._set(members=tuple(self.members), weights=tuple(weights), per=per, stage=stages.pop())


@dataclass(frozen=True)
class Normalize(Augmentation):
    """(pixel / 255 - mean) / std for each channel. As torchvision's ``Normalize`` on [0, 1].

    Args:
        mean: three numbers.
        std: three numbers above 0.
    """

    stage: ClassVar[int] = 4
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        self._set(mean=colour("Normalize mean", self.mean), std=colour("Normalize std", self.std))
        for value in self.std:
            number("Normalize std", value, 0, math.inf, above=True)
