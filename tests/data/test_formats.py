"""Every kind of image comes with Pillow's pixels; what Pillow does not decode either is a bad file that says
so."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np
import nvidia.dali
import pytest
import torch
from PIL import Image, ImageOps

import fastaug as fa
from fastaug.data.headers import read_header
from fastaug.data.opening import open_source
from fastaug.data.source import Kind as Header
from fastaug.decode.decoders import Router
from fastaug.decode.graphs import Decode, crops_graph
from fastaug.sampling.epoch import Ticket

from .. import corpus
from ..decoding import box_of, peeked
from ..kinds import RGB, Kind, Pixels, exif, kinds, segment
from ..kinds_tiff import grid, others
from ..written import png, png_chunk

NEAR = 2  # levels between two decoders
ALL = {**kinds(), **{f"TIFF: {name}": kind for name, kind in others()}}
SOME = dict(list(grid())[::37])
REFUSED = [name for name, kind in ALL.items() if kind.reason]
GOOD = corpus.encoded(corpus.photo(), "JPEG")


def judged(kind: Kind) -> Pixels | None:
    """What a kind is to show, uint8 ``[H, W, 3]``: what is right where DALI decodes it, else what Pillow
    shows; of 16-bit gray the high byte. None: Pillow does not read it."""
    if kind.right is not None and not kind.reason:
        return kind.right
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(kind.data)))
        if image.mode.startswith("I;16") or (image.mode == "I" and b"II*" != kind.data[:3] != b"MM\0"):
            if kind.right is not None:
                return kind.right
            high = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            return np.repeat(high[..., None], 3, 2)
        return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, struct.error):
        return None


def near(got: Pixels, want: Pixels) -> bool:
    return got.shape == want.shape and int(np.abs(got.astype(int) - want).max(initial=0)) <= NEAR


def check(found: Iterable[tuple[str, Kind]]) -> list[str]:
    """The kinds that come with other pixels, are refused without being told to, or without the reason."""
    found = list(found)
    source = open_source([(kind.data, 0) for _, kind in found] + [(GOOD, 0)])
    router, rng, wrong = Router(Decode(), 1, 1, None), np.random.default_rng(0), []
    described = source.describe(Ticket.of(np.arange(len(source))))
    sizes = list(zip(described.height.tolist(), described.width.tolist(), strict=True))
    for i, (name, kind) in enumerate(found):
        reason, want = described.faults.get(i, ""), judged(kind)
        if kind.reason and want is None:  # Pillow does not decode it either
            if not reason:
                with pytest.raises(ValueError, match=r"not supported: |damaged: "):
                    box_of(source, i, (0, 0, *sizes[i]), router)
            elif not reason.startswith(f"not supported: {kind.reason}"):
                wrong.append(f"{name}: {reason!r}")
            continue
        if kind.reason and described.kind[i] != Header.OTHER:
            wrong.append(f"{name}: DALI decodes it")
        if reason or want is None or sizes[i] != want.shape[:2]:
            wrong.append(f"{name}: {reason!r}, {sizes[i]}")
            continue
        h, w = want.shape[:2]
        y, x = int(rng.integers(h // 2 + 1)), int(rng.integers(w // 2 + 1))
        part = (y, x, int(rng.integers(y, h)) + 1, int(rng.integers(x, w)) + 1)
        for y0, x0, y1, x1 in ((0, 0, h, w), part):
            if not near(box_of(source, i, (y0, x0, y1 - y0, x1 - x0), router), want[y0:y1, x0:x1]):
                wrong.append(f"{name}: other pixels in {(y0, x0, y1, x1)}")
    router.close()
    return wrong


def test_every_kind_comes_as_pillow_shows_it_or_is_refused_by_name():
    assert check(ALL.items()) == []


def test_tiffs_of_every_layout_come_right_or_are_refused_by_name():
    assert check(SOME.items()) == []


@pytest.mark.release
def test_all_tiffs_of_the_grid():
    assert check(grid()) == []


def by_dali(data: bytes) -> Iterator[Pixels]:
    """DALI's pixels, without any guard; nothing where it does not decode."""
    image = np.frombuffer(data, np.uint8)
    height, width = peeked(image)
    if height:
        pipe = crops_graph(files=False, batch_size=1, threads=1)
        pipe.build()
        with suppress(RuntimeError):
            yield np.array(pipe.run(data=[image], box=np.array([[0, 0, height, width]], np.int32))[0].at(0))


@pytest.mark.skipif(not nvidia.dali.__version__.startswith("2.4."), reason="verdicts are DALI 2.4's")
def test_what_is_refused_is_what_dali_gets_wrong():
    narrow = []
    for name in REFUSED:
        kind = ALL[name]
        want = judged(kind)
        if want is not None and any(near(got, want) for got in by_dali(kind.data)):
            narrow.append(name)
    # Damaged EXIF, which DALI bears in WebP; one rule serves for all formats.
    assert narrow == ["WebP: EXIF, a text beyond the end", "WebP: EXIF, cut off"]


def test_files_of_other_kinds_come_and_a_file_that_becomes_one_does(tmp_path, caplog):
    (tmp_path / "a").mkdir()
    other = [ALL["BMP: RLE8"], ALL["PNG: XMP 6"], ALL["JPEG: XMP far in"]]
    for k in range(8):
        data = other[k].data if k < len(other) else GOOD
        (tmp_path / "a" / f"{k}.jpg").write_bytes(data)
    with fa.loader(tmp_path, 4, augment=[fa.Resize((8, 8))], on_error="skip", max_bad=None) as loader:
        assert [record.getMessage() for record in caplog.records] == [
            "fastaug: 3 of 8 images are of kinds that DALI does not decode rightly, "
            f"'{tmp_path}/a/0.jpg' the first; Pillow decodes them, slower"
        ]
        assert sum(len(x) for x, _ in loader) == 8
        (tmp_path / "a" / "7.jpg").write_bytes(ALL["BMP: 5-6-5, header 40"].data)
        assert sum(len(x) for x, _ in loader) == 8
        (tmp_path / "a" / "7.jpg").write_bytes(ALL["BMP: 10-10-10, header 40"].data)
        assert sum(len(x) for x, _ in loader) == 7
        assert "not supported: BMP with unusual colour masks" in loader.bad_files.values()
        (tmp_path / "a" / "7.jpg").write_bytes(GOOD)
        assert sum(len(x) for x, _ in loader) == 8


def mutants(count: int) -> Iterator[bytes]:
    originals = [kind.data for kind in (*ALL.values(), *SOME.values())]
    for number in range(count):
        rng = np.random.default_rng(number)
        data = np.frombuffer(originals[int(rng.integers(len(originals)))], np.uint8)[:20_000].copy()
        for _ in range(int(rng.integers(1, 8))):
            at = int(rng.integers(min(len(data), (80, 600, 20_000)[int(rng.integers(3))])))
            run = int(rng.integers(1, 9))
            data[at : at + run] = (rng.integers(256), 0, 255, 127)[int(rng.integers(4))]
            if rng.random() < 0.1:
                data = data[: max(at, 4)]
        yield data.tobytes()


@pytest.mark.parametrize("count", [3000, pytest.param(200_000, marks=pytest.mark.release)])
def test_damaged_headers_neither_raise_nor_take_long(count):
    for data in mutants(count):
        begin = time.thread_time()
        header = read_header(np.frombuffer(data, np.uint8))
        assert bool(header.reason) == (header.height == 0)
        assert time.thread_time() - begin < 1


@pytest.mark.release
def test_lengths_that_lie_take_linear_time():
    many = 1 << 20
    for data in (
        b"II*\0\x08\0\0\0" + b"\xff" * many,
        b"MM\0+" + b"\0\x08\0\0" + b"\xff" * many,
        b"\x89PNG\r\n\x1a\n" + bytes(many),
        b"RIFF\0\0\0\0WEBPVP8X" + bytes(many),
        b"\xff\xd8" + b"\xff" * many,
        b"\xff\xd8" + b"\xff\xe1\0\0" * (many // 4),
        b"P6 " + b"#" * many,
        b"P6 " + b"#\n" * (many // 2),
        b"P4 9 9 " + b"#" * many,
        b"P6 " + b"1" * many,
        b"\xff\x4f\xff\x51" + b"\xff" * many,
        b"BM" + b"\xff" * many,
    ):
        begin = time.thread_time()
        read_header(np.frombuffer(data, np.uint8))
        assert time.thread_time() - begin < 3, data[:12]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.release)])
def test_damaged_exif_turns_an_image_as_pillow_does_or_is_refused(form, count):
    small = np.ascontiguousarray(RGB[:16, :24])
    jpeg = corpus.encoded(Image.fromarray(small), "JPEG")
    unequal = []
    files = []
    for number in range(count):
        rng = np.random.default_rng(number)
        tags = np.array([0x10E, 0x110, 0x131, 0x213, 0x9C9B])[rng.random(5) < 0.4]
        order = "<>"[int(rng.integers(2))]
        rest = b"".join(int(t).to_bytes(2, "little" if order == "<" else "big") + bytes(10) for t in tags)
        block = bytearray(exif(int(rng.integers(1, 9)), order, after=rest))
        for _ in range(int(rng.integers(4))):
            at = int(rng.integers(len(block)))
            block[at] = int(rng.choice([0, 1, 3, 255, rng.integers(256), block[at] ^ 1]))
        block = block[: len(block) - int(rng.integers(9)) * (rng.random() < 0.3)]
        files.append(
            png(small, 8, 2, before=png_chunk(b"eXIf", bytes(block)))
            if form == "PNG"
            else jpeg[:2] + segment(0xE1, b"Exif\0\0" + bytes(block)) + jpeg[2:]
        )
    with fa.loader(
        [(data, 0) for data in files] + [(GOOD, 0)],
        1,
        augment=[fa.Resize((16, 16), "nearest")],
        dtype=torch.uint8,
        on_error="skip",
        max_bad=None,
        with_plan=True,
    ) as loader:
        for images, _, plan in loader:
            i = int(plan.wanted[0])
            if i == len(files) or int(plan["index"][0]) != i:
                continue
            want = judged(Kind(files[i]))
            if want is None:  # damage that Pillow does not bear
                continue
            step = (np.arange(16) + 0.5) / 16
            rows, columns = ((step * n).astype(int) for n in want.shape[:2])
            if not near(images[0].permute(1, 2, 0).numpy(), want[rows][:, columns]):
                unequal.append(i)
    assert unequal == []
