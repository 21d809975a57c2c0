"""Kinds of TIFF, as in ``kinds``."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import product

import numpy as np
from PIL import Image

from .corpus import encoded
from .kinds import ALPHA, GRAY, GRAY_ALPHA, RGB, RGBA, H, Kind, Pixels, W, as_rgb, levels, palette, xmp
from .written import packed, tiff

CMYK = np.dstack([RGB, ALPHA // 3])
_YCBCR = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
_16 = np.uint16(257)


def _wide(samples: Pixels, bits: int) -> np.ndarray:
    return (samples.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)


def _map(bits: int) -> tuple[int, ...]:
    return tuple(int(v) * 257 for v in palette(bits).T.ravel())


# Name → samples, bits, photometric interpretation, what they show, more tags.
SAMPLES: dict[str, tuple[np.ndarray, int, int, Pixels, dict[int, object]]] = {
    "gray 1": (levels(1), 1, 1, as_rgb(levels(1) * 255), {}),
    "gray 8": (GRAY, 8, 1, as_rgb(GRAY), {}),
    "gray 12": (_wide(GRAY, 12), 12, 1, as_rgb(GRAY), {}),
    "gray 16": (GRAY * _16, 16, 1, as_rgb(GRAY), {}),
    "white as 0, 1": (levels(1), 1, 0, as_rgb(255 - levels(1) * 255), {}),
    "white as 0, 8": (GRAY, 8, 0, as_rgb(255 - GRAY), {}),
    **{f"palette {b}": (levels(b), b, 3, palette(b)[levels(b)], {320: _map(b)}) for b in (1, 2, 4, 8)},
    "RGB 8": (RGB, 8, 2, RGB, {}),
    "RGB 10": (_wide(RGB, 10), 10, 2, RGB, {}),
    "RGB 16": (RGB * _16, 16, 2, RGB, {}),
    "RGBA 8": (RGBA, 8, 2, RGB, {338: 2}),
    "RGBA 16": (RGBA * _16, 16, 2, RGB, {338: 2}),
    "RGB and another": (RGBA, 8, 2, RGB, {338: 0}),
    "CMYK": (CMYK, 8, 5, np.asarray(Image.fromarray(CMYK, "CMYK").convert("RGB")), {}),
    "YCbCr": (_YCBCR, 8, 6, np.asarray(Image.fromarray(_YCBCR, "YCbCr").convert("RGB")), {530: (1, 1)}),
}
LAYOUTS = ((0, H), (0, 7), (0, 1), (64, 48), (32, 16), (64, 16))  # tile width or 0 for strips, and height
_TURNS = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 6: lambda a: np.rot90(a, -1)}


def _packbits(line: bytes) -> bytes:
    return b"".join(
        bytes([len(part) - 1]) + part for part in (line[k : k + 128] for k in range(0, len(line), 128))
    )


def _coded(samples: np.ndarray, bits: int, order: str, compression: int) -> bytes:
    if bits > 8 and bits % 8:
        steps = np.arange(bits - 1, -1, -1)
        rows = [
            np.packbits((line.ravel()[:, None] >> steps & 1).astype(np.uint8)).tobytes() for line in samples
        ]
    else:
        rows = packed(samples, bits, 1, order)
    if compression == 32773:
        return b"".join(map(_packbits, rows))
    return zlib.compress(b"".join(rows)) if compression == 8 else b"".join(rows)


def _written(
    name: str, order: str, big: bool, compression: int, layout: tuple[int, int], planar: bool, turn: int
) -> tuple[bytes, Pixels]:
    """A file, and what it shows."""
    samples, bits, photometric, right, more = SAMPLES[name]
    count = samples.shape[2] if samples.ndim == 3 else 1
    width, height = layout
    tags: dict[int, object] = {
        256: W,
        257: H,
        258: (bits,) * count,
        259: compression,
        262: photometric,
        274: turn,
        277: count,
        284: 1 + planar,
        **more,
    }
    tags |= {322: width, 323: height} if width else {278: height}
    parts = []
    for plane in [samples[..., k] for k in range(count)] if planar else [samples]:
        for y, x in product(range(0, H, height), range(0, W, width or W)):
            part = plane[y : y + height, x : x + (width or W)]
            if width:
                short = [(0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0)]
                part = np.pad(part, short[: part.ndim])
            parts.append(_coded(part, bits, order, compression))
    return tiff([tags], [parts], order=order, big=big), _TURNS[turn](right)


def _reason(name: str, compression: int, layout: tuple[int, int], planar: bool, turn: int) -> str:
    """DALI 2.4's verdict on a file of the grid, as measured."""
    bits, columns = SAMPLES[name][1], 0 < layout[0] < W
    if planar and (bits != 8 or name == "RGBA 8"):
        return "TIFF of separate planes"
    if turn > 1 and name in ("RGBA 8", "palette 2"):
        return "TIFF with alpha or a palette of 2 bits that is turned"
    if turn > 1 and layout[0] and bits <= 8 and (columns or bits < 8):
        return "tiled TIFF that is turned"
    fallback = columns and (planar or name in ("white as 0, 8", "YCbCr"))
    if compression == 1 and layout[0] and (name in ("gray 1", "white as 0, 1") or fallback):
        return "uncompressed tiled TIFF"
    return ""


def grid() -> Iterator[tuple[str, Kind]]:
    """Every kind of samples in every layout, packed or not, turned or not, in either order."""
    orders = (("<", False), (">", False), ("<", True), (">", True))
    cases = product(SAMPLES, orders, (1, 8, 32773), LAYOUTS, (False, True), _TURNS)
    for name, order, compression, layout, planar, turn in cases:
        if planar and (SAMPLES[name][0].ndim == 2 or name == "YCbCr"):
            continue
        if order != ("<", False) and (turn not in (1, 6) or compression == 32773):
            continue
        data, right = _written(name, *order, compression, layout, planar, turn)
        title = f"{name}, {order}, compression {compression}, {layout}, planar {planar}, turned {turn}"
        yield title, Kind(data, _reason(name, compression, layout, planar, turn), right)


def others() -> Iterator[tuple[str, Kind]]:
    """What the grid does not hold."""
    image = Image.fromarray(RGB)
    by_mode = {
        "1": ("group3", "group4", "packbits", "tiff_lzw"),
        "L": ("jpeg", "tiff_lzw"),
        "P": ("tiff_lzw",),
        "RGB": ("jpeg", "tiff_lzw", "tiff_adobe_deflate", "zstd"),
        "RGBA": ("tiff_lzw",),
        "CMYK": ("jpeg", "tiff_lzw"),
        "YCbCr": ("jpeg",),
    }
    for mode, codings in by_mode.items():
        for coding in codings:
            yield f"{mode} by {coding}", Kind(encoded(image.convert(mode), "TIFF", compression=coding))
    for coding in ("tiff_lzw", "tiff_adobe_deflate"):
        yield f"predictor, {coding}", Kind(encoded(image, "TIFF", compression=coding, tiffinfo={317: 2}))
    yield "LZMA", Kind(encoded(image, "TIFF", compression="lzma"), "TIFF of compression 34925")
    yield "1 bit by Pillow", Kind(encoded(image.convert("1"), "TIFF"), "TIFF without BitsPerSample")
    lab = Image.merge("LAB", image.split())
    yield "Lab", Kind(encoded(lab, "TIFF"), "TIFF of colour space 8")

    def made(samples: np.ndarray, bits: int, photometric: int, **more: object) -> bytes:
        count = samples.shape[2] if samples.ndim == 3 else 1
        tags: dict[int, object] = {
            256: W,
            257: H,
            258: (bits,) * count,
            259: 1,
            262: photometric,
            277: count,
            278: H,
        }
        tags |= {int(tag[1:]): value for tag, value in more.items()}
        return tiff([tags], [[_coded(samples, bits, "<", 1)]])

    alpha = "TIFF of gray, palette or CMYK with alpha"
    for extra in (0, 1, 2):
        yield f"gray and alpha {extra}", Kind(made(GRAY_ALPHA, 8, 1, t338=extra), alpha)
        yield f"palette and alpha {extra}", Kind(made(GRAY_ALPHA, 8, 3, t338=extra, t320=_map(8)), alpha)
    yield "RGB with associated alpha", Kind(made(RGBA, 8, 2, t338=1), "TIFF with associated alpha")
    signed = "TIFF of samples that are signed or no integers"
    yield "signed", Kind(made(GRAY // 2, 8, 1, t339=2), signed)
    yield "float", Kind(made(GRAY.astype(np.float32), 32, 1, t339=3), signed)
    for bits in (2, 4):
        why = f"{bits}-bit TIFF of colour space 1"
        right = as_rgb(levels(bits) * (255 // (2**bits - 1)))
        yield f"gray {bits}", Kind(made(levels(bits), bits, 1), why, right)
    yield "gray 32", Kind(made(GRAY.astype(np.uint32) * 16843009, 32, 1), "32-bit TIFF of colour space 1")
    white = made(GRAY * _16, 16, 0)
    yield "white as 0, 16 bits", Kind(white, "16-bit TIFF of colour space 0", as_rgb(255 - GRAY))
    yield "CMYK 16", Kind(made(CMYK * _16, 16, 5), "16/16/16/16-bit TIFF of colour space 5")
    yield "other inks", Kind(made(CMYK, 8, 5, t332=2), "TIFF of other inks")
    yield "reversed bits", Kind(made(GRAY, 8, 1, t266=2))
    yield "reversed bits, 1 bit", Kind(made(levels(1), 1, 1, t266=2))
    turned = "TIFF with its orientation in XMP"
    yield "XMP", Kind(made(RGB, 8, 2, t700=(1, xmp(6))), turned)
    yield "XMP that is overruled", Kind(made(RGB, 8, 2, t274=1, t700=(1, xmp(6))))
    why = "TIFF with an orientation that is no SHORT"
    yield "orientation of another type", Kind(made(RGB, 8, 2, t274=(5, struct.pack("<II", 6, 1))), why)
    first = {256: W, 257: H, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 278: H}
    yield "two pages", Kind(tiff([first, first], [[RGB.tobytes()], [(255 - RGB).tobytes()]]), right=RGB)
