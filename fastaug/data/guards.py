"""Files that DALI must not see: those that it decodes wrongly, and those that would end the process inside it
(see benchmarks/fuzz.py)."""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

from .formats import unsupported

_SIGNATURES = (b"\0\0\0\x0cjP  ", b"\xff\x4f")  # of a JP2 file, of a bare codestream
_SIZ = b"\xff\x4f\xff\x51"  # start of codestream, then image and tile sizes (ISO/IEC 15444-1, A.5.1)


def refused(image: npt.NDArray[np.uint8]) -> str:
    """Why an encoded image (uint8; of a JPEG its beginning is enough) is not given to DALI; "" when it is."""
    return unsupported(image) or dangerous(image)


def dangerous(image: npt.NDArray[np.uint8]) -> str:
    """What is wrong with an encoded image (uint8) that DALI must not see; "" for others.

    All are JPEG 2000. nvImageCodec 0.9's parser divides by the size of tiles and the steps of components
    without looking at them: a tile height of 0 ends the process with SIGFPE. The OpenJPEG 2.5.3 inside it
    uses a stray pointer when the main header is damaged (https://github.com/uclouvain/openjpeg/pull/1573). So
    these files, and no others, are decoded by Pillow first, once, when their header is read.
    """
    if not image[:8].tobytes().startswith(_SIGNATURES):
        return ""
    data = image.tobytes()
    at = data.find(_SIZ)
    while at >= 0:
        if not _sizes_are_sound(data[at + len(_SIZ) : at + len(_SIZ) + 38 + 3 * 32]):
            return "damaged JPEG 2000: senseless tile or component sizes"
        at = data.find(_SIZ, at + 1)
    try:
        Image.open(io.BytesIO(data)).load()
    except Exception as error:  # Pillow raises many kinds
        return f"damaged JPEG 2000: {type(error).__name__}"
    return ""


def _sizes_are_sound(segment: bytes) -> bool:
    """Whether nothing in a SIZ segment (from its length on) leads to a division by zero."""
    if len(segment) < 38:
        return True  # it ends too early for the parser too
    *_, tile_x, tile_y, _, _, count = struct.unpack(">HHIIIIIIIIH", segment[:38])
    steps = segment[38 : 38 + 3 * count]
    across, down = steps[1::3], steps[2::3]
    if not count or 0 in across or 0 in down:
        return False
    # The parser rounds up in 32 bits: what overflows becomes 0 too.
    return all(
        tile > 0 and tile + step - 1 < 1 << 32
        for tile, first in ((tile_x, across), (tile_y, down))
        for step in first[:1]
    )
