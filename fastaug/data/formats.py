"""Kinds of images that DALI decodes to wrong pixels, or not at all although they are good, by their headers.

tests/test_formats.py holds DALI 2.4 against Pillow: what is refused here, and what it does right.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .formats_tiff import tiff
from .orientation import agreed

_TEXT_LIMIT = 1 << 20  # Pillow's for a text in a PNG


def unsupported(image: npt.NDArray[np.uint8]) -> str:
    """Which kind that DALI does not decode rightly an encoded image is (uint8; of a JPEG its beginning is
    enough); "" for all others.

    Lengths in the image are not trusted: any bytes are accepted, and time is linear in their number.
    """
    data = np.ascontiguousarray(image).data
    start = bytes(data[:4])
    look = next((look for name, look in _LOOKS.items() if start.startswith(name)), None)
    return look(data) if look else ""


def _little(data: memoryview, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")  # of what is there; slices do not raise


def _big(data: memoryview, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


class Parts(NamedTuple):
    """What a walk over a file's segments finds.

    Attributes:
        exif: EXIF blocks.
        xmp: the XMP packet; b"" for none.
        frame: of a JPEG: where the frame's marker is; -1: not found.
        scan: of a JPEG: whether the first scan begins.
        adobe: of a JPEG: whether Adobe's marker is there.
        profile: whether a colour profile is embedded.
    """

    exif: Sequence[bytes]
    xmp: bytes = b""
    frame: int = -1
    scan: bool = False
    adobe: bool = False
    profile: bool = False


def _turned(form: str, exif: Sequence[bytes], xmp: bytes) -> str:
    return f"{form} whose orientation DALI misreads" if agreed(exif, xmp) is None else ""


# ---- JPEG ----

_XAP = b"http://ns.adobe.com/xap/1.0/\0"


def jpeg_parts(data: memoryview) -> Parts:
    """Walks the segments up to the first scan."""
    at, xmp, adobe, frame, profile = 2, b"", False, -1, False
    blocks: list[bytes] = []
    while at + 4 <= len(data) and data[at] == 0xFF and (marker := data[at + 1]) != 0xDA:
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = data[at + 2] << 8 | data[at + 3]
        if marker == 0xE1:
            body = bytes(data[at + 4 : at + 2 + length])
            if body.startswith(b"Exif\0\0"):
                blocks.append(body[6:])
            elif body.startswith(_XAP):
                xmp = body[len(_XAP) :]
        elif marker == 0xE2:
            profile = profile or bytes(data[at + 4 : at + 16]) == b"ICC_PROFILE\0"
        elif marker == 0xEE:
            adobe = adobe or bytes(data[at + 4 : at + 9]) == b"Adobe"
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = at
        at += 2 + max(2, length)
    scan = bytes(data[at : at + 2]) == b"\xff\xda"
    return Parts(blocks, xmp, frame, scan, adobe, profile)


def _jpeg(data: memoryview) -> str:
    parts = jpeg_parts(data)
    frame = parts.frame
    if frame >= 0:
        bits, colours = _big(data, frame + 4, 1), _big(data, frame + 9, 1)
        if bits != 8:
            return f"{bits}-bit JPEG"
        if data[frame + 1] == 0xC3 and colours == 1:
            return "lossless gray JPEG"
        if colours == 4 and not parts.adobe:
            return "CMYK JPEG without Adobe's marker"
    return _turned("JPEG", parts.exif, parts.xmp) if parts.exif or parts.xmp else ""


def sequential(data: memoryview, frame: int) -> bool:
    """Whether a JPEG is one that the box decoder takes, as far as its frame says: baseline or extended
    sequential, 8 bits, gray or three colours of usual sampling.

    Args:
        data: its beginning.
        frame: where the frame's marker is.
    """
    colours = _big(data, frame + 9, 1)
    factors = [_big(data, frame + 11 + 3 * k, 1) for k in range(colours)]
    usual = colours == 1 or (factors[:1] in ([0x11], [0x21], [0x12], [0x22]) and factors[1:] == [0x11, 0x11])
    return data[frame + 1] in (0xC0, 0xC1) and data[frame + 4] == 8 and usual


# ---- BMP ----


def _bmp(data: memoryview) -> str:
    header = _little(data, 14, 4)
    if header < 40:  # 12: of OS/2, without compression; what else there is DALI does not read
        bits, compression = _little(data, 24, 2), 0
    else:
        bits, compression = _little(data, 28, 2), _little(data, 30, 4)
    if compression in (1, 2) or (header, compression) == (64, 4):
        return "run-length coded BMP"
    if compression == 3 and bits == 32 and header != 64:
        masks = [_little(data, at, 4) for at in (54, 58, 62)]
        # DALI reads masks in a header of 56 bytes or more alone, and takes others for the usual ones.
        usual = masks in ([0xFF0000, 0xFF00, 0xFF], [0, 0, 0])
        return "" if header >= 56 or usual else "BMP with unusual colour masks"
    if compression == 0 and bits in (1, 4, 8, 24, 32):
        return ""
    return f"{bits}-bit BMP" if compression in (0, 3) else f"BMP of compression {compression}"


# ---- PNM ----

# A comment begins behind white space and ends with a line feed; elsewhere DALI and Pillow part.
_GAP = rb"(?:\s|#[^\r\n]*\r?\n)*"
PNM = re.compile(rb"P[1-6]\s" + _GAP + rb"(\d+)\s" + _GAP + rb"(\d+)\s" + _GAP + rb"(\d*)(#?)")
# What DALI's parser reads behind the height, in bitmaps too, which have pixels there.
_MAXIMUM = re.compile(rb"(?:\s|#[^\n]*\n)*((?:\d|#[^\n]*\n)*)")
_OTHER_PNM = {b"P7": "PAM image", b"PF": "PFM image", b"Pf": "PFM image", b"Py": "Pillow's own kind of PNM"}


def _pnm(data: memoryview) -> str:
    magic = bytes(data[:2])
    if magic in _OTHER_PNM:
        return _OTHER_PNM[magic]
    if magic[1:] not in (b"1", b"2", b"3", b"4", b"5", b"6") or not bytes(data[2:3]).isspace():
        return ""
    found = PNM.match(data)
    bitmap = magic in (b"P1", b"P4")
    if found is None or (found[4] and not bitmap):
        return "PNM with a comment in an unusual place" if b"#" in bytes(data[:1000]) else ""
    if bitmap:
        behind = _MAXIMUM.match(data, found.end(2))
        lost = behind is None or len(behind[1]) > 9 or bytes(data[behind.end() :][:1]) in (b"", b"#")
        return "PBM whose pixels DALI takes for a part of its header" if lost else ""
    maximum = int(found[3][:6] or b"0")
    right = maximum in (255, 65535) or (magic in (b"P2", b"P3") and 0 < maximum < 255)
    return "" if right else f"PNM with maxval {maximum}"


# ---- PNG ----

_RAW_EXIF, _PNG_XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"


def png_parts(data: memoryview) -> Parts:
    """Its metadata chunks; EXIF that stands in a text is not among them."""
    exif, texts, _ = _png_metadata(data)
    return Parts(exif, texts.get(_PNG_XMP, b""), profile=any(kind == b"iCCP" for kind, _ in _chunks(data)))


def _png_metadata(data: memoryview) -> tuple[list[bytes], dict[bytes, bytes], tuple[int, bool]]:
    """EXIF, the texts that hold metadata, and the animation: number of frames (-1: none), and whether the
    default image is one."""
    exif: list[bytes] = []
    texts: dict[bytes, bytes] = {}
    frames, shown, pixels = -1, False, False
    for kind, body in _chunks(data):
        if kind == b"eXIf":
            exif = [bytes(body)]
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            name = bytes(body[:80]).partition(b"\0")[0]
            if name in (_RAW_EXIF, _PNG_XMP):
                texts[name] = _text(kind, bytes(body[len(name) + 1 :]))
        elif kind == b"acTL" and not pixels:
            frames = _big(body, 0, 4)
        elif kind == b"fcTL" and not pixels:
            shown = True
        elif kind == b"IDAT":
            pixels = True
    return exif, texts, (frames, shown)


def _png(data: memoryview) -> str:
    exif, texts, (frames, shown) = _png_metadata(data)
    if not exif and _RAW_EXIF in texts:
        if agreed([_from_hex(texts[_RAW_EXIF])], b"") != 1:
            return "PNG whose orientation stands in a text"
    elif reason := _turned("PNG", exif, texts.get(_PNG_XMP, b"")):
        return reason
    if frames == 0:
        return "animated PNG without frames"
    if frames > 1 and not shown:
        return "animated PNG whose default image is no frame"
    return "animated PNG that is turned" if frames > 0 and agreed(exif, b"") not in (None, 1) else ""


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 8
    while at + 8 <= len(data):
        length = _big(data, at, 4)
        yield bytes(data[at + 4 : at + 8]), data[at + 8 : at + 8 + length]
        at += 12 + length


def _text(kind: bytes, body: bytes) -> bytes:
    """A text chunk's text, from behind its name; b"" where it is damaged."""
    packed = kind == b"zTXt"
    if packed:
        body = body[1:]
    elif kind == b"iTXt":
        packed = body[:1] == b"\1"
        body = b"".join(body[2:].split(b"\0", 2)[2:])
    if not packed:
        return body
    try:
        return zlib.decompressobj().decompress(body, _TEXT_LIMIT)
    except zlib.error:
        return b""


def _from_hex(text: bytes) -> bytes:
    """ImageMagick's form: a line's end, a name, a length, then hexadecimal lines."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


# ---- WebP ----


def webp_parts(data: memoryview) -> Parts:
    """The metadata that an extended file's flags claim."""
    flags, found = _big(data, 20, 1), _webp_chunks(data)

    def body(name: bytes, flag: int) -> bytes:
        at = found.get((name, True), len(data)) if flags & flag else len(data)
        return bytes(data[at + 8 : at + 8 + _little(data, at + 4, 4)])

    return Parts([body(b"EXIF", 8)], body(b"XMP ", 4), profile=bool(flags & 0x20))


def _webp_chunks(data: memoryview) -> dict[tuple[bytes, bool], int]:
    """Where metadata are, with and without stepping over the byte that fills up an odd chunk: DALI's parser
    does not."""
    found: dict[tuple[bytes, bool], int] = {}
    for padded in (True, False):
        at = 12
        while at + 8 <= len(data):
            name, length = bytes(data[at : at + 4]), _little(data, at + 4, 4)
            if name in (b"EXIF", b"XMP "):
                found.setdefault((name, padded), at)
            at += 8 + length + (length % 2 if padded else 0)
    return found


def _webp(data: memoryview) -> str:
    if bytes(data[8:16]) != b"WEBPVP8X":
        return ""
    found = _webp_chunks(data)
    claimed = _big(data, 20, 1) & 8
    if claimed and ((b"EXIF", False) not in found or found.get((b"EXIF", True)) != found[b"EXIF", False]):
        return "WebP with EXIF behind a chunk of odd length, or without the EXIF it claims"
    parts = webp_parts(data)
    return _turned("WebP", parts.exif, parts.xmp)


_LOOKS = {
    b"\xff\xd8": _jpeg,
    b"BM": _bmp,
    b"II": tiff,
    b"MM": tiff,
    b"P": _pnm,
    b"\x89PNG": _png,
    b"RIFF": _webp,
}
