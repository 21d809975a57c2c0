"""GridMask."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ..checks import MAX_SIZE, colour, interval, number, one_of, whole
from ..sampling.philox import Stream, integers
from .base import Augmentation, Draft, Fill, Sample, Stage, Step


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

    Example:
        >>> import fastaug
        >>> fastaug.GridMask((8, 32), ratio=0.5).mode
        1
    """

    d: tuple[int, int] = (96, 224)
    ratio: float = 0.6
    mode: Literal[0, 1] = 1
    rotate: int = 360
    p: float = 0.8
    ramp_epochs: float = 0
    fill: Fill = 0.0

    stage: ClassVar[Stage] = Stage.MASK
    stream: ClassVar[int | None] = Stream.GRID_MASK
    # d: period in pixels, 0: no GridMask; l: width of a stripe; y, x: offset of the stripes, in [0, d). Mode
    # 0 erases the stripes, 1 the squares between them. Rotation in 1/65536; inv = ceil(2^32 / d).
    columns: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("grid_d", "i4"),
            ("grid_l", "i4"),
            ("grid_y", "i4"),
            ("grid_x", "i4"),
            ("grid_mode", "i4"),
            ("grid_cos", "i4"),
            ("grid_sin", "i4"),
            ("grid_inv", "u4"),
            ("grid_fill", "f4", 3),
        ]
    )
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"grid_d": (0, MAX_SIZE)}
    heading: ClassVar[str] = "masks"
    once: ClassVar[bool] = True

    def _check(self) -> None:
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

    def draw(self, draft: Draft, step: Step) -> None:
        p = self.p * min(1.0, draft.epoch / self.ramp_epochs) if self.ramp_epochs else self.p
        u = draft.keys.uniforms(step.stream, 5)
        d = integers(u[1], *self.d)
        turn = np.radians(integers(u[4], 0, self.rotate))
        draft.fill(
            grid_d=np.where(u[0] < p, d, 0),
            grid_l=np.clip(np.ceil(d * self.ratio), 1, d - 1),
            grid_y=integers(u[2], 0, d),
            grid_x=integers(u[3], 0, d),
            grid_mode=self.mode,
            grid_fill=self.fill,
            grid_cos=np.rint(65536 * np.cos(turn)),
            grid_sin=np.rint(65536 * np.sin(turn)),
            grid_inv=-(-(1 << 32) // d),
        )

    @classmethod
    def describe(cls, sample: Sample) -> str:
        row = sample.row
        if not row["grid_d"]:
            return ""
        degrees = np.degrees(np.arctan2(row["grid_sin"], row["grid_cos"])) % 360
        return f"grid d={row['grid_d']} l={row['grid_l']} at {row['grid_y']},{row['grid_x']} {degrees:.0f}°"
