"""How an image is to be turned, by the readers of its metadata that have to agree.

Pillow reads EXIF and, where that says nothing, XMP. DALI knows EXIF alone, and reads it twice: nvImageCodec
0.9, for the size, gives a block up when a text or a resolution in it lies outside of it; OpenCV, for the
pixels, keeps what it read before. Both take the tag for a SHORT, whatever it is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

_ORIENTATION = 274
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_HEADS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"MM\0+")  # Pillow takes the last three for the first two
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_INTEGERS = {3: 2, 4: 4, 8: 2, 9: 4}  # bytes of the types that Pillow reads as one integer
# What DALI reads: integers, texts, and how many rationals.
_SHORTS = (_ORIENTATION, 0x128, 0x213)
_TEXTS = (0x10E, 0x10F, 0x110, 0x131, 0x132, 0x8298)
_RATIONALS = {0x11A: 1, 0x11B: 1, 0x13E: 2, 0x13F: 6, 0x211: 3, 0x214: 6}
_OTHER = -1  # no integer: what Pillow makes of it depends on its version


def agreed(exif: Sequence[bytes], xmp: bytes) -> int | None:
    """The orientation, 1 to 8, that Pillow and DALI apply; None where they differ.

    Args:
        exif: the file's EXIF blocks, as they stand in it.
        xmp: its XMP packet; b"" for none.
    """
    joined = b"".join(exif)  # as Pillow does
    if not xmp and b"\x01\x12" not in joined and b"\x12\x01" not in joined:
        return 1  # the tag is not there
    readings = [_readings(block) for block in exif]
    joined = joined.removeprefix(b"Exif\0\0").removeprefix(b"Exif\0\0")
    pillow = readings[0][0] if [joined] == list(exif) else _readings(joined)[0]
    if pillow is None and (match := _XMP.search(xmp)):
        pillow = int(match[1])
    values = [pillow]
    for which in (1, 2):  # DALI's: of several blocks the last that says something counts
        found = [reading[which] for reading in readings if reading[which] is not None]
        values.append(found[-1] if found else None)
    seen = {value if value in (*range(2, 9), _OTHER) else 1 for value in values}
    return seen.pop() if len(seen) == 1 else None


def _readings(block: bytes) -> tuple[int | None, int | None, int | None]:
    """What the orientation is to Pillow, to nvImageCodec and to OpenCV; None where they see none."""
    order: str = "little" if block[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], order)  # type: ignore[arg-type]

    first, sizes = number(4, 4), 0
    entry, padded = struct.Struct("<HHII" if order == "little" else ">HHII"), block + bytes(12)
    pillow = opencv = None
    # Which readers go on.
    known, alive = block[:4] in _HEADS, number(2, 2) == 42
    for at in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        if at > len(block):
            return pillow, None, opencv
        tag, kind, count, place = entry.unpack_from(padded, at)
        asked, size = tag == _ORIENTATION, _UNITS.get(kind, 0) * count
        known = known and at + 12 <= len(block)
        if known and size > 4:
            sizes += size
            if sizes <= len(block):  # else Pillow steps over the entry
                known = place + size <= len(block)
                if asked and known and pillow is None:
                    pillow = _OTHER
        elif known and asked and size and pillow is None:
            pillow = number(at + 8, _INTEGERS[kind]) if kind in _INTEGERS else _OTHER
        read = count if tag in _TEXTS and count > 4 else 8 * _RATIONALS.get(tag, 0)
        # DALI looks no further into an entry than it needs.
        need = 12 if read else 10 if tag in _SHORTS else 8 if tag in _TEXTS else 2
        alive = alive and at + need <= len(block)
        alive = alive and (not read or place + read <= len(block))
        if asked and alive and opencv is None:
            opencv = number(at + 8, 2)
        if not known and not alive:
            break  # nobody reads on
    return pillow, opencv if alive else None, opencv
