"""What Pillow reads: the formats found in folders, and images that DALI does not decode rightly."""

from __future__ import annotations

import io
import logging
import threading
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

log = logging.getLogger("fastaug")

# Stubs, which need a program of the user's own; EPS, which runs Ghostscript; MPEG, whose pixels Pillow does
# not decode.
_LEFT_OUT = {"BUFR", "GRIB", "HDF5", "WMF", "EPS", "MPEG"}
_ENDS = b"\xff\xd9" * (1 << 15)  # a JPEG's end, so often that a scan meets it wherever it was cut
_WIDTH, _HEIGHT, _PHOTOMETRIC, _ORIENTATION = 256, 257, 262, 274  # tags of TIFF and EXIF
_WHITE_IS_ZERO = 0
_INDIRECT = ("P", "PA", "RGBA", "LA", "1")  # modes that a profile is not applied to as they are
_SAID = set[str]()
_lock = threading.Lock()


class Undecodable(Exception):
    """Pillow cannot decode an image; the text says why."""


@cache
def formats() -> tuple[str, ...]:
    """Names of the formats that Pillow decodes here by itself."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - _LEFT_OUT))


@cache
def extensions() -> tuple[str, ...]:
    """Their files' endings, in lower case."""
    known = {*formats(), "MPO"}  # which its plugin of JPEG opens
    return tuple(sorted(end for end, form in Image.registered_extensions().items() if form in known))


def size_of(image: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """(height, width) of an encoded image (uint8), after EXIF orientation.

    Raises:
        Undecodable: when Pillow does not know it.
    """
    try:
        with _opened(image) as found:
            width, height = found.size
            orientation = found.getexif().get(_ORIENTATION, 1)
            if found.format == "TIFF":  # some versions of Pillow have turned the size by now, others not
                height, width = (int(found.tag_v2[tag]) for tag in (_HEIGHT, _WIDTH))
            return (width, height) if orientation in (5, 6, 7, 8) else (height, width)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds
        raise Undecodable(_said(error)) from error


def pixels_of(
    image: npt.NDArray[np.uint8], truncated: str = "error", icc: str | None = None
) -> npt.NDArray[np.uint8]:
    """An encoded image (uint8) as Pillow shows it, turned by EXIF: uint8 ``[H, W, 3]``, RGB.

    Gray of 16 bits keeps its high byte, where Pillow's conversion cuts all above 255 off.

    Args:
        image: the file's bytes.
        truncated: "pad" keeps what a cut file has, and its decoder's filling for the rest.
        icc: "srgb" converts from the embedded profile.

    Raises:
        Undecodable: when it is damaged, or not known to Pillow.
    """
    try:
        padded = truncated == "pad" and image[:2].tobytes() == b"\xff\xd8"
        with _opened(image, _ENDS if padded else b"") as found:
            try:
                found.load()
            except OSError:
                # A JPEG has got its end; of other formats the lines that were read stay.
                if truncated != "pad":
                    raise
                found.tile = []
                found.load()
            return np.array(_srgb(found) if icc else _rgb(found))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds
        raise Undecodable(_said(error)) from error


def _opened(image: npt.NDArray[np.uint8], behind: bytes = b"") -> Any:
    return Image.open(io.BytesIO(image.tobytes() + behind), formats=formats())


def _rgb(image: Image.Image) -> Image.Image:
    if not _deep(image):
        return ImageOps.exif_transpose(image).convert("RGB")
    inverted = _white_is_zero(image)
    high = (np.asarray(ImageOps.exif_transpose(image)).astype(np.uint32) >> 8).astype(np.uint8)
    return Image.fromarray(255 - high if inverted else high).convert("RGB")


def _deep(image: Image.Image) -> bool:
    """Whether it is gray of 16 bits."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _white_is_zero(image: Image.Image) -> bool:
    """Whether it is a TIFF whose 16-bit samples Pillow does not invert, although they are to be."""
    tags = getattr(image, "tag_v2", {})
    return image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _srgb(image: Image.Image) -> Image.Image:
    """Converted from its profile to sRGB; as it is where it has none, or one that does not fit it."""
    profile = image.info.get("icc_profile")
    if not profile or _deep(image):
        return _rgb(image)
    turned = ImageOps.exif_transpose(image)
    plain = turned.convert("L" if turned.mode == "LA" else "RGB") if turned.mode in _INDIRECT else turned
    try:
        embedded, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(plain, embedded, target, outputMode="RGB")
        assert converted is not None
        return converted
    except (OSError, ImageCms.PyCMSError, ValueError) as error:
        once("icc", f"a colour profile does not fit its image and is left out: {_said(error)}")
        return turned.convert("RGB")


def once(key: str, message: str) -> None:
    """Says something in the log, the first time in a process."""
    with _lock:
        new = key not in _SAID
        _SAID.add(key)
    if new:
        log.warning("fastaug: %s", message)


def _said(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no format that Pillow knows"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow decodes; set PIL.Image.MAX_IMAGE_PIXELS"
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
