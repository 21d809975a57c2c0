"""Images written by Pillow, tifffile, imageio and ImageMagick, in whatever forms each of them writes."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from .corpus import oriented, photo

RGB = photo(61, 43)
_ARRAY = np.asarray(RGB)
_ALPHA = Image.fromarray(np.tile(np.linspace(0, 255, 61).astype(np.uint8), (43, 1)))
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "I;16B")
_LOSSY = {"quality": 95}
Files = Iterator[tuple[str, bytes]]


def in_mode(mode: str) -> Image.Image:
    """A photograph in one of Pillow's modes, with alpha that changes from left to right."""
    if mode == "P":
        return RGB.quantize(200)
    if mode in ("LA", "PA", "RGBA"):
        image = RGB.convert({"LA": "L", "PA": "RGB", "RGBA": "RGB"}[mode])
        image.putalpha(_ALPHA)
        return image.convert(mode) if mode != "PA" else image.convert("PA")
    if mode in ("I", "F"):
        return RGB.convert("L").convert(mode)
    if mode.startswith("I;16"):
        wide = np.asarray(RGB.convert("L")).astype(np.uint16) * 257
        return Image.frombytes(mode, RGB.size, wide.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    return RGB.convert(mode)


def _saved(image: Image.Image, form: str, options: dict[str, Any]) -> bytes | None:
    file = io.BytesIO()
    try:
        image.save(file, form, **options)
    except (OSError, ValueError, KeyError, TypeError, SystemError):
        return None  # not written by this format, or not by this version
    return file.getvalue()


def by_pillow() -> Files:
    """Every mode in every format, with every option that changes what is in the file."""
    options: dict[str, list[dict[str, Any]]] = {
        "JPEG": [
            _LOSSY,
            {"progressive": True, **_LOSSY},
            {"subsampling": 0, **_LOSSY},
            {"restart_marker_blocks": 3, **_LOSSY},
            {"keep_rgb": True, **_LOSSY},
            {"streamtype": 2, **_LOSSY},
        ],
        "PNG": [{}, {"compress_level": 0}, {"bits": 2}, {"bits": 4}, {"transparency": 3}],
        "TIFF": [
            *(
                {"compression": c}
                for c in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd")
            ),
            *({"compression": c} for c in ("group3", "group4", "tiff_ccitt", "lzma")),
            {"big_tiff": True},
            {"strip_size": 700},
            {"tiffinfo": {317: 2}, "compression": "tiff_lzw"},
        ],
        "WEBP": [_LOSSY, {"lossless": True}, {"exact": True, "lossless": True}],
        "JPEG2000": [{}, {"irreversible": True}, {"no_jp2": True}, {"tile_size": (32, 32)}],
        "TGA": [{}, {"compression": "tga_rle"}, {"orientation": 1}],
        "SGI": [{}, {"bpc": 2}],
        "GIF": [{}, {"interlace": 0}, {"transparency": 3}],
        "ICO": [{"sizes": [(32, 32), (16, 16)]}, {"bitmap_format": "bmp"}],
        "AVIF": [_LOSSY, {"subsampling": "4:4:4", **_LOSSY}],
        "DDS": [{}, *({"pixel_format": f} for f in ("DXT1", "DXT3", "DXT5"))],
    }
    others = ("BMP", "DIB", "PPM", "PCX", "IM", "MSP", "XBM", "QOI", "BLP", "MPO")
    for form in (*options, *others):
        for number, option in enumerate(options.get(form, [{}])):
            for mode in _MODES:
                if str(option.get("compression")) in ("group3", "group4", "tiff_ccitt") and mode != "1":
                    continue
                image = in_mode(mode).resize((32, 32)) if form == "ICO" else in_mode(mode)
                if (data := _saved(image, form, option)) is not None:
                    yield f"Pillow {form} {mode} {number}", data
    more = [RGB.rotate(9), RGB.rotate(90)]
    for form, code in itertools.product(("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "MPO"), range(1, 9)):
        if (data := _saved(RGB, form, {"exif": oriented(code), **_LOSSY})) is not None:
            yield f"Pillow {form} turned {code}", data
    for form in ("GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"):
        for mode in ("L", "P", "RGB", "RGBA"):
            frames = {"save_all": True, "append_images": [image.convert(mode) for image in more]}
            if (data := _saved(in_mode(mode), form, frames)) is not None:
                yield f"Pillow {form} {mode} animated", data
    if (
        data := _saved(RGB, "PNG", {"save_all": True, "append_images": more, "default_image": True})
    ) is not None:
        yield "Pillow PNG animated, default image apart", data
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for form in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF"):
        if (data := _saved(RGB, form, {"icc_profile": profile, **_LOSSY})) is not None:
            yield f"Pillow {form} with a profile", data


def by_tifffile() -> Files:
    """Depths, planes, extra samples, orders of bytes, tiles, predictors."""
    import tifffile

    gray, rgba = _ARRAY[..., 1], np.dstack([_ARRAY, np.asarray(_ALPHA)])
    scale: dict[Any, float] = {np.uint8: 1, np.uint16: 257, np.uint32: 1 << 23, np.int8: 0.25, np.int16: 64}
    scale |= {np.float16: 1 / 255, np.float32: 1 / 255, np.float64: 1 / 255}
    kinds: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "gray": (gray, {"photometric": "minisblack"}),
        "white as 0": (gray, {"photometric": "miniswhite"}),
        "RGB": (_ARRAY, {"photometric": "rgb"}),
        "RGBA": (rgba, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        "RGBa": (rgba // 2, {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
        "RGB and another": (rgba, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
        "CMYK": (np.asarray(RGB.convert("CMYK")), {"photometric": "separated"}),
        "gray and alpha": (
            np.dstack([gray, gray // 3]),
            {"photometric": "minisblack", "planarconfig": "contig"},
        ),
        "planes": (_ARRAY.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    }
    forms: dict[str, dict[str, Any]] = {
        "plain": {},
        "big-endian": {"byteorder": ">"},
        "BigTIFF": {"bigtiff": True},
        "deflate": {"compression": "zlib"},
        "tiles": {"tile": (16, 32)},
        "strips": {"rowsperstrip": 7},
    }
    for (name, (array, options)), dtype in itertools.product(kinds.items(), scale):
        for form, more in forms.items():
            if form not in ("plain", "big-endian") and dtype not in (np.uint8, np.uint16):
                continue
            file = io.BytesIO()
            try:
                tifffile.imwrite(
                    file, (array * float(scale[dtype])).astype(dtype), metadata=None, **options, **more
                )
            except (ValueError, RuntimeError, ImportError):
                continue
            yield f"tifffile {name} {np.dtype(dtype).name} {form}", file.getvalue()


def by_imageio() -> Files:
    """What its plugins write by default."""
    import imageio.v3 as iio

    gray = _ARRAY[..., 1]
    arrays = {
        "gray": gray,
        "RGB": _ARRAY,
        "RGBA": np.dstack([_ARRAY, gray]),
        "gray 16": gray.astype(np.uint16) * 257,
    }
    for (name, array), end in itertools.product(
        arrays.items(),
        (".png", ".jpg", ".bmp", ".tiff", ".webp", ".gif", ".tga", ".ppm", ".pgm", ".jp2", ".pcx", ".sgi"),
    ):
        try:
            yield f"imageio {end} {name}", iio.imwrite("<bytes>", array, extension=end)
        except Exception:  # whatever its plugins raise for what they do not write
            continue


_DEPTHS = (1, 2, 4, 8, 10, 12, 16)
_TYPES = ("Bilevel", "Grayscale", "GrayscaleAlpha", "Palette", "PaletteAlpha", "TrueColor", "TrueColorAlpha")
_MAGICK: dict[str, list[str]] = {
    "tiff": [
        f"-depth {depth} -type {kind} -compress {coded}"
        for depth, kind in itertools.product(_DEPTHS, (*_TYPES, "ColorSeparation"))
        for coded in ("none", "lzw")
    ]
    + [f"-compress {c}" for c in ("zip", "rle", "jpeg", "fax", "group4", "lzma", "zstd")]
    + [f"-endian {e} -depth 16" for e in ("LSB", "MSB")]
    + ["-interlace plane", "-define tiff:alpha=associated -alpha on", "-define quantum:format=floating-point"]
    + [
        "-define tiff:tile-geometry=16x16",
        "-define tiff:rows-per-strip=3",
        "-define quantum:polarity=min-is-white",
    ]
    + [f"-orient {o}" for o in ("TopRight", "BottomRight", "LeftTop", "RightTop", "LeftBottom")],
    "png": [f"-depth {d} -type {t}" for d, t in itertools.product((1, 2, 4, 8, 16), _TYPES)]
    + ["-interlace PNG", "-gamma 1.8", "-define png:color-type=3", "-transparent blue"],
    "bmp": [f"-type {t}" for t in _TYPES] + ["-compress RLE", "-define bmp:subtype=RGB565"],
    "bmp2": [""],
    "bmp3": ["", "-compress RLE -type Palette", "-type Bilevel"],
    "jpg": [f"-quality 95 {o}" for o in ("", "-interlace JPEG", "-colorspace CMYK", "-colorspace Gray")]
    + [
        f"-quality 95 -sampling-factor {s}"
        for s in ("4:4:4", "4:2:2", "4:2:0", "4:1:1", "4:4:0", "1x2", "2x1,1x1,1x2")
    ]
    + [
        "-quality 95 -define jpeg:arithmetic-coding=true",
        "-quality 95 -colorspace YCbCr",
        "-quality 95 -strip",
    ],
    "webp": ["-quality 95", "-define webp:lossless=true", "-alpha on -channel A -evaluate set 50%"],
    "gif": ["", "-interlace GIF", "-transparent blue", "-type Bilevel"],
    "ppm": [f"-depth {d} {c}" for d in (1, 4, 8, 10, 16) for c in ("", "-compress none")],
    "pgm": [f"-depth {d} {c}" for d in (1, 4, 8, 10, 16) for c in ("", "-compress none")],
    "pbm": ["", "-compress none"],
    "pam": [f"-depth {d} -type {t}" for d in (1, 8, 16) for t in _TYPES],
    "pfm": ["", "-endian MSB"],
    "tga": [f"-type {t} {c}" for t in _TYPES for c in ("", "-compress RLE")],
    "pcx": [f"-type {t}" for t in _TYPES],
    "sgi": [f"-depth {d} {c}" for d in (8, 16) for c in ("", "-compress RLE")],
    "xpm": [""],
    "xbm": [""],
    "ico": [""],
    "dds": ["", "-define dds:compression=dxt1", "-define dds:compression=none"],
    "psd": ["", "-compress RLE", "-depth 16", "-type Grayscale", "-colorspace CMYK"],
    "jp2": ["", "-type Grayscale", "-depth 12", "-depth 16", "-type TrueColorAlpha"],
    "fits": [""],
    "sun": [f"-type {t}" for t in _TYPES],
    "dcx": [""],
    "avif": ["", "-depth 10"],
    "qoi": ["", "-type TrueColorAlpha"],
    "mng": [""],
    "heic": [""],
}


def by_imagemagick(folder: Path) -> Files:
    """Through its command line; nothing where it is not installed."""
    command = shutil.which("magick") or shutil.which("convert")
    if command is None:
        return
    source = folder / "source.png"
    RGB.save(source)

    def write(number: int, end: str, options: str) -> tuple[str, bytes]:
        out = folder / f"{number}.{end}"
        call = [command, str(source), *options.split(), f"{end}:{out}"]
        if subprocess.run(call, capture_output=True, timeout=60).returncode:
            out.unlink(missing_ok=True)  # a part of one
        return f"ImageMagick {end} {options}".strip(), out.read_bytes() if out.is_file() else b""

    jobs = [(end, options) for end, every in _MAGICK.items() for options in every]
    with ThreadPoolExecutor(2) as pool:
        for name, data in pool.map(lambda job: write(job[0], *job[1]), enumerate(jobs)):
            if data:
                yield name, data
