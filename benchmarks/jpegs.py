"""JPEGs of every kind that the box decoder takes, and some that it refuses: for its tests and its fuzz."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

RATIOS = {
    "444": 0,
    "422": 1,
    "420": 2,
}  # simplejpeg's names, and Pillow's numbers; "440" is simplejpeg's alone


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth colours with hard edges and some noise: uint8 ``[height, width, 3]``."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width, 8)
    image = np.empty((height, width, 3))
    for c in range(3):
        a, b, d = rng.uniform(1, 9, 3)
        image[..., c] = (
            128 + 90 * np.sin(a * x + d) * np.cos(b * y) + 60 * ((x * a * 2 + y * b).astype(int) % 2)
        )
    image += rng.normal(0, rng.choice([0, 3, 40]), image.shape)
    return image.clip(0, 255).astype(np.uint8)


def encoded(
    image: np.ndarray,
    ratio: str = "420",
    quality: int = 90,
    *,
    gray: bool = False,
    rgb: bool = False,
    interval: int = 0,
    optimize: bool = False,
    orientation: int = 1,
    extended: bool = False,
    progressive: bool = False,
) -> bytes:
    """A JPEG.

    Args:
        image: uint8 ``[H, W, 3]``.
        ratio: chroma subsampling; "440" ignores what stands behind ``quality`` but for ``extended``.
        quality: 1 to 100.
        gray: one component.
        rgb: red, green and blue, with Adobe's marker.
        interval: MCUs between restart markers; 0: none.
        optimize: Huffman tables made for the image.
        orientation: EXIF's.
        extended: the frame calls itself extended sequential.
        progressive: a kind that the box decoder leaves to others.
    """
    if ratio == "440":
        import simplejpeg

        data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, colorsubsampling="440")
    else:
        buffer, options = io.BytesIO(), dict[str, Any]()
        if orientation != 1:
            exif = Image.Exif()
            exif[0x0112] = orientation
            options["exif"] = exif
        if rgb:
            options["keep_rgb"] = True
        elif not gray:
            options["subsampling"] = RATIOS[ratio]
        if interval:
            options["restart_marker_blocks"] = interval
        made = Image.fromarray(image)
        (made.convert("L") if gray else made).save(
            buffer, "JPEG", quality=quality, optimize=optimize, progressive=progressive, **options
        )
        data = buffer.getvalue()
    return data.replace(b"\xff\xc0\x00", b"\xff\xc1\x00", 1) if extended else data


def corpus(seed: int = 0, count: int = 400) -> Iterator[tuple[str, bytes]]:
    """Named JPEGs: sizes from 1 to 70, every kind, ``count`` of them."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        height, width = (int(v) for v in rng.integers(1, 71, 2))
        ratio = ("444", "422", "420", "440")[k % 4]
        kind = int(rng.integers(8))
        options: dict[str, Any] = {
            "quality": int(rng.choice([1, 5, 30, 75, 90, 97, 100])),
            "gray": kind == 0,
            "rgb": kind == 1,
            "interval": int(rng.choice([0, 0, 1, 2, 3, 7, 20])),
            "optimize": bool(rng.integers(2)),
            "orientation": int(rng.integers(1, 9)) if kind > 3 else 1,
            "extended": kind == 2,
        }
        name = f"{k}: {height}x{width} {ratio} {options}"
        yield name, encoded(picture(rng, height, width), ratio, **options)
