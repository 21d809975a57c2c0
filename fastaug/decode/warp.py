"""Filters, padding and turned crops by torch's operations, the portable second of kernels/warp.h."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..ops.base import INTERPOLATIONS
from ..ops.sheet import PADDING_MODES, REACH
from .jobs import Axis, axes_of

Array = npt.NDArray[np.float64]
_MOST = 1 << 22  # weights that are made together
_SMALL = 32.0  # pixels that a filter reaches, as kernels/warp.h has it
_TAPS = 129  # along an axis, of which a wider filter looks at every second, every third, ... pixel; likewise
_PARTS = 32  # of a pixel, to which places are rounded where all shapes are the same; likewise


def filter_at(x: Array, kind: str) -> Array:
    """Pillow's filters, x steps from the middle. "nearest" weighs as "bilinear"."""
    if kind == "box":
        return ((x > -0.5) & (x <= 0.5)).astype(np.float64)
    x = np.abs(x)
    if kind == "lanczos":
        return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)
    if kind == "hamming":
        return np.where(x < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0)
    if kind == "bicubic":  # Keys 1981, a = -0.5
        inner, outer = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
        return np.where(x < 1, inner, np.where(x < 2, outer, 0))
    return np.maximum(1 - x, 0)


def padded_from(k: npt.NDArray[np.int64], low: int, high: int, mode: str) -> npt.NDArray[np.int64]:
    """The places in [low, high) that padding repeats at k; "constant" as "edge"."""
    n, own = high - low, mode == "symmetric"
    if mode in ("constant", "edge") or n == 1:
        return np.clip(k, low, high - 1)
    period = 2 * n - 2 + 2 * own
    at = (k - low) % period
    return low + np.where(at < n, at, period - at - own)


def filling(fill: npt.NDArray[np.float32], like: torch.Tensor, *, rounded: bool) -> torch.Tensor:
    """A fill as a pixel: float32 ``[C]``; of images that are no bytes, as a share of white."""
    if rounded:
        return torch.from_numpy(np.floor(fill + np.float32(0.5))).to(like)
    colours = torch.from_numpy(fill / 255).to(like)
    return colours if like.shape[-1] == 3 else colours[:1].expand(like.shape[-1])


def warped(image: torch.Tensor, scaling: np.void, kind: str, mode: str, *, rounded: bool) -> torch.Tensor:
    """A turned crop, as kernels/warp.h describes it.

    Args:
        image: float32 ``[h, w, C]``, the box.
        scaling: of ``scale.SCALING``.
        kind: one of INTERPOLATIONS.
        mode: one of PADDING_MODES.
        rounded: whether pixels are bytes.

    Returns:
        float32 ``[height, width, C]``.
    """
    h, w, channels = image.shape
    height, width = int(scaling["height"]), int(scaling["width"])
    m = scaling["map"].reshape(3, 3).astype(np.float64)
    py, px = (v.ravel() + 0.5 for v in np.mgrid[:height, :width])
    over = m[2, 0] * px + m[2, 1] * py + m[2, 2]
    lost = np.abs(over) <= 1e-4
    over = np.where(lost, 1, over)
    x, y = ((m[k, 0] * px + m[k, 1] * py + m[k, 2]) / over for k in range(2))
    if not m[2, :2].any() and kind != "nearest":
        x, y = (np.floor(v * _PARTS + 0.5) / _PARTS for v in (x, y))
    slopes = [(m[k, j] - place * m[2, j]) / over for k, place in enumerate((x, y)) for j in range(2)]
    a, b, c, d = (np.broadcast_to(v, x.shape).astype(np.float64) for v in raised(*slopes))
    fill = filling(scaling["fill"], image, rounded=rounded)
    flat = torch.cat([image.reshape(-1, channels), fill[None]])  # the last is what lies outside
    frame = scaling["frame"].tolist()

    def pixels(j: npt.NDArray[np.int64], i: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Their numbers in ``flat``."""
        known = (j >= 0) & (j < h) & (i >= 0) & (i < w)
        if mode != "constant":
            known |= (j >= frame[0]) & (j < frame[2]) & (i >= frame[1]) & (i < frame[3])
        return np.where(known, padded_from(j, 0, h, mode) * w + padded_from(i, 0, w, mode), h * w)

    out = torch.empty(len(x), channels, dtype=torch.float32, device=image.device)
    nearest = pixels(np.floor(y).astype(np.int64), np.floor(x).astype(np.int64))
    nearest[lost] = h * w
    out[:] = flat[torch.from_numpy(nearest).to(image.device)]
    if kind != "nearest":
        reach = 0.5 if kind == "box" else float(REACH[INTERPOLATIONS.index(kind)])
        wide, tall = reach * (np.abs(a) + np.abs(b)), reach * (np.abs(c) + np.abs(d))
        inside = (y >= tall) & (y + tall <= h) & (x >= wide) & (x + wide <= w - 1)
        much = ~inside & (wide + tall > _SMALL)  # what lies outside is weighed at once
        first_j, last_j = _range(y, tall, much, frame[0], frame[2])
        first_i, last_i = _range(x, wide, much, frame[1], frame[3])
        down, across = (1 + (2 * v.clip(0, 1 << 40) / _TAPS).astype(np.int64) for v in (tall, wide))
        tall_j, wide_i = (last_j - first_j) // down + 1, (last_i - first_i) // across + 1
        side = np.maximum(tall_j, wide_i)  # the largest first, so that those together are much alike
        order = np.argsort(-side, kind="stable")
        order = order[(tall_j[order] > 0) & (wide_i[order] > 0) & ~lost[order]]
        while len(order):
            each = max(1, _MOST // int(side[order[0]]) ** 2)
            part, order = order[:each], order[each:]
            j = first_j[part, None, None] + down[part, None, None] * np.arange(tall_j[part].max())[:, None]
            i = first_i[part, None, None] + across[part, None, None] * np.arange(wide_i[part].max())
            y0, x0, a0, b0, c0, d0 = (v[part, None, None] for v in (y, x, a, b, c, d))
            dy, dx, det = j + 0.5 - y0, i + 0.5 - x0, a0 * d0 - b0 * c0
            weight = filter_at((d0 * dx - b0 * dy) / det, kind) * filter_at((a0 * dy - c0 * dx) / det, kind)
            weight *= (j <= last_j[part, None, None]) & (i <= last_i[part, None, None])
            area = np.abs(det[:, 0, 0]) / (down[part] * across[part])
            rest = np.where(much[part], area - weight.sum((1, 2)), 0).clip(0)
            total = weight.sum((1, 2)) + rest
            there = torch.from_numpy(pixels(j + 0 * i, i + 0 * j).reshape(len(part), -1)).to(image.device)
            good = total > 1e-6
            shares = (
                np.concatenate([weight.reshape(len(part), -1), rest[:, None]], 1)[good] / total[good, None]
            )
            there = torch.cat([there, torch.full_like(there[:, :1], h * w)], 1)[torch.from_numpy(good)]
            sums = torch.einsum("pt,ptc->pc", torch.from_numpy(shares).float().to(image.device), flat[there])
            out[torch.from_numpy(part[good]).to(image.device)] = sums
    out = out.reshape(height, width, channels)
    return out.clamp(0, 255).add(0.5).floor() if rounded else out


def nearest_places(view: np.void, box: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The pixel of a box that lies nearest to each of an output's: int64 ``[H, W]``, its number in the box,
    -1 where there is none.

    Args:
        view: of ``jobs.VIEW``.
        box: its (height, width).
        size: (height, width) of the output.
    """
    mode, frame, m = PADDING_MODES[view["padding_mode"]], view["frame"].tolist(), view["map"]
    if not view["warp"]:  # padding repeats pixels of the output
        axes = axes_of(view.reshape(1))
        (j, down), (i, over) = (
            _along(axis, box[k], size[k], (frame[k], frame[k + 2]), mode) for k, axis in enumerate(axes)
        )
        return np.where(down[:, None] & over, j[:, None] * box[1] + i, -1)
    top, left, bottom, right = frame
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    divisor = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    divisor = np.where(np.abs(divisor) > 1e-4, divisor, np.nan)
    j, i = (
        np.nan_to_num(np.floor((m[k, 0] * x + m[k, 1] * y + m[k, 2]) / divisor), nan=-1e9)
        .clip(-1e9, 1e9)
        .astype(np.int64)
        for k in (1, 0)
    )
    known = (j >= 0) & (j < box[0]) & (i >= 0) & (i < box[1])
    if mode != "constant":
        known |= (j >= top) & (j < bottom) & (i >= left) & (i < right)
    j, i = padded_from(j, 0, box[0], mode), padded_from(i, 0, box[1], mode)
    return np.where(known, j.clip(0, box[0] - 1) * box[1] + i.clip(0, box[1] - 1), -1)


def _along(
    axis: Axis, length: int, count: int, shown: tuple[int, int], mode: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The nearest pixels of a box along an axis, and which of them there are.

    Args:
        axis: of one upright view.
        length: of the box.
        count: pixels of the output.
        shown: (first, past) of those that are no padding, before they are mirrored.
        mode: of padding.
    """
    low, high = shown
    places = padded_from(np.arange(count), low, high, mode)
    there = nearest_along(places, max(low, 0), length, float(axis.start[0]), float(axis.step[0]))
    known = (np.arange(count) >= low) & (np.arange(count) < high) | (mode != "constant")
    return (there[::-1], known[::-1]) if axis.mirrored[0] else (there, known)


def nearest_along(
    places: npt.NDArray[np.int64], first: int, in_size: int, start: float, step: float
) -> npt.NDArray[np.int64]:
    """The nearest input pixels of output pixels ``places``, of which ``first`` is the least; see
    ``scale.weights``."""
    steps = np.full(int(places.max()) + 1 - first, step)
    steps[0] = start + (first + 0.5) * step  # summed up, as Pillow does: it decides ties
    return np.floor(np.cumsum(steps)[places - first]).astype(np.int64).clip(0, in_size - 1)


def _range(
    place: Array, reach: Array, much: npt.NDArray[np.bool_], low: int, high: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first and the last pixel of an axis that a place weighs; where it is much, within [low, high)."""
    far = np.float64(1 << 40)
    first = np.ceil((place - reach - 0.5).clip(-far, far)).astype(np.int64)
    last = np.floor((place + reach - 0.5).clip(-far, far)).astype(np.int64)
    return np.where(much, np.maximum(first, low), first), np.where(much, np.minimum(last, high - 1), last)


def raised(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    """The slopes of a map, its main axes no shorter than 1."""
    matrix = np.stack([np.stack(np.broadcast_arrays(a, b), -1), np.stack(np.broadcast_arrays(c, d), -1)], -2)
    u, s, v = np.linalg.svd(matrix)
    flat = (s[..., 1] ** 2 <= 1e-9 * s[..., 0] ** 2) | (s[..., 1] ** 2 <= 1e-12)
    out = u @ (np.maximum(s, 1)[..., None] * v)
    p, q = (np.maximum(1, np.sqrt((matrix[..., k, :] ** 2).sum(-1))) for k in range(2))
    zero = np.zeros_like(p)
    return (
        np.where(flat, p, out[..., 0, 0]),
        np.where(flat, zero, out[..., 0, 1]),
        np.where(flat, zero, out[..., 1, 0]),
        np.where(flat, q, out[..., 1, 1]),
    )
