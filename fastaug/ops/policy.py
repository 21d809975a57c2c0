"""What all policies share: the operations that they add to a plan, and the magnitudes of these.

They work on uint8 pixels after cropping and scaling, before masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from ..checks import colour, one_of
from ..sampling.philox import Stream
from .base import Augmentation, Draft, Floats, Ints, Stage, interpolation_name

Colour = float | tuple[float, float, float] | None
Entry = tuple[str, float, float | int | None]

MAX_CHAINS, MAX_BLUR = 4, 12  # AugMix's chains; blur's weights from the middle outwards
_UNIT = 2.0**32  # of the maps

# One operation on one sample. Up to Equalize a pixel's colour depends on itself and on the whole image.
# value: a factor, a threshold, a mask (kernels/policy.h); rest: 1 - factor. Geometry: fill, 0 to 255, with
# filled 0 for nothing but black outside the image, blended as torchvision's fill=None; map, in 2^-32 pixel:
# x = map[0] + map[1] * y + map[2] * x, y likewise, both divided by 1 + tilt[0] * y + tilt[1] * x. Cutout: y0
# to x1: Cutout's square. Blur: half = kernel_size // 2,
# weight from the middle outwards. chain: AugMix's that it belongs to.
OP = np.dtype(
    [
        ("kind", "i4"),
        ("chain", "i4"),
        ("value", "f4"),
        ("rest", "f4"),
        ("fill", "f4", 3),
        ("filled", "i4"),
        ("map", "i8", 6),
        ("y0", "i4"),
        ("x0", "i4"),
        ("y1", "i4"),
        ("x1", "i4"),
        ("half", "i4"),
        ("weight", "f4", MAX_BLUR),
        ("tilt", "f4", 2),
    ],
    align=True,
)
OP_KINDS = (
    "Identity",
    "Brightness",
    "Contrast",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Invert",
    "AutoContrast",
    "Equalize",
    "Color",
    "Hue",
    "Cutout",
    "Sharpness",
    "Blur",
    "Nearest",
    "Bilinear",
    "Permute",
)

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


@dataclass(frozen=True)
class PolicyOp(Augmentation):
    """Base of what works on uint8 pixels between geometry and masks, for each sample by itself.

    Operations, magnitudes and defaults are torchvision's (``torchvision.transforms.v2``); ``fill`` None
    leaves black outside a turned or shifted image, as there.
    """

    stage: ClassVar[Stage] = Stage.POLICY
    stream: ClassVar[int | None] = Stream.POLICY
    # n_ops: operations, carried out before masks and mixing. chains: AugMix's, 0: one operation after
    # another. chain_weight: of the image itself, of each chain's result.
    columns: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("first_op", "i4"),
            ("n_ops", "i4"),
            ("chains", "i4"),
            ("chain_weight", "f4", 1 + MAX_CHAINS),
        ]
    )
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"chains": (0, MAX_CHAINS)}
    table: ClassVar[str] = "ops"
    heading: ClassVar[str] = "policy"
    interpolation: str = field(default="nearest", kw_only=True)
    fill: Colour = field(default=None, kw_only=True)

    def _check(self) -> None:
        name = type(self).__name__
        self._set(interpolation=interpolation_name(name, self.interpolation))
        one_of(f"{name} interpolation", self.interpolation, ("nearest", "bilinear"))
        if self.fill is not None:
            self._set(fill=colour(f"{name} fill", self.fill))

    @property
    def most(self) -> int:
        return 1


class Writer:
    """Adds operations to the rows of a draft."""

    def __init__(self, op: PolicyOp, draft: Draft) -> None:
        self._draft, self.size = draft, draft.size
        self._turn, self._fill = op.interpolation.capitalize(), op.fill
        self.chain = 0

    def add(self, name: str, which: Ints, magnitude: Floats) -> None:
        """Operation ``name``, as a policy means it, with a magnitude for each of the rows ``which``."""
        if not which.size or name == "Identity":
            return
        height, width = self.size
        m, zero, one = magnitude, np.zeros(len(which)), np.ones(len(which))
        # The lines give (x_by_x, x_by_y, x, y_by_x, y_by_y, y) about the image's centre.
        if name == "ShearX":
            self._geometry(which, one, m, m * height / 2, zero, one, zero)
        elif name == "ShearY":
            self._geometry(which, one, zero, zero, m, one, m * width / 2)
        elif name == "TranslateX":
            self._geometry(which, one, zero, -np.trunc(m), zero, one, zero)
        elif name == "TranslateY":
            self._geometry(which, one, zero, zero, zero, one, -np.trunc(m))
        elif name == "Rotate":
            turn = np.radians(m)
            self._geometry(which, np.cos(turn), -np.sin(turn), zero, np.sin(turn), np.cos(turn), zero)
        elif name in ("Brightness", "Color", "Contrast", "Sharpness"):
            self.factor(name, which, 1.0 + m)
        elif name == "Posterize":
            bits = np.trunc(m).astype(np.int64)
            self.put("Posterize", which, value=np.where(bits >= 8, 255, (255 << (8 - bits)) & 255))
        elif name == "Solarize":
            self.put("Solarize", which, value=255 * m)
        elif name == "SolarizeAdd":
            self.put("SolarizeAdd", which, value=m)
        else:
            assert name in PLAIN
            self.put(name, which)

    def shift(self, which: Ints, pixels: Floats, across: bool) -> None:
        """A translation by parts of a pixel too."""
        zero, one = np.zeros(len(which)), np.ones(len(which))
        along, down = (-pixels, zero) if across else (zero, -pixels)
        self._geometry(which, one, zero, along, zero, one, down)

    def factor(self, name: str, which: Ints, value: Floats) -> None:
        """Blends with a gray, mean or smooth image: own * value + other * (1 - value)."""
        self.put(name, which, value=value, rest=1.0 - value)

    def square(self, which: Ints, side: Floats, cy: Ints, cx: Ints) -> None:
        """Cutout's gray square about (cy, cx), clipped at the border."""
        half = (np.trunc(side) / 2).astype(np.int64)
        height, width = self.size
        self.put(
            "Cutout",
            which,
            fill=np.full((len(which), 3), 128.0),
            y0=np.clip(cy - half, 0, height),
            x0=np.clip(cx - half, 0, width),
            y1=np.clip(cy + half, 0, height),
            x1=np.clip(cx + half, 0, width),
            value=side,
        )

    def put(self, kind: str, which: Ints, **fields: Any) -> None:
        """The next operation of the rows ``which``."""
        self._draft.add("ops", which, kind=OP_KINDS.index(kind), chain=self.chain, **fields)

    def _geometry(self, which: Ints, *matrix: Floats) -> None:
        """Source positions from output positions; ``matrix`` is about the image's centre."""
        xx, xy, x, yx, yy, y = matrix
        height, width = self.size
        cx, cy = (width - 1) / 2, (height - 1) / 2
        lines = np.stack([x + cx - xx * cx - xy * cy, xy, xx, y + cy - yx * cx - yy * cy, yy, yx], 1)
        self.turn(which, lines)

    def turn(self, which: Ints, lines: Floats, tilt: Any = 0) -> None:
        """Source positions from output positions, between pixels' middles.

        Args:
            which: the rows.
            lines: float64 ``[len(which), 6]``, as OP's map, in pixels.
            tilt: as OP's.
        """
        fill = np.zeros(3) if self._fill is None else np.asarray(self._fill, np.float64)
        self.put(
            self._turn,
            which,
            map=np.rint(lines * _UNIT).astype(np.int64),
            tilt=tilt,
            fill=fill,
            filled=self._fill is not None,
        )


def signed(name: str, magnitude: Floats, u: Floats) -> Floats:
    """A magnitude, negated for half of the samples where the operation has a sign."""
    return np.where(u <= 0.5, -magnitude, magnitude) if name in SIGNED else magnitude


def describe_op(op: np.void) -> str:
    """An operation with its number, or the step that a geometry's lines take."""
    kind = OP_KINDS[op["kind"]]
    if kind in ("Nearest", "Bilinear"):
        (shift_x, x_by_y, x_by_x), (shift_y, y_by_y, y_by_x) = op["map"].reshape(2, 3) / 2**32
        return f"turn x={shift_x:.1f}{x_by_y:+.3f}y{x_by_x:+.3f}x y={shift_y:.1f}{y_by_y:+.3f}y{y_by_x:+.3f}x"
    if kind in ("Identity", "Invert", "AutoContrast", "Equalize"):
        return kind
    return f"{kind} {2 * op['half'] + 1}px" if kind == "Blur" else f"{kind} {op['value']:.3g}"
