"""What an encoded image's header says: its kind and its size, or why it is not decoded.

Headers are read by our own code where the box decoder or DALI decodes the kind rightly, else by Pillow, which
then decodes it too. Sizes are after EXIF orientation, as the decoders deliver images. Numbers in a file are
not trusted: any bytes are accepted, and time is linear in their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .formats import PNM, Parts, jpeg_parts, png_parts, sequential, unsupported, webp_parts
from .formats_tiff import HEIGHT, ORIENTATION, PROFILE, WIDTH, tags_of
from .orientation import agreed
from .source import Kind

_LARGEST = (1 << 31) - 1  # a side that no decoder accepts


class Header(NamedTuple):
    """What a header says.

    Attributes:
        kind: by the first bytes; OTHER: Pillow's to decode.
        height: pixels; 0 where the image cannot be used.
        width: the same.
        reason: why it cannot be used; "" when it can.
        profile: whether a colour profile is embedded.
        orientation: EXIF's, 1 to 8; 1 where it was not looked at.
    """

    kind: Kind
    height: int = 0
    width: int = 0
    reason: str = ""
    profile: bool = False
    orientation: int = 1


_STARTS = {
    b"\xff\xd8": Kind.JPEG,
    b"\x89PNG": Kind.PNG,
    b"RIFF": Kind.WEBP,
    b"BM": Kind.BMP,
    b"II": Kind.TIFF,
    b"MM": Kind.TIFF,
    b"P": Kind.PNM,
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
    other = unsupported(image)
    if not other and kind in _READ:
        size = _READ[kind](np.ascontiguousarray(image).data)
        if _possible(size.height, size.width):
            return Header(size.kind or kind, size.height, size.width, "", size.profile, size.orientation)
    from .pillow import Undecodable, size_of  # when first needed

    try:
        height, width = size_of(image)
    except Undecodable as error:
        return Header(
            kind, reason=f"not supported: {other}" if other else f"no readable image header: {error}"
        )
    if _possible(height, width):
        return Header(Kind.OTHER, height, width)
    return Header(kind, reason="an image without pixels")


def _possible(height: int, width: int) -> bool:
    return 0 < height <= _LARGEST and 0 < width <= _LARGEST


def _little(data: memoryview, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")  # of what is there; slices do not raise


def _big(data: memoryview, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


class Size(NamedTuple):
    """As Header; no kind: that of the first bytes."""

    height: int
    width: int
    profile: bool = False
    orientation: int = 1
    kind: Kind | None = None


_NONE = Size(0, 0)


def _turned(height: int, width: int, parts: Parts, kind: Kind | None = None) -> Size:
    orientation = agreed(parts.exif, parts.xmp) or 1
    if orientation >= 5:
        height, width = width, height
    return Size(height, width, parts.profile, orientation, kind)


def _jpeg(data: memoryview) -> Size:
    parts = jpeg_parts(data)
    frame = parts.frame
    if frame < 0 or not parts.scan:
        return _NONE
    kind = Kind.SEQUENTIAL if sequential(data, frame) else None
    return _turned(_big(data, frame + 5, 2), _big(data, frame + 7, 2), parts, kind)


def _png(data: memoryview) -> Size:
    if bytes(data[12:16]) != b"IHDR":
        return _NONE
    return _turned(_big(data, 20, 4), _big(data, 16, 4), png_parts(data))


def _webp(data: memoryview) -> Size:
    chunk = bytes(data[12:16])
    if chunk == b"VP8 ":
        found = bytes(data[23:26]) == b"\x9d\x01\x2a"
        return Size(_little(data, 28, 2) & 0x3FFF, _little(data, 26, 2) & 0x3FFF) if found else _NONE
    if chunk == b"VP8L":
        bits = _little(data, 21, 4)
        found = bytes(data[20:21]) == b"\x2f" and len(data) >= 25
        return Size((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1) if found else _NONE
    if chunk != b"VP8X" or len(data) < 30:
        return _NONE
    return _turned(_little(data, 27, 3) + 1, _little(data, 24, 3) + 1, webp_parts(data))


def _bmp(data: memoryview) -> Size:
    if _little(data, 14, 4) < 40:  # of OS/2
        return Size(_little(data, 20, 2), _little(data, 18, 2))
    height = int.from_bytes(data[22:26], "little", signed=True)  # below 0: lines from the top
    return Size(abs(height), int.from_bytes(data[18:22], "little", signed=True))


def _tiff(data: memoryview) -> Size:
    tags, _, _ = tags_of(data)
    height, width, orientation = ((tags.get(tag) or (0,))[0] for tag in (HEIGHT, WIDTH, ORIENTATION))
    profile = PROFILE in tags
    return Size(width, height, profile) if 5 <= orientation <= 8 else Size(height, width, profile)


def _pnm(data: memoryview) -> Size:
    found = PNM.match(data)
    if found is None or max(len(found[1]), len(found[2])) > 10:
        return _NONE
    return Size(int(found[2]), int(found[1]))


_READ: dict[Kind, Callable[[memoryview], Size]] = {
    Kind.JPEG: _jpeg,
    Kind.PNG: _png,
    Kind.WEBP: _webp,
    Kind.BMP: _bmp,
    Kind.TIFF: _tiff,
    Kind.PNM: _pnm,
}
