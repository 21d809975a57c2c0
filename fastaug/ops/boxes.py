"""Random boxes of images, for many at once."""

from __future__ import annotations

import numpy as np

from ..sampling.philox import Keys, integers
from .base import Ints

Pair = tuple[float, float]
TRIES = 10  # boxes drawn before the fallback


def random_box(
    scale: Pair, ratio: Pair, keys: Keys, stream: int, height: Ints, width: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """RandomResizedCrop's boxes (y0, x0, h, w): torchvision's ``get_params``, vectorised."""
    y0, x0, h, w = fallback_box(ratio, height, width)
    todo = np.arange(len(height))
    for attempt in range(TRIES):
        if not todo.size:
            break
        u = keys[todo].uniforms(stream, 4, attempt)
        tall, wide = height[todo], width[todo]
        area = tall * wide * (scale[0] + u[0] * (scale[1] - scale[0]))
        low, high = np.log(ratio)
        aspect = np.exp(low + u[1] * (high - low))
        try_w = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        try_h = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (try_w > 0) & (try_w <= wide) & (try_h > 0) & (try_h <= tall)
        done = todo[fits]
        h[done], w[done] = try_h[fits], try_w[fits]
        y0[done] = integers(u[2][fits], 0, height[done] - h[done] + 1)
        x0[done] = integers(u[3][fits], 0, width[done] - w[done] + 1)
        todo = todo[~fits]
    return y0, x0, h, w


def fallback_box(ratio: Pair, height: Ints, width: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """The largest centred box whose ratio (width / height) is the nearest allowed one."""
    shape = width / height
    w = np.where(shape > ratio[1], np.rint(height * ratio[1]), width).astype(np.int64)
    h = np.where(shape < ratio[0], np.rint(width / ratio[0]), height).astype(np.int64)
    h, w = np.clip(h, 1, height), np.clip(w, 1, width)
    return (height - h) // 2, (width - w) // 2, h, w
