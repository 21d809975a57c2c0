"""Image files written by hand, for what Pillow cannot write: BMP, TIFF, PNM and PNG of any kind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.generic]


def packed(samples: Pixels, bits: int, row: int = 1, order: str = ">") -> list[bytes]:
    """Each row of integer samples as bytes, ``bits`` to a sample, first sample in the high bits; padded to a
    multiple of ``row`` bytes.

    Args:
        samples: ``[H, ...]``.
        bits: up to 8, or 16, 32 or 64 for samples of such a dtype.
        row: bytes that a row is a multiple of.
        order: of the bytes in a sample, "<" or ">".
    """
    lines = samples.reshape(len(samples), -1)
    if bits >= 8 and bits % 8 == 0:
        raw = [line.astype(line.dtype.newbyteorder(order)).tobytes() for line in lines]
    else:
        steps = np.arange(bits - 1, -1, -1)
        raw = [np.packbits((line[:, None] >> steps & 1).astype(np.uint8)).tobytes() for line in lines]
    return [line + bytes(-len(line) % row) for line in raw]


def bmp(
    samples: Pixels | bytes,
    size: tuple[int, int],
    bits: int,
    *,
    header: int = 40,
    compression: int = 0,
    masks: Sequence[int] = (),
    palette: Pixels | None = None,
    colours: int | None = None,
    gap: int = 0,
    top_down: bool = False,
) -> bytes:
    """A BMP file.

    Args:
        samples: integers ``[H, ...]``, first row on top; or pixel data ready made.
        size: (height, width).
        bits: to a pixel.
        header: bytes of the header that begins with this number.
        compression: 0 none, 1 RLE8, 2 RLE4, 3 masks, 4 JPEG, 5 PNG, 6 masks with alpha.
        masks: of red, green, blue, alpha; in the header where it has room for them, else behind it.
        palette: uint8 RGB ``[N, 3]``.
        colours: what the header says of the palette's length; its own.
        gap: bytes between palette and pixels.
        top_down: the first row comes first.
    """
    height, width = size
    if not isinstance(samples, bytes):
        order = samples if top_down else samples[::-1]
        samples = b"".join(packed(order, bits if bits < 8 or samples.itemsize > 1 else 8, 4, "<"))
    count = len(palette) if palette is not None else 0
    colours = count if colours is None else colours
    short = header < 16
    info = (
        struct.pack("<IHHHH", header, width, height, 1, bits)
        if short
        else struct.pack(
            "<IiiHHIIiiII",
            header,
            width,
            -height if top_down else height,
            1,
            bits,
            compression,
            len(samples),
            2835,
            2835,
            colours,
            0,
        )
    )
    said = struct.pack(f"<{len(masks)}I", *masks)
    behind = said if header == 40 else b""
    info = (info + (said if header > 40 else b"")).ljust(header, b"\0")[:header]
    if header >= 108:
        info = info[:56] + b"BGRs" + info[60:]
    table = b""
    if palette is not None:
        blue_first = palette[:, ::-1].astype(np.uint8)
        table = (blue_first if short else np.pad(blue_first, ((0, 0), (0, 1)))).tobytes()
    start = 14 + len(info) + len(behind) + len(table) + gap
    top = b"BM" + struct.pack("<IHHI", start + len(samples), 0, 0, start)
    return top + info + behind + table + bytes(gap) + samples


_SIZES = {"B": 1, "H": 2, "I": 4, "Q": 8}
_TYPES = {"B": 1, "H": 3, "I": 4, "Q": 16}


def tiff(
    pages: Sequence[dict[int, object]],
    blocks: Sequence[Sequence[bytes]],
    *,
    order: str = "<",
    big: bool = False,
) -> bytes:
    """A TIFF file.

    Args:
        pages: of each page, tag → value: an integer, a tuple of integers, or (type, bytes). Where strips (or
            tiles, with tag 322) lie is added.
        blocks: of each page, its strips or tiles.
        order: "<" or ">".
        big: BigTIFF.
    """
    mark = b"II" if order == "<" else b"MM"
    word, head = ("Q", "Q") if big else ("I", "H")
    data = mark + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 0) if big else (42, 0)))
    link = len(data) - (8 if big else 4)
    for page, parts in zip(pages, blocks, strict=True):
        at = []
        for part in parts:
            at.append(len(data))
            data += part + bytes(len(part) % 2)
        tiled = 322 in page
        tags: dict[int, object] = {
            **page,
            324 if tiled else 273: tuple(at),
            325 if tiled else 279: tuple(map(len, parts)),
        }
        entries = b""
        for tag, value in sorted(tags.items()):
            if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], bytes):
                kind, body = value
                count = len(body) // {1: 1, 2: 1, 5: 8, 7: 1, 11: 4, 12: 8}[kind]
            else:
                values = value if isinstance(value, tuple) else (value,)
                code = word if tag in (273, 279, 324, 325) else "H" if max(values) < 65536 else "I"
                kind, count = _TYPES[code], len(values)
                body = struct.pack(f"{order}{count}{code}", *values)
            if len(body) > _SIZES[word]:
                place, data = len(data), data + body + bytes(len(body) % 2)
                body = struct.pack(order + word, place)
            entries += struct.pack(order + "HH" + word, tag, kind, count) + body.ljust(_SIZES[word], b"\0")
        data = data[:link] + struct.pack(order + word, len(data)) + data[link + _SIZES[word] :]
        data += struct.pack(order + head, len(tags)) + entries
        link = len(data)
        data += bytes(_SIZES[word])
    return data


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: Pixels, bits: int, colour: int, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG file.

    Args:
        samples: unsigned integers ``[H, W]`` or ``[H, W, C]``.
        bits: to a sample.
        colour: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA.
        before: chunks before the pixels.
        after: chunks behind them.
    """
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour, 0, 0, 0)
    pixels = png_chunk(b"IDAT", png_rows(samples, bits))
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + pixels + after + png_chunk(b"IEND", b"")
    )


def png_rows(samples: Pixels, bits: int) -> bytes:
    """Pixels as PNG keeps them."""
    return zlib.compress(b"".join(b"\0" + row for row in packed(samples, bits)))
