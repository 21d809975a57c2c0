"""The kinds of TIFF that DALI decodes to wrong pixels or not at all: see ``formats``."""

from __future__ import annotations

from .orientation import agreed

_WIDTHS = {1: 1, 3: 2, 4: 4, 16: 8}  # bytes of the types that count: BYTE, SHORT, LONG, LONG8
WIDTH, HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, ORIENTATION, _SAMPLES = 256, 257, 258, 259, 262, 274, 277
_PLANAR, _TILE_WIDTH, _INKS, _EXTRA, _FORMAT, _XMP, PROFILE = 284, 322, 332, 338, 339, 700, 34675
_READ = {
    WIDTH,
    HEIGHT,
    _BITS,
    _COMPRESSION,
    _PHOTOMETRIC,
    ORIENTATION,
    _SAMPLES,
    _PLANAR,
    _TILE_WIDTH,
    _INKS,
    _EXTRA,
    _FORMAT,
    PROFILE,
}
# none, Huffman, Fax, LZW, JPEG (old and new), Deflate (both), PackBits, Zstandard
_COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 50000}
_WHITE_IS_0, _GRAY, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_0: 1, _GRAY: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_DEPTHS = {
    _WHITE_IS_0: {1, 8},
    _GRAY: {1, 8, 10, 12, 14, 16},
    _RGB: {8, 10, 12, 14, 16},
    _PALETTE: {1, 2, 4, 8},
    _CMYK: {8},
    _YCBCR: {8},
}
_ASSOCIATED, _STRAIGHT = 1, 2


def tiff(data: memoryview) -> str:
    """What kind of TIFF this is, where DALI does not decode that kind; "" for all others and for no TIFF."""
    tags, xmp, short = tags_of(data)
    if not tags:
        return ""

    def one(tag: int, default: int) -> int:
        return (tags.get(tag) or (default,))[0]

    for tag, name in ((_BITS, "BitsPerSample"), (_PHOTOMETRIC, "PhotometricInterpretation")):
        if tag not in tags:
            return f"TIFF without {name}"
    if ORIENTATION in tags and not short:
        return "TIFF with an orientation that is no SHORT"
    if ORIENTATION not in tags and agreed((), xmp) is None:
        return "TIFF with its orientation in XMP"
    bits, photometric, samples = one(_BITS, 1), one(_PHOTOMETRIC, 0), one(_SAMPLES, 1)
    if one(_COMPRESSION, 1) not in _COMPRESSIONS:
        return f"TIFF of compression {one(_COMPRESSION, 1)}"
    if photometric not in _COLOURS:
        return f"TIFF of colour space {photometric}"
    if any(kind != 1 for kind in tags.get(_FORMAT, ())):
        return "TIFF of samples that are signed or no integers"
    if len(set(tags[_BITS])) > 1 or bits not in _DEPTHS[photometric]:
        return f"{'/'.join(map(str, tags[_BITS]))}-bit TIFF of colour space {photometric}"
    if samples > _COLOURS[photometric] and photometric != _RGB:
        return "TIFF of gray, palette or CMYK with alpha"
    if photometric == _CMYK and one(_INKS, 1) != 1:
        return "TIFF of other inks than CMYK"
    extra, turned = tags.get(_EXTRA, ()), 2 <= one(ORIENTATION, 1) <= 8
    if _ASSOCIATED in extra:
        return "TIFF with associated alpha"
    planar = samples > 1 and one(_PLANAR, 1) == 2
    if planar and (bits != 8 or _STRAIGHT in extra):
        return "TIFF of separate planes with alpha or not of 8 bits"
    if turned and ((_STRAIGHT in extra and bits == 8) or (photometric == _PALETTE and bits == 2)):
        return "TIFF with alpha or a palette of 2 bits that is turned"
    if _TILE_WIDTH in tags and bits <= 8:
        columns, raw = one(_TILE_WIDTH, 1) < one(WIDTH, 1), one(_COMPRESSION, 1) == 1
        if turned and (columns or bits < 8):
            return "tiled TIFF that is turned"
        if raw and (
            (bits == 1 and photometric != _PALETTE)
            or (columns and (planar or photometric in (_WHITE_IS_0, _YCBCR)))
        ):
            return "uncompressed tiled TIFF of 1 bit, separate planes, YCbCr or white as 0"
    return ""


def tags_of(data: memoryview) -> tuple[dict[int, tuple[int, ...]], bytes, bool]:
    """Of the first image: tags that are read here, its XMP packet, and whether its orientation is a SHORT."""
    order = "little" if bytes(data[:2]) == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]

    version = number(2, 2)
    if version not in (42, 43):
        return {}, b"", True
    head, word, step = (8, 8, 20) if version == 43 else (2, 4, 12)
    first = number(8 if version == 43 else 4, word)
    tags: dict[int, tuple[int, ...]] = {}
    xmp, short = b"", True
    for at in range(first + head, min(first + head + step * number(first, head), len(data) - step + 1), step):
        tag, kind, count, value = number(at, 2), number(at + 2, 2), number(at + 4, word), at + 4 + word
        size = _WIDTHS.get(kind, 1)
        if count * size > word:
            value = number(value, word)
        if tag == ORIENTATION:
            short = kind == 3
        if tag == _XMP:
            xmp = bytes(data[value : value + count])
        elif tag in _READ:  # four are enough to tell whether they differ
            tags[tag] = tuple(number(value + k * size, size) for k in range(min(count, 4)))
    return tags, xmp, short
