"""Turns: rotation, affine and perspective maps, right angles.

Behind the last crop they work on its uint8 pixels, as torchvision does. Before it they become one map with
it: the image is read once, by the crop's filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..checks import colour, interval, number, one_of, whole
from ..sampling.philox import Keys, integers
from .base import Draft, Floats, Ints, Step
from .flip import FLIP_AXES
from .maps import affine, mirrored, moved, perspective
from .policy import Colour, PolicyOp, Writer
from .sheet import Sheet

Sources = tuple[Floats, list[Ints] | None]
_NEAR = 1e-3  # of a divisor that is 1 where a turn draws nothing out


@dataclass(frozen=True)
class Turn(PolicyOp):
    """Base of what moves pixels by a map of three lines: where each place in the output comes from."""

    fill: Colour = field(default=0, kw_only=True)
    p: float = field(default=1.0, kw_only=True)

    def _check(self) -> None:
        super()._check()
        name = type(self).__name__
        number(f"{name} p", self.p, 0, 1)
        if self.fill is not None:
            colour(f"{name} fill", self.fill, 0, 255)

    def maps(self, u: Floats, height: Ints, width: Ints) -> Sources:
        """float64 ``[n, 3, 3]``, from (x, y, 1) in the output to the image, in pixels from the corner; and
        the output's (height, width), where it is another.

        Args:
            u: float64 ``[8, n]``, uniforms.
            height: of the images.
            width: likewise.
        """
        raise NotImplementedError

    def sources(self, keys: Keys, stream: int, height: Ints, width: Ints) -> Sources:
        """What ``maps`` says, for the samples that are touched; for others nothing changes."""
        u = keys.uniforms(stream, 9)
        maps, sides = self.maps(u, height, width)
        if self.p < 1:
            left = u[8] >= self.p
            maps[left] = np.eye(3)
            if sides is not None:
                sides = [np.where(left, old, new) for old, new in zip((height, width), sides, strict=True)]
        return maps, sides

    def least(self, height: Ints, width: Ints) -> list[Ints] | None:
        """The smallest (height, width) that may come out; None: what went in."""
        return None

    def draw(self, draft: Draft, step: Step) -> None:
        height, width = (np.full(len(draft), side) for side in draft.size)
        maps, _ = self.sources(draft.keys, step.stream, height, width)
        rows = draft.rows[draft.which]
        for column in step.later:  # flips behind it, which are carried out before it
            axis = FLIP_AXES[column]
            mirror = mirrored(axis, rows[column] == 1, (height, width)[axis])
            maps = mirror @ maps @ mirror
        which = np.flatnonzero((maps != np.eye(3)).any((1, 2)))
        middles = moved(-0.5, -0.5) @ maps[which] @ moved(0.5, 0.5)  # between pixels' middles
        corner = middles[:, 2:, 2:]  # the first pixel's divisor becomes 1: its horizon may not pass there
        middles = middles / np.where(np.abs(corner) < _NEAR, np.copysign(_NEAR, corner), corner)
        middles[:, 2, 2] = 1
        Writer(self, draft).turn(which, middles[:, :2, ::-1].reshape(-1, 6), middles[:, 2, 1::-1])


@dataclass(frozen=True)
class RandomRotation(Turn):
    """Turned about its middle. As torchvision's ``RandomRotation``.

    Args:
        degrees: d for [-d, d], or (low, high); counterclockwise.
        expand: whether the image grows so that all of it is seen; before a crop only.
        center: (x, y) about which it turns, in pixels; None: the middle.
        interpolation: "nearest" or "bilinear"; before a crop that scales, that one's filter is used.
        fill: 0 to 255, outside the image.
        p: probability.

    Example:
        >>> import fastaug
        >>> fastaug.RandomRotation(15).degrees
        (-15.0, 15.0)
    """

    degrees: float | tuple[float, float]
    expand: bool = False
    center: tuple[float, float] | None = None

    stream: ClassVar[int | None] = 0x90

    def _check(self) -> None:
        super()._check()
        self._set(degrees=_spread("RandomRotation degrees", self.degrees), center=_centre(self))
        one_of("RandomRotation expand", self.expand, (False, True))

    def check_size(self, size: tuple[int, int]) -> None:
        if self.expand:
            raise ValueError(
                "RandomRotation(expand=True) changes the images' size, so it needs a crop behind it that "
                "brings them to one"
            )

    def least(self, height: Ints, width: Ints) -> list[Ints] | None:
        return [height, width] if self.expand else None

    def maps(self, u: Floats, height: Ints, width: Ints) -> Sources:
        low, high = self.degrees  # type: ignore[misc]
        n = len(height)
        angle, none = low + (high - low) * u[0], np.zeros(n)
        maps = affine(-angle, (none, none), np.ones(n), (none, none), self.center, (height, width))
        if not self.expand:
            return maps, None
        corner = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])
        points = corner[None] * np.stack([width, height], 1)[:, None]
        seen = points @ maps[:, :2, :2].transpose(0, 2, 1)
        most = np.ceil(np.trunc(seen.max(1) * 1e4) / 1e4)  # as torchvision: ten-thousandths are cut off
        least = np.floor(np.trunc(seen.min(1) * 1e4) / 1e4)
        wide, tall = (most - least).astype(np.int64).T
        return maps @ moved((width - wide) / 2, (height - tall) / 2), [tall, wide]


@dataclass(frozen=True)
class RandomAffine(Turn):
    """Turned, shifted, scaled and sheared about its middle. As torchvision's ``RandomAffine``.

    Args:
        degrees: d for [-d, d], or (low, high).
        translate: (across, down), shares of the image's sides in [0, 1] that it is shifted by at most, in
            whole pixels; None: not at all.
        scale: (low, high), above 0; None: not at all.
        shear: s for [-s, s] degrees across, (low, high), or four numbers, across and down; None: not at all.
        center: (x, y) in pixels; None: the middle.
        interpolation: as RandomRotation's.
        fill: 0 to 255, outside the image.
        p: probability.

    Example:
        >>> import fastaug
        >>> fastaug.RandomAffine(0, translate=(0.1, 0.1)).translate
        (0.1, 0.1)
    """

    degrees: float | tuple[float, float]
    translate: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    shear: float | Sequence[float] | None = None
    center: tuple[float, float] | None = None

    stream: ClassVar[int | None] = 0x98

    def _check(self) -> None:
        super()._check()
        self._set(degrees=_spread("RandomAffine degrees", self.degrees), center=_centre(self))
        if self.translate is not None:
            x, y = (number("RandomAffine translate", v, 0, 1) for v in self.translate)
            self._set(translate=(x, y))
        if self.scale is not None:
            self._set(scale=interval("RandomAffine scale", self.scale, 0.01, 100))
        if self.shear is not None:
            given = self.shear if isinstance(self.shear, Sequence) else (-self.shear, self.shear)
            if len(given) not in (2, 4):
                raise ValueError(f"RandomAffine shear must be one number, two or four, not {self.shear!r}")
            self._set(shear=tuple(number("RandomAffine shear", v, -89, 89) for v in given))

    def maps(self, u: Floats, height: Ints, width: Ints) -> Sources:
        def between(pair: tuple[float, float], k: int) -> Floats:
            return pair[0] + (pair[1] - pair[0]) * u[k]

        none = np.zeros(len(height))
        shifts = [none, none]
        if self.translate is not None:
            for k, side in enumerate((width, height)):
                shifts[k] = np.rint(between((-1, 1), 1 + k) * (self.translate[k] * side))
        scale = none + 1 if self.scale is None else between(self.scale, 3)
        shear: Any = self.shear or (0.0, 0.0)
        across, down = between(shear[:2], 4), between(shear[2:], 5) if len(shear) == 4 else none
        angle = between(self.degrees, 0)  # type: ignore[arg-type]
        return affine(
            angle, (shifts[0], shifts[1]), scale, (across, down), self.center, (height, width)
        ), None


@dataclass(frozen=True)
class RandomPerspective(Turn):
    """Seen from the side. As torchvision's ``RandomPerspective``.

    Args:
        distortion_scale: how far corners go inwards at most, as a share of half the sides, 0 to 1.
        p: probability.
        interpolation: as RandomRotation's.
        fill: 0 to 255, outside the image.

    Example:
        >>> import fastaug
        >>> fastaug.RandomPerspective(0.3).p
        0.5
    """

    distortion_scale: float = 0.5
    p: float = field(default=0.5, kw_only=True)
    interpolation: str = field(default="bilinear", kw_only=True)

    stream: ClassVar[int | None] = 0xA0

    def _check(self) -> None:
        super()._check()
        number("RandomPerspective distortion_scale", self.distortion_scale, 0, 1)

    def maps(self, u: Floats, height: Ints, width: Ints) -> Sources:
        far = [(self.distortion_scale * (side // 2)).astype(np.int64) for side in (width, height)]

        def corner(k: int, axis: int, side: Ints) -> Floats:
            """Of the corner (x or y): how far inwards, uniform, from the low end or the high one."""
            late = k in ((1, 2), (2, 3))[axis]
            low = side - far[axis] - 1 if late else np.zeros_like(side)
            high = side if late else far[axis] + 1
            return integers(u[2 * k + axis], low, high).astype(np.float64)

        ends = np.stack([np.stack([corner(k, 0, width), corner(k, 1, height)], 1) for k in range(4)], 1)
        zero, right, under = np.zeros(len(width)), width - 1.0, height - 1.0
        starts = np.stack(
            [np.stack(p, 1) for p in ((zero, zero), (right, zero), (right, under), (zero, under))], 1
        )
        return perspective(ends, starts), None


@dataclass(frozen=True)
class RandomRotation90(Turn):
    """Turned by a multiple of 90 degrees, exactly; counterclockwise. As Kornia's ``RandomRotation90``.

    Args:
        times: (low, high), how many right angles, -3 to 3, both ends included.
        p: probability.

    Example:
        >>> import fastaug
        >>> fastaug.RandomRotation90().times
        (0, 3)
    """

    times: tuple[int, int] = (0, 3)

    stream: ClassVar[int | None] = 0xA8

    def _check(self) -> None:
        super()._check()
        low, high = (whole("RandomRotation90 times", v, -3, 3) for v in self.times)
        if low > high:
            raise ValueError(f"RandomRotation90 times must be (low, high), not {self.times!r}")
        self._set(times=(low, high))

    def check_size(self, size: tuple[int, int]) -> None:
        if size[0] != size[1]:
            raise ValueError(
                f"RandomRotation90 turns images of {size[0]}x{size[1]} pixels out of their size; make them "
                "square, or put it before the crop"
            )

    def least(self, height: Ints, width: Ints) -> list[Ints] | None:
        return [np.minimum(height, width)] * 2

    def maps(self, u: Floats, height: Ints, width: Ints) -> Sources:
        turns = integers(u[0], self.times[0], self.times[1] + 1) % 4
        maps = np.zeros((len(turns), 3, 3))
        for k, lines in enumerate((("x", "y"), ("w-y", "x"), ("w-x", "h-y"), ("y", "h-x"))):
            which = turns == k
            for line, said in enumerate(lines):
                maps[which, line, "xy".index(said[-1])] = -1 if "-" in said else 1
                if "-" in said:
                    maps[which, line, 2] = (width if said[0] == "w" else height)[which]
        maps[:, 2, 2] = 1
        odd = turns % 2 == 1
        return maps, [np.where(odd, width, height), np.where(odd, height, width)]


def _spread(where: str, value: object) -> tuple[float, float]:
    """d as (-d, d)."""
    if isinstance(value, Sequence):
        if len(value) != 2 or value[0] > value[1]:
            raise ValueError(f"{where} must be a number or (low, high), not {value!r}")
        low, high = (number(where, v, -3600, 3600) for v in value)
        return low, high
    most = number(where, value, 0, 3600)
    return -most, most


def _centre(op: Any) -> tuple[float, float] | None:
    if op.center is None:
        return None
    x, y = (number(f"{type(op).__name__} center", v, -(2**20), 2**20) for v in op.center)
    return x, y


def is_turn(op: Any) -> bool:
    """Whether it is a turn, or a choice among turns."""
    members = getattr(op, "members", ())
    return isinstance(op, Turn) or (bool(members) and all(map(is_turn, members)))


def turn(step: Step, sheet: Sheet, keys: Keys | None) -> None:
    """Before a crop: does to a sheet what a turn, or a choice among turns, does to images.

    Args:
        step: the turn.
        sheet: the images.
        keys: of the samples; None: by the choice that leaves the smallest image.
    """
    turns = list(turns_of(step.op))
    fill = colour("fill", turns[0].fill or 0)
    for op in turns:
        if (other := colour("fill", op.fill or 0)) != fill:
            raise ValueError(f"its members fill with {fill} and with {other}; give all the same fill")
    height, width = sheet.sides
    if keys is None:
        least = [sides for op in turns if (sides := op.least(height, width)) is not None]
        sides = [np.minimum.reduce([s[k] for s in least]) for k in range(2)] if least else None
        sheet.warp(np.tile(np.eye(3), (len(height), 1, 1)), sides, fill)
        return
    sheet.warp(*_sources(step, keys, height, width), fill)


def turns_of(op: Any) -> Iterator[Turn]:
    """The turns that it is made of, at any depth."""
    if isinstance(op, Turn):
        yield op
    for member in getattr(op, "members", ()):
        yield from turns_of(member)


def _sources(step: Step, keys: Keys, height: Ints, width: Ints) -> Sources:
    if isinstance(step.op, Turn):
        return step.op.sources(keys, step.stream, height, width)
    maps, sides = np.tile(np.eye(3), (len(height), 1, 1)), [height, width]
    changed = False
    for member, which in step.op.shares(step, keys):  # type: ignore[attr-defined]
        own, new = _sources(member, keys[which], sides[0][which], sides[1][which])
        maps[which] = maps[which] @ own
        if new is not None:
            changed = True
            for k in range(2):
                sides[k] = sides[k].copy()
                sides[k][which] = new[k]
    return maps, sides if changed else None
