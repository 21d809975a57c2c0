"""Makes files that a data set may hold and should not, and odd ones that are fine."""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

GOOD, BAD, EITHER = "good", "bad", "either"  # EITHER: damage that a decoder may or may not see


@dataclass(frozen=True)
class Case:
    """A file's content and what must become of it."""

    data: bytes
    verdict: str
    suffix: bytes = b".jpg"


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """An image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photo(width: int = 161, height: int = 120) -> Image.Image:
    """Something that looks like a photograph: smooth, with grain."""
    rng = np.random.default_rng(1)
    rough = Image.fromarray(rng.integers(0, 256, (8, 10, 3), np.uint8)).resize((width, height), 3)
    grain = rng.normal(0, 4, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(rough) + grain, 0, 255).astype(np.uint8))


def oriented(code: int) -> Image.Exif:
    """EXIF data that only says how the image is turned, 1 to 8."""
    exif = Image.Exif()
    exif[0x0112] = code
    return exif


def claiming(width: int, height: int, form: str) -> bytes:
    """A small image whose header says another size."""
    if form == "JPEG":
        data = encoded(photo(16, 16), "JPEG")
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]
    data = encoded(photo(16, 16), "PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def cases() -> dict[str, Case]:
    """Name → case, without a folder's own oddities (see ``write``)."""
    image = photo()
    jpeg = encoded(image, "JPEG", quality=92)
    progressive = encoded(image, "JPEG", progressive=True)
    png = encoded(image, "PNG")
    found: dict[str, Case] = {}

    # Damaged. A box may lie before the damage, so only what no box can be read from is surely bad.
    for tenth in range(10):
        found[f"jpeg cut {tenth}"] = Case(jpeg[: len(jpeg) * tenth // 10], EITHER if tenth else BAD)
        found[f"png cut {tenth}"] = Case(png[: len(png) * tenth // 10], EITHER if tenth else BAD, b".png")
    found["progressive cut"] = Case(progressive[: len(progressive) // 2], EITHER)
    rng = np.random.default_rng(2)
    for k in range(10):
        flipped = np.frombuffer(jpeg if k < 7 else png, np.uint8).copy()
        places = rng.integers(0, len(flipped), 1 + 4 * k)
        flipped[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
        found[f"flipped bits {k}"] = Case(flipped.tobytes(), EITHER, b".jpg" if k < 7 else b".png")
    middle = len(jpeg) // 2
    found["zeros in the middle"] = Case(jpeg[:middle] + bytes(500) + jpeg[middle + 500 :], EITHER)
    found["zeros at the end"] = Case(jpeg[:middle] + bytes(len(jpeg) - middle), EITHER)
    found["no scan"] = Case(jpeg[: jpeg.index(b"\xff\xda") + 4], BAD)
    found["no quantisation"] = Case(_without(jpeg, 0xDB), BAD)
    found["png crc"] = Case(png[:60] + bytes([png[60] ^ 1]) + png[61:], EITHER, b".png")

    # No images at all.
    found["empty"] = Case(b"", BAD)
    found["one byte"] = Case(b"\xff", BAD)
    found["start marker"] = Case(b"\xff\xd8", BAD)
    found["zeros"] = Case(bytes(4096), BAD)
    found["noise"] = Case(rng.bytes(4096), BAD)
    found["html"] = Case(b"<!DOCTYPE html><html><body>403 Forbidden</body></html>", BAD)
    found["text"] = Case(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", BAD, b".png")
    found["json"] = Case(b'{"error": "rate limit"}', BAD)
    found["zip"] = Case(b"PK\x03\x04" + bytes(300), BAD)
    found["pdf"] = Case(b"%PDF-1.7\n" + bytes(300), BAD, b".png")
    found["gif"] = Case(encoded(image, "GIF"), GOOD)
    found["animated gif"] = Case(encoded(image, "GIF", save_all=True, append_images=[image.rotate(9)]), GOOD)
    found["ico"] = Case(encoded(image.resize((32, 32)), "ICO"), GOOD)
    found["png signature"] = Case(png[:8], BAD, b".png")
    found["webp riff"] = Case(encoded(image, "WEBP")[:16], BAD, b".webp")
    found["bmp head"] = Case(encoded(image, "BMP")[:30], BAD, b".bmp")
    found["tiff head"] = Case(encoded(image, "TIFF")[:8], BAD, b".tif")

    # Sizes that would take gigabytes.
    found["jpeg of 65500 x 65500"] = Case(claiming(65500, 65500, "JPEG"), BAD)
    found["png of 65500 x 65500"] = Case(claiming(65500, 65500, "PNG"), BAD, b".png")
    found["png of 2 ** 31 - 1"] = Case(claiming(2**31 - 1, 2**31 - 1, "PNG"), BAD, b".png")
    found["jpeg of no height"] = Case(claiming(16, 0, "JPEG"), BAD)
    found["png of no width"] = Case(claiming(0, 16, "PNG"), BAD, b".png")

    # Odd, and fine.
    for code in range(1, 9):
        found[f"exif {code}"] = Case(encoded(image, "JPEG", exif=oriented(code)), GOOD)
    good = {
        "plain": jpeg,
        "progressive": progressive,
        "gray": encoded(image.convert("L"), "JPEG"),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "broken exif": jpeg[:2] + _segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff") + jpeg[2:],
        "senseless orientation": encoded(image, "JPEG", exif=oriented(77)),
        "bytes behind the end": jpeg + b"trailing" * 10,
        "late header": encoded(image, "JPEG", comment=b"x" * 60000, icc_profile=b"y" * 60000),
        "1 x 1": encoded(image.resize((1, 1)), "JPEG"),
        "20000 x 1": encoded(photo(20000, 1), "JPEG"),
        "1 x 20000": encoded(photo(1, 20000), "JPEG"),
        "a png named jpg": png,
        "no huffman tables": _without(jpeg, 0xC4),  # motion JPEG: the usual ones
    }
    found.update({name: Case(data, GOOD) for name, data in good.items()})
    gray16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 256)
    frames = dict(save_all=True, append_images=[image.rotate(9)])
    other = {
        ".png": {
            "rgba": image.convert("RGBA"),
            "palette": image.convert("P"),
            "16 bit": gray16,
            "gray alpha": image.convert("LA"),
            "1 bit": image.convert("1"),
        },
        ".webp": {"webp": image},
        ".bmp": {"bmp": image},
        ".tif": {"tiff": image},
        ".ppm": {"pnm": image},
        ".pgm": {"pgm": image.convert("L")},
        ".jp2": {"jpeg 2000": image},
    }
    forms = {
        ".png": "PNG",
        ".webp": "WEBP",
        ".bmp": "BMP",
        ".tif": "TIFF",
        ".ppm": "PPM",
        ".pgm": "PPM",
        ".jp2": "JPEG2000",
    }
    for suffix, images in other.items():
        for name, picture in images.items():
            found[name] = Case(encoded(picture, forms[suffix]), GOOD, suffix.encode())
    found["animated png"] = Case(encoded(image, "PNG", **frames), GOOD, b".png")
    found["animated webp"] = Case(encoded(image, "WEBP", **frames), EITHER, b".webp")
    return found


def _segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def _without(jpeg: bytes, marker: int) -> bytes:
    """A JPEG that lacks its segments of one kind."""
    out, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0] + 2
        out += b"" if jpeg[at + 1] == marker else jpeg[at : at + length]
        at += length
    return out + jpeg[at:]


def write(folder: Path) -> dict[bytes, str]:
    """Writes all cases and what only a file system can do wrong; path as bytes → verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    root = os.fsencode(folder)
    found: dict[bytes, str] = {}

    def put(name: bytes, data: bytes, verdict: str) -> None:
        path = os.path.join(root, name)
        with open(path, "wb") as file:
            file.write(data)
        found[path] = verdict

    for name, case in cases().items():
        put(name.encode() + case.suffix, case.data, case.verdict)
    jpeg = encoded(photo(), "JPEG")
    for name in (
        b"a space.jpg",
        b"a\nline.jpg",
        b"\xff\xfe not utf-8.jpg",
        b"'quoted\".jpg",
        b"-dash.jpg",
        "ünï.jpg".encode(),
        b"x" * 240 + b".jpg",
        b"\t\x1b[31m.jpg",
    ):
        put(name, jpeg, GOOD)
    put(b"bad\nline \xff.jpg", b"", BAD)
    links = {b"loop.jpg": b"loop.jpg", b"dangling.jpg": b"nowhere.jpg"}
    for name, target in links.items():
        path = os.path.join(root, name)
        os.symlink(target, path)
        found[path] = BAD
    good = os.path.join(root, b"a link.jpg")
    os.symlink(b"plain.jpg", good)
    found[good] = GOOD
    os.mkdir(os.path.join(root, b"folder.jpg"))
    found[os.path.join(root, b"folder.jpg")] = BAD
    os.mkfifo(os.path.join(root, b"pipe.jpg"))
    found[os.path.join(root, b"pipe.jpg")] = BAD
    return found
