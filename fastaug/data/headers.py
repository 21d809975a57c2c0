"""What an encoded image's header says: its kind and its size, or why it is not decoded.

Sizes are after EXIF orientation, as the decoders deliver images. Numbers in a file are not trusted: any bytes
are accepted, and time is linear in their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .formats import PNM, jpeg_parts, png_parts, unsupported, webp_parts
from .formats_tiff import HEIGHT, ORIENTATION, WIDTH, tags_of
from .guards import dangerous
from .orientation import agreed
from .source import Kind

_LARGEST = (1 << 31) - 1  # a side that no decoder accepts


class Header(NamedTuple):
    """What a header says.

    Attributes:
        kind: by the first bytes.
        height: pixels; 0 where the image cannot be used.
        width: the same.
        reason: why it cannot be used; "" when it can.
    """

    kind: Kind
    height: int = 0
    width: int = 0
    reason: str = ""


_STARTS = {
    b"\xff\xd8": Kind.JPEG,
    b"\x89PNG": Kind.PNG,
    b"RIFF": Kind.WEBP,
    b"BM": Kind.BMP,
    b"II": Kind.TIFF,
    b"MM": Kind.TIFF,
    b"P": Kind.PNM,
    b"\0\0\0\x0cjP": Kind.JPEG_2000,
    b"\xff\x4f\xff\x51": Kind.JPEG_2000,
}


def kind_of(image: npt.NDArray[np.uint8]) -> Kind:
    """What an encoded image (uint8) is, by its first bytes.

    Example:
        >>> kind_of(np.frombuffer(b"BM6000", np.uint8)).name
        'BMP'
    """
    start = image[:8].tobytes()
    return next((kind for first, kind in _STARTS.items() if start.startswith(first)), Kind.UNKNOWN)


def read_header(image: npt.NDArray[np.uint8]) -> Header:
    """The header of an encoded image (uint8; of a JPEG its beginning is enough)."""
    kind = kind_of(image)
    if not len(image):
        return Header(kind, reason="empty")
    if reason := unsupported(image) or dangerous(image):
        return Header(kind, reason=reason)
    size = _SIZES[kind](np.ascontiguousarray(image).data) if kind in _SIZES else (0, 0)
    if not all(0 < side <= _LARGEST for side in size):
        return Header(kind, reason="no readable image header")
    return Header(kind, *size)


def _little(data: memoryview, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")  # of what is there; slices do not raise


def _big(data: memoryview, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _turned(height: int, width: int, orientation: int | None) -> tuple[int, int]:
    return (width, height) if orientation is not None and orientation >= 5 else (height, width)


def _jpeg(data: memoryview) -> tuple[int, int]:
    parts = jpeg_parts(data)
    if parts.frame < 0 or not parts.scan:
        return 0, 0
    return _turned(
        _big(data, parts.frame + 5, 2), _big(data, parts.frame + 7, 2), agreed(parts.exif, parts.xmp)
    )


def _png(data: memoryview) -> tuple[int, int]:
    if bytes(data[12:16]) != b"IHDR":
        return 0, 0
    parts = png_parts(data)
    return _turned(_big(data, 20, 4), _big(data, 16, 4), agreed(parts.exif, parts.xmp))


def _webp(data: memoryview) -> tuple[int, int]:
    chunk = bytes(data[12:16])
    if chunk == b"VP8 ":
        found = bytes(data[23:26]) == b"\x9d\x01\x2a"
        return (_little(data, 28, 2) & 0x3FFF, _little(data, 26, 2) & 0x3FFF) if found else (0, 0)
    if chunk == b"VP8L":
        bits = _little(data, 21, 4)
        found = bytes(data[20:21]) == b"\x2f" and len(data) >= 25
        return ((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1) if found else (0, 0)
    if chunk != b"VP8X" or len(data) < 30:
        return 0, 0
    parts = webp_parts(data)
    return _turned(_little(data, 27, 3) + 1, _little(data, 24, 3) + 1, agreed(parts.exif, parts.xmp))


def _bmp(data: memoryview) -> tuple[int, int]:
    if _little(data, 14, 4) < 40:  # of OS/2
        return _little(data, 20, 2), _little(data, 18, 2)
    height = int.from_bytes(data[22:26], "little", signed=True)  # below 0: lines from the top
    return abs(height), int.from_bytes(data[18:22], "little", signed=True)


def _tiff(data: memoryview) -> tuple[int, int]:
    tags, _, _ = tags_of(data)
    height, width, orientation = ((tags.get(tag) or (0,))[0] for tag in (HEIGHT, WIDTH, ORIENTATION))
    return _turned(height, width, orientation if orientation <= 8 else 1)


def _pnm(data: memoryview) -> tuple[int, int]:
    found = PNM.match(data)
    if found is None or max(len(found[1]), len(found[2])) > 10:
        return 0, 0
    return int(found[2]), int(found[1])


def _jpeg_2000(data: memoryview) -> tuple[int, int]:
    at = bytes(data).find(b"\xff\x4f\xff\x51")
    if at < 0:
        return 0, 0
    right, bottom, left, top = (_big(data, at + 8 + 4 * k, 4) for k in range(4))
    return bottom - top, right - left


_SIZES: dict[Kind, Callable[[memoryview], tuple[int, int]]] = {
    Kind.JPEG: _jpeg,
    Kind.PNG: _png,
    Kind.WEBP: _webp,
    Kind.BMP: _bmp,
    Kind.TIFF: _tiff,
    Kind.PNM: _pnm,
    Kind.JPEG_2000: _jpeg_2000,
}
