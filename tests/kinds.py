"""Kinds of images, each as a file, with what DALI 2.4 makes of it: Pillow's pixels, or why Pillow decodes
it."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from .corpus import encoded, photo
from .written import bmp, packed, png, png_chunk, png_rows

Pixels = npt.NDArray[np.uint8]
W, H = 61, 43
RGB: Pixels = np.asarray(photo(W, H))
GRAY: Pixels = RGB[..., 1].copy()
ALPHA: Pixels = np.ascontiguousarray(np.broadcast_to(np.linspace(0, 255, W).astype(np.uint8), (H, W)))
RGBA, GRAY_ALPHA = np.dstack([RGB, ALPHA]), np.dstack([GRAY, ALPHA])


@dataclass(frozen=True)
class Kind:
    """A file.

    Attributes:
        data: its bytes.
        reason: how the kind's name begins where DALI does not decode it rightly, so that Pillow does; ""
            elsewhere.
        right: the pixels it shows, uint8 ``[H, W, 3]``, where Pillow cannot say; None: Pillow's.
    """

    data: bytes
    reason: str = ""
    right: Pixels | None = None


def as_rgb(gray: npt.NDArray[np.integer]) -> Pixels:
    return np.repeat(gray.astype(np.uint8)[..., None], 3, 2)


def levels(bits: int) -> Pixels:
    """GRAY with so many bits."""
    return GRAY >> (8 - bits)


def palette(bits: int) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (1 << bits, 3), np.uint8)


# ---- BMP ----


def bmps() -> Iterator[tuple[str, Kind]]:
    size, bgr = (H, W), np.ascontiguousarray(RGB[..., ::-1])
    usual = (0xFF0000, 0xFF00, 0xFF)
    r, g, b = (RGB[..., k].astype(np.uint16) >> n for k, n in ((0, 3), (1, 2), (2, 3)))
    rgb565 = r << 11 | g << 5 | b
    for header in (12, 40, 52, 56, 64, 108, 124):
        many = dict(header=header)
        yield f"24 bits, header {header}", Kind(bmp(bgr, size, 24, **many))
        for name, alpha in (("no alpha", ALPHA * 0), ("alpha", ALPHA)):
            yield f"32 bits, {name}, header {header}", Kind(bmp(np.dstack([bgr, alpha]), size, 32, **many))
        for bits in (1, 4, 8):
            data = bmp(levels(bits), size, bits, palette=palette(bits), **many)
            yield f"palette of {bits} bits, header {header}", Kind(data)
        yield f"5-5-5, header {header}", Kind(bmp(rgb565 & 0x7FFF, size, 16, **many), "16-bit BMP")
        if header == 12:
            continue
        yield f"top-down, header {header}", Kind(bmp(bgr, size, 24, top_down=True, **many))
        data = bmp(levels(8), size, 8, palette=palette(8), top_down=True, gap=10, **many)
        yield f"top-down palette with a gap, header {header}", Kind(data)
        if header == 64:
            continue
        data = bmp(rgb565, size, 16, compression=3, masks=(0xF800, 0x7E0, 0x1F), **many)
        yield f"5-6-5, header {header}", Kind(data, "16-bit BMP")
        fields = dict(compression=3, **many)
        data = bmp(np.dstack([bgr, ALPHA]), size, 32, masks=(*usual, 0xFF000000), **fields)
        yield f"usual masks, header {header}", Kind(data)
        data = bmp(np.dstack([bgr, ALPHA]), size, 32, masks=(0, 0, 0), **fields)
        yield f"zero masks, header {header}", Kind(data)
        data = bmp(np.dstack([ALPHA, bgr]), size, 32, masks=[m << 8 for m in usual], **fields)
        why = "" if header >= 56 else "BMP with unusual colour masks"
        yield f"shifted masks, header {header}", Kind(data, why)
        wide = RGB.astype(np.uint32) * 1023 // 255
        data = bmp(
            wide[..., 0] << 20 | wide[..., 1] << 10 | wide[..., 2],
            size,
            32,
            masks=(0x3FF00000, 0xFFC00, 0x3FF),
            **fields,
        )
        yield f"10-10-10, header {header}", Kind(data, why, RGB)
    four = levels(4)
    end = bytes([-W % 4, 0, 0, 0])  # rows are coded to a multiple of four pixels, as some programs do
    for bits, compression in ((8, 1), (4, 2)):
        coded = b"".join(b"".join(bytes([1, v << (8 - bits)]) for v in row) + end for row in four[::-1])
        whole = bmp(coded + b"\0\1", size, bits, compression=compression, palette=palette(4))
        yield f"RLE{bits}", Kind(whole, "run-length coded BMP", palette(4)[four])
    for form, compression in (("JPEG", 4), ("PNG", 5)):
        data = bmp(encoded(Image.fromarray(RGB), form), size, 0, compression=compression)
        yield f"{form} inside", Kind(data, f"BMP of compression {compression}")


# ---- PNM ----


def pnms() -> Iterator[tuple[str, Kind]]:
    for maximum in (1, 15, 100, 255, 256, 1023, 4095, 65535):
        for binary, plain, samples in ((b"P5", b"P2", GRAY), (b"P6", b"P3", RGB)):
            scaled = np.round(samples / 255 * maximum).astype(np.uint32)
            head = b" %d %d %d\n" % (W, H, maximum)
            why = f"PNM with maxval {maximum}"
            fine = maximum in (255, 65535)
            body = scaled.astype("u1" if maximum < 256 else ">u2").tobytes()
            right = np.round(scaled / maximum * 255).astype(np.uint8)
            right = right if right.ndim == 3 else as_rgb(right)
            yield f"{binary!r} {maximum}", Kind(binary + head + body, "" if fine else why, right)
            text = b"\n".join(b" ".join(b"%d" % v for v in row.ravel()) for row in scaled) + b"\n"
            why = "" if fine or maximum < 255 else why
            yield f"{plain!r} {maximum}", Kind(plain + head + text, why, right)
    ink = 1 - levels(1)
    spaced = b"\n".join(b" ".join(b"%d" % v for v in row) for row in ink)
    lost = "PBM whose pixels"
    head = b" %d %d\n" % (W, H)
    yield "P4", Kind(b"P4" + head + b"".join(packed(ink, 1)))
    yield "P4 that begins as a comment", Kind(b"P4 32 8\n" + b"#abc" * 8, lost)
    yield "P4 of white space", Kind(b"P4 32 8\n" + b"    " * 8, lost)
    yield "P1", Kind(b"P1" + head + spaced)
    yield "P1 without spaces", Kind(b"P1" + head + spaced.replace(b" ", b"") + b"\n", lost)
    for name, head in (
        ("before", b"P6\n# 9 9\n%d %d\n255\n"),
        ("between", b"P6\n%d #9\n#8\n%d\n255\n"),
        ("late", b"P6\n%d %d\n# 100\n255\n"),
        ("with CRLF", b"P6\n# a\r\n%d %d\n255\n"),
        ("of white space", b"P6\r\n%d\v0%d\t255 "),
    ):
        yield f"comment {name}", Kind(head % (W, H) + RGB.tobytes())
    odd = "PNM with a comment in an unusual place"
    yield "comment in a number", Kind(b"P6\n%d#c\n %d\n255\n" % (W, H) + RGB.tobytes(), odd)
    yield "comment ended by CR", Kind(b"P6\n# a\r%d %d\n255\n" % (W, H) + RGB.tobytes(), odd)
    yield "comment behind maxval", Kind(b"P6\n%d %d\n255#c\n" % (W, H) + RGB.tobytes(), odd, RGB)
    pam = b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" % (W, H)
    yield "PAM", Kind(pam + RGB.tobytes(), "PAM", RGB)
    pfm = b"Pf\n%d %d\n-1.0\n" % (W, H) + GRAY[::-1].astype("<f4").tobytes()
    yield "PFM", Kind(pfm, "PFM", as_rgb(GRAY))


# ---- EXIF and XMP ----


def exif(code: int, order: str = "<", kind: int = 3, before: bytes = b"", after: bytes = b"") -> bytes:
    """An EXIF block with an orientation, and entries of one's own."""
    value = struct.pack(order + "HH", code, 0) if kind == 3 else struct.pack(order + "I", code)
    entries = before + struct.pack(order + "HHI", 274, kind, 1) + value + after
    head = struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(entries) // 12)
    return head + entries + bytes(4)


def xmp(code: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF>'
        b"</x:xmpmeta>" % code
    )


NO_EXIF = exif(6).replace(b"\x12\x01", b"\x13\x01")
_BEYOND = struct.pack("<HHII", 0x131, 2, 20, 500)  # a text that lies outside of the block


def exif_blocks() -> Iterator[tuple[str, bytes, bool]]:
    """Name, block, and whether DALI reads it as Pillow does."""
    for order in "<>":
        for code in range(10):
            yield f"orientation {code}{order}", exif(code, order), True
    yield "a byte", exif(6, kind=1), False
    yield "a long in Motorola order", exif(6, ">", kind=4), False
    yield "a long", exif(6, kind=4), True
    yield "a text beyond the end", exif(6, after=_BEYOND), False
    yield "a text beyond the end, upright", exif(1, after=_BEYOND), True
    yield "an unknown text beyond the end", exif(6, after=_BEYOND.replace(b"\x31\x01", b"\x9b\x9c")), True
    yield "cut off", exif(6, after=bytes(12))[:23], False


# ---- PNG ----


def pngs() -> Iterator[tuple[str, Kind]]:
    for bits in (1, 2, 4, 8):
        samples, colours = levels(bits), palette(bits)
        gray = as_rgb(samples.astype(int) * 255 // ((1 << bits) - 1))
        yield f"gray {bits}", Kind(png(samples, bits, 0), right=gray)
        key = png_chunk(b"tRNS", struct.pack(">H", 1))
        yield f"gray {bits} with a colour key", Kind(png(samples, bits, 0, before=key), right=gray)
        table = png_chunk(b"PLTE", colours.tobytes())
        yield f"palette {bits}", Kind(png(samples, bits, 3, before=table))
        clear = png_chunk(b"tRNS", bytes(range(1 << bits)))
        yield f"palette {bits} with alpha", Kind(png(samples, bits, 3, before=table + clear))
    for bits in (8, 16):
        scale = np.uint8(1) if bits == 8 else np.uint16(257)
        for name, samples, colour, right in (
            ("RGB", RGB, 2, RGB),
            ("RGBA", RGBA, 6, RGB),
            ("gray and alpha", GRAY_ALPHA, 4, as_rgb(GRAY)),
        ):
            yield f"{name} {bits}", Kind(png(samples * scale, bits, colour), right=right)
    yield "gray 16", Kind(png(GRAY * np.uint16(257), 16, 0), right=as_rgb(GRAY))
    for name, block, same in exif_blocks():
        data = png(RGB, 8, 2, before=png_chunk(b"eXIf", block))
        yield f"EXIF, {name}", Kind(data, "" if same else "PNG whose orientation")
    turned = "PNG whose orientation"
    yield "EXIF behind the pixels", Kind(png(RGB, 8, 2, after=png_chunk(b"eXIf", exif(6))))
    for code, why in ((6, turned), (1, "")):
        block = b"Exif\0\0" + exif(code)
        yield f"EXIF {code} with JPEG's prefix", Kind(png(RGB, 8, 2, before=png_chunk(b"eXIf", block)), why)
        text = b"\nexif\n%8d\n" % len(block) + block.hex("\n", 36).encode() + b"\n"
        for kind, body in (
            (b"tEXt", b"\0" + text),
            (b"zTXt", b"\0\0" + zlib.compress(text)),
            (b"iTXt", b"\0\0\0\0\0" + text),
        ):
            chunk = png_chunk(kind, b"Raw profile type exif" + body)
            yield f"EXIF {code} in {kind!r}", Kind(png(RGB, 8, 2, before=chunk), why)
        packet = xmp(code)
        squeezed = b"\0\1\0\0\0" + zlib.compress(packet)
        for name, body in (("", b"\0\0\0\0\0" + packet), (" packed", squeezed)):
            chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp" + body)
            yield f"XMP {code}{name}", Kind(png(RGB, 8, 2, after=chunk), why)
    both = png_chunk(b"eXIf", exif(1)) + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6))
    yield "XMP that EXIF overrules", Kind(png(RGB, 8, 2, before=both))
    count = [png_chunk(b"acTL", struct.pack(">II", n, 0)) for n in range(3)]

    def frame(number: int) -> bytes:
        return png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, W, H, 0, 0, 1, 10, 0, 0))

    def pixels(number: int, image: Pixels) -> bytes:
        return png_chunk(b"fdAT", struct.pack(">I", number) + png_rows(image, 8))

    more = frame(1) + pixels(2, 255 - RGB)
    yield "animated", Kind(png(RGB, 8, 2, before=count[2] + frame(0), after=more))
    hidden = frame(0) + pixels(1, 255 - RGB) + frame(2) + pixels(3, RGB[::-1].copy())
    yield (
        "animated, hidden default",
        Kind(
            png(RGB, 8, 2, before=count[2], after=hidden), "animated PNG whose default image is no frame", RGB
        ),
    )
    yield (
        "animated, turned",
        Kind(
            png(RGB, 8, 2, before=count[2] + frame(0) + png_chunk(b"eXIf", exif(6)), after=more),
            "animated PNG that is turned",
        ),
    )
    yield "animated, no frames", Kind(png(RGB, 8, 2, before=count[0]), "animated PNG without frames", RGB)
    yield "frames without animation", Kind(png(RGB, 8, 2, after=frame(0) + pixels(1, 255 - RGB)), right=RGB)


# ---- WebP ----


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webps() -> Iterator[tuple[str, Kind]]:
    image, clear = Image.fromarray(RGB), Image.fromarray(RGBA)
    exact = dict(lossless=True, exact=True)
    yield "lossy", Kind(encoded(image, "WEBP"))
    yield "lossy with alpha", Kind(encoded(clear, "WEBP"))
    yield "lossless", Kind(encoded(image, "WEBP", lossless=True), right=RGB)
    yield "lossless with alpha", Kind(encoded(clear, "WEBP", **exact), right=RGB)
    frames = dict(save_all=True, append_images=[clear.rotate(180)])
    yield "animated", Kind(encoded(image, "WEBP", lossless=True, **frames))
    yield "animated with alpha", Kind(encoded(clear, "WEBP", **exact, **frames))
    plain = encoded(image, "WEBP", lossless=True)
    (length,) = struct.unpack_from("<I", plain, 16)
    even = (b"VP8L", plain[20 : 20 + length + length % 2])
    size = struct.pack("<I", W - 1)[:3] + struct.pack("<I", H - 1)[:3]

    def extended(flags: int) -> tuple[bytes, bytes]:
        return b"VP8X", bytes([flags, 0, 0, 0]) + size

    turned = "WebP whose orientation"
    for name, block, same in exif_blocks():
        yield f"EXIF, {name}", Kind(riff(extended(8), even, (b"EXIF", block)), "" if same else turned)
    prefixed = (b"EXIF", b"Exif\0\0" + exif(6))
    yield "EXIF with JPEG's prefix", Kind(riff(extended(8), even, prefixed), turned)
    yield "EXIF without its flag", Kind(riff(extended(0), even, (b"EXIF", exif(6))))
    lost = "WebP with EXIF behind a chunk of odd length"
    odd = (b"ICCP", b"odd")
    yield "EXIF behind an odd chunk", Kind(riff(extended(40), odd, even, (b"EXIF", exif(6))), lost)
    yield "EXIF claimed", Kind(riff(extended(8), even), lost)
    yield "XMP", Kind(riff(extended(4), even, (b"XMP ", xmp(6))), turned)
    yield "XMP that EXIF overrules", Kind(riff(extended(12), even, (b"EXIF", exif(1)), (b"XMP ", xmp(6))))


# ---- JPEG and JPEG 2000 ----

# What Pillow cannot write: 20 x 12 pixels by libjpeg-turbo and OpenJPEG, in base 85.
_ARITHMETIC = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV00;&K2L=TQ2L}fU2?z=d6b%du3k(?&6Au&}8Xq1V8XO!TBrYc)A}k{u94I#_EHE)NG&C"
    "P4IXyTsJT5adGXL8ELjeg12@DGi7!3^=G9erxGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUGBPqUG"
    "BW?k01*fP3;+}Z0U`hb5di}c0sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zf#0J4RkZV3MX*)h(r<k8zEqhJz*#o=x_GU~rldLG*"
    "A!k<_xNvZ~BZdX1>2(z^(E2`Ue1V8f5#Txo%aR1o"
)
_BITS_12 = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV01yid4h#wq4h;?x5fBp?C>j_R78o%jB^@X_Gd(;xGdMRuNL)@pL{~*OI8bd-S6^ahXlF"
    "i6ad~iLcwA*?WB<Vb3k(1Z02BcM5di<h02KfM0RR9100000000000000A3;)Cb9S{Hk0|fy9000000000000009MS=kZ2RDJS|"
    "Jncu0RaF2KL9D|g3$qhCJRIb5r8#Kv%XN1x?r?GU<rcJ0YqR8Q*7^)KmXY"
)
_LOSSLESS_GRAY = (
    "|JeWF01!$>Nk#wx0RR9200961|HA+a2mlNK6afJd0RO}Q761VO0RR910000000000000C42>;pu2mt{A0RRBc>|+?lF^ppv#xa"
    "azCNYd-7{)P-V;IIUlNiP^jAIzaF^ppv$&6zd#xaaz7{)P-WX3U!V;IIUjAIzaGGiFVF^ppv#xaaz88M7w7{)P-V;IIUjF`qTj"
    "AIzaF^ppv#!O=v#xaaz7{)P-V<s_-V;IIUjAIzaF_Rd^F^ppv#xaaz7|D!d7{)P-V;IIUjA#GZ"
)
_JP2_12 = (
    "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}0000C0000K009dJ0000001sntY;pkr000005dZ"
    ")H{c3PBWB*V8Q2;3b000006aWAK3;+NC00000000006aWAK3;+NC000000003C0RjI~01N;C009611Oxy9|6BkBKw$r503`qcL"
    "vm$dbY)~9VtF7>aAj^vP(?=|c4cyNX>V>IGA=bPH2;tQ3IG5A004^s0soWV;ph=-FB{Mv2bx5#m|R%Z3b%X<*b$PLyn<w=IOY1"
    "%ONKWs?@9vvCU7VPiqH-anZTeHD?l~uw{UH?n_3Tb1*Rlheg>}-t_x=TLAT&)@jBqPZ^RpZ{gn>+zHgkLv4df-*lac%4Uah3Y&"
    "IJWhQnd8?{Il}l(PSS|Je"
)


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def jpegs() -> Iterator[tuple[str, Kind]]:
    image = Image.fromarray(RGB)
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        yield sampling, Kind(encoded(image, "JPEG", subsampling=sampling))
    yield "progressive", Kind(encoded(image, "JPEG", progressive=True))
    yield "restart markers", Kind(encoded(image, "JPEG", restart_marker_blocks=2))
    yield "RGB", Kind(encoded(image, "JPEG", keep_rgb=True))
    yield "gray", Kind(encoded(image.convert("L"), "JPEG"))
    jpeg = encoded(image, "JPEG", quality=95)

    def with_(*segments: bytes) -> bytes:
        return jpeg[:2] + b"".join(segments) + jpeg[2:]

    turned = "JPEG whose orientation"
    for name, block, same in exif_blocks():
        data = with_(segment(0xE1, b"Exif\0\0" + block))
        yield f"EXIF, {name}", Kind(data, "" if same else turned)
    for first, second, same in ((1, 1, True), (6, 6, True), (1, 6, False), (3, 1, False)):
        parts = (segment(0xE1, b"Exif\0\0" + exif(code)) for code in (first, second))
        yield f"EXIF {first}, then {second}", Kind(with_(*parts), "" if same else turned)
    packet = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6))
    yield "XMP", Kind(with_(packet), turned)
    yield "XMP far in", Kind(with_(*(segment(0xE2, bytes(60000)) for _ in range(2)), packet), turned)
    yield "XMP beside EXIF without it", Kind(with_(segment(0xE1, b"Exif\0\0" + NO_EXIF), packet), turned)
    yield "XMP that EXIF overrules", Kind(with_(packet, segment(0xE1, b"Exif\0\0" + exif(1))))
    cmyk = encoded(Image.merge("CMYK", [*image.split(), Image.fromarray(ALPHA // 2)]), "JPEG", quality=95)
    at = cmyk.index(b"\xff\xee")
    yield "CMYK", Kind(cmyk)
    yield "YCCK", Kind(cmyk[: at + 15] + b"\2" + cmyk[at + 16 :])
    yield "CMYK without Adobe's marker", Kind(cmyk[:at] + cmyk[at + 16 :], "CMYK JPEG without Adobe's marker")
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    for ids in ((0, 1, 2), (82, 71, 66), (34, 35, 36)):
        named = bytearray(jpeg[:2] + jpeg[20:])
        for k, number in enumerate(ids):
            named[frame - 18 + 10 + 3 * k] = named[scan - 18 + 5 + 2 * k] = number
        yield f"components {ids}", Kind(bytes(named))
    yield "arithmetic", Kind(base64.b85decode(_ARITHMETIC))
    yield "12 bits", Kind(base64.b85decode(_BITS_12), "12-bit JPEG")
    yield "lossless gray", Kind(base64.b85decode(_LOSSLESS_GRAY), "lossless gray JPEG")


def jpegs_2000() -> Iterator[tuple[str, Kind]]:
    image, gray = Image.fromarray(RGB), Image.fromarray(GRAY)
    both = Image.fromarray(GRAY_ALPHA, "LA")
    yield "RGB", Kind(encoded(image, "JPEG2000"), right=RGB)
    yield "RGBA", Kind(encoded(Image.fromarray(RGBA), "JPEG2000"), right=RGB)
    yield "gray", Kind(encoded(gray, "JPEG2000"), right=as_rgb(GRAY))
    yield "gray 16", Kind(encoded(Image.fromarray(GRAY * np.uint16(257)), "JPEG2000"), right=as_rgb(GRAY))
    yield "codestream", Kind(encoded(image, "JPEG2000", no_jp2=True), right=RGB)
    yield "gray codestream", Kind(encoded(gray, "JPEG2000", no_jp2=True), "gray JPEG 2000")
    yield "gray and alpha", Kind(encoded(both, "JPEG2000"), "JPEG 2000 with gray and alpha")
    data = encoded(image, "JPEG2000")
    at = data.index(b"colr\1") + 7
    yield "sYCC", Kind(data[:at] + struct.pack(">I", 18) + data[at + 4 :], "JPEG 2000 in sYCC")
    yield "12 bits", Kind(base64.b85decode(_JP2_12), "JPEG 2000 of signed samples or of other")


def kinds() -> dict[str, Kind]:
    """Name → kind, of every format but TIFF."""
    forms = {"BMP": bmps, "PNM": pnms, "PNG": pngs, "WebP": webps, "JPEG": jpegs, "JPEG 2000": jpegs_2000}
    return {f"{form}: {name}": kind for form, make in forms.items() for name, kind in make()}
