"""Maps of three lines, between places (x, y, 1): affine ones, and those of four points to four others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .base import Floats, Ints


def affine(
    angle: Floats,
    moved: tuple[Floats, Floats],
    scale: Floats,
    shear: tuple[Floats, Floats],
    centre: tuple[float, float] | None,
    sides: tuple[Ints, Ints],
) -> Floats:
    """Where an image that is sheared, scaled, turned and then shifted comes from; torchvision's
    ``_get_inverse_affine_matrix``, with angles in degrees."""
    turn, x, y = (np.radians(v) for v in (angle, *shear))
    a, b = np.cos(turn - y) / np.cos(y), -np.cos(turn - y) * np.tan(x) / np.cos(y) - np.sin(turn)
    c, d = np.sin(turn - y) / np.cos(y), -np.sin(turn - y) * np.tan(x) / np.cos(y) + np.cos(turn)
    out = np.zeros((len(angle), 3, 3))
    for row, line in enumerate(((d, -b), (-c, a))):
        out[:, row, 0], out[:, row, 1] = line[0] / scale, line[1] / scale
    at = (sides[1] / 2, sides[0] / 2) if centre is None else centre
    for row in range(2):
        first, second = at[0] + moved[0], at[1] + moved[1]
        out[:, row, 2] = at[row] - out[:, row, 0] * first - out[:, row, 1] * second
    out[:, 2, 2] = 1
    return out


def perspective(ends: Floats, starts: Floats) -> Floats:
    """Maps that take four points each to four others: float64 ``[n, 3, 3]``; where there is none, the one
    that changes nothing. By way of the unit square (Heckbert 1989, "Fundamentals of texture mapping").

    Args:
        ends: float64 ``[n, 4, 2]``, (x, y), round about.
        starts: likewise, what they come from.
    """
    to, out = _of_square(starts), _of_square(ends)
    back = np.stack(
        [np.cross(out[:, (k + 1) % 3], out[:, (k + 2) % 3]) for k in range(3)], 2
    )  # times a number
    with np.errstate(divide="ignore", invalid="ignore"):
        maps = to @ back
        maps = maps / np.abs(maps[:, 2]).max(1)[:, None, None]
        lost = ~(np.abs(maps).max((1, 2)) < 2.0**20)  # NaN as well
    maps[lost] = np.eye(3)
    return maps


def _of_square(points: Floats) -> Floats:
    """Maps from (0, 0), (1, 0), (1, 1), (0, 1) to four points each, times a number."""
    p0, p1, p2, p3 = np.moveaxis(points, 1, 0)
    one, two, rest = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
    det = np.cross(one, two)
    g, h = np.cross(rest, two), np.cross(one, rest)
    out = np.empty((len(points), 3, 3))
    for axis in range(2):
        out[:, axis, 0] = (p1 - p0)[:, axis] * det + g * p1[:, axis]
        out[:, axis, 1] = (p3 - p0)[:, axis] * det + h * p3[:, axis]
        out[:, axis, 2] = p0[:, axis] * det
    out[:, 2] = np.stack([g, h, det], 1)
    return out


def moved(x: Any, y: Any) -> Floats:
    """Matrices that add (x, y)."""
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    out = np.tile(np.eye(3), (*x.shape, 1, 1))
    out[..., 0, 2], out[..., 1, 2] = x, y
    return out


def mirrored(axis: int, which: npt.NDArray[np.bool_], side: Ints) -> Floats:
    """Matrices that mirror some of the rows along an axis, y or x."""
    out = np.tile(np.eye(3), (len(which), 1, 1))
    k = 1 - axis
    out[:, k, k], out[:, k, 2] = np.where(which, -1, 1), np.where(which, side, 0)
    return out
