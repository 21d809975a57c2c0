"""The box decoder: every byte that libjpeg-turbo's full decode has in the box, or no answer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from fuzz_jpeg import SLOWEST, fuzz
from jpegs import corpus, encoded, picture
from PIL import Image, ImageOps

import fastaug as fa
from fastaug.data.headers import read_header
from fastaug.data.source import TURN, Encoded, Kind
from fastaug.decode.graphs import Decode
from fastaug.decode.jobs import VIEW, Jobs
from fastaug.decode.jpeg import DAMAGE, FAULTS, JpegDecoder, table_of
from fastaug.machine.library import library

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no compiled kernels here")


@pytest.fixture(params=[0, 1], ids=["portable", "avx2"])
def kernels(request):
    """Every instruction set that this machine has."""
    if LIBRARY.fastaug_jpeg_kernels(request.param) != request.param:
        pytest.skip("not on this processor")
    yield
    LIBRARY.fastaug_jpeg_kernels(1)


def boxes_of(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """The whole, a pixel, a line, a column and any others: int32 ``[count, 4]``."""
    found = [(0, 0, height, width)]
    for k in range(1, count):
        h = 1 if k % 4 in (1, 2) else int(rng.integers(1, height + 1))
        w = 1 if k % 4 in (1, 3) else int(rng.integers(1, width + 1))
        found.append((int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w))
    return np.array(found, np.int32)


def decode(data: bytes, boxes: np.ndarray, orientation: int = 1, whole: bool = False):
    """The fault and the pixels of each box."""
    n = len(boxes)
    kinds = np.full(n, Kind.SEQUENTIAL | (orientation - 1) << TURN, np.uint8)
    jobs = Jobs([Encoded(np.frombuffer(data, np.uint8))] * n, kinds, boxes, np.zeros(0, VIEW))
    table, _held = table_of(jobs)
    pixels = [np.zeros((h, w, 3), np.uint8) for _, _, h, w in boxes]
    table["pixels"], table["whole"] = [p.ctypes.data for p in pixels], whole
    decoder = JpegDecoder(Decode(), 2)
    decoder.run(table)
    decoder.close()
    return table["fault"].tolist(), pixels


def differing(data: bytes, want: np.ndarray, boxes: np.ndarray, orientation: int = 1) -> list[object]:
    """Boxes that come out wrong, or are refused."""
    faults, pixels = decode(data, boxes, orientation)
    return [
        (box.tolist(), FAULTS[fault])
        for box, fault, got in zip(boxes, faults, pixels, strict=True)
        if fault or not np.array_equal(got, want[box[0] : box[0] + box[2], box[1] : box[1] + box[3]])
    ]


def test_a_corpus_of_every_kind_is_libjpegs(kernels):
    """Every subsampling, quality, restart interval, table, orientation; gray, RGB; sizes from 1 to 70."""
    rng, wrong, kinds = np.random.default_rng(5), [], set()
    for name, data in corpus(count=400):
        opened = Image.open(io.BytesIO(data))
        want = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        header = read_header(np.frombuffer(data, np.uint8))
        assert (header.height, header.width) == want.shape[:2], name
        kinds.add(header.kind)
        found = differing(data, want, boxes_of(rng, *want.shape[:2], 24), header.orientation)
        wrong += [(name, *one) for one in found]
    assert wrong == []
    assert kinds == {Kind.SEQUENTIAL}


@pytest.mark.parametrize("ratio", ["444", "422", "420", "440"])
def test_every_size_of_edge_blocks(ratio):
    """Whole images of every remainder, beside simplejpeg's libjpeg-turbo."""
    rng, wrong = np.random.default_rng(3), []
    sizes = [(h, w) for h in (*range(1, 19), 33) for w in (*range(1, 19), 47)]
    for height, width in sizes:
        data = encoded(picture(rng, height, width), ratio, 85)
        want = simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False)
        wrong += differing(data, want, np.array([(0, 0, height, width)], np.int32))
    assert wrong == []


def test_photographs_at_random_boxes(photos, kernels):
    rng, wrong = np.random.default_rng(7), []
    for path in sorted(Path(photos).rglob("*.jpg"))[::4]:
        data = path.read_bytes()
        want = np.asarray(Image.open(path).convert("RGB"))
        wrong += differing(data, want, boxes_of(rng, *want.shape[:2], 100))
    assert wrong == []


def test_files_are_read_and_the_loader_gives_dalis_bytes(photos):
    """Crops, scales, mirrored, of files: one way or the other."""
    pytest.importorskip("nvidia.dali")
    found = []
    for place in ("cpu", "dali"):
        with fa.loader(photos, 16, augment="imagenet", seed=4, decode=place, with_plan=True) as loader:
            images, labels, plan = zip(*loader, strict=True)
            found.append((torch.cat(images), torch.cat(labels)))
            assert {way for one in plan for way in one.decoders} == {"box" if place == "cpu" else "DALI"}
    assert (found[0][0] == found[1][0]).all()
    assert (found[0][1] == found[1][1]).all()


def test_what_it_refuses_goes_to_the_others():
    """Progressive, CMYK, 4:1:1, sub-sampled RGB, several scans: never a pixel of its own."""
    image = picture(np.random.default_rng(0), 40, 56)
    buffer = io.BytesIO()
    Image.fromarray(image).convert("CMYK").save(buffer, "JPEG")
    others = {
        "progressive": encoded(image, progressive=True),
        "CMYK": buffer.getvalue(),
        "4:1:1": simplejpeg.encode_jpeg(image, 90, colorsubsampling="411"),
        "no JPEG": b"BM" + bytes(100),
        "empty": b"",
    }
    whole = np.array([(0, 0, 40, 56)], np.int32)
    for name, data in others.items():
        (fault,), _ = decode(data, whole)
        assert FAULTS[fault] in (FAULTS[3], FAULTS[4]), name
    outside = np.array([(0, 0, 41, 56), (0, 1, 40, 56), (-1, 0, 4, 4), (0, 0, 0, 5)], np.int32)
    table_faults = [decode_fault(encoded(image), box) for box in outside]
    assert {FAULTS[fault] for fault in table_faults} == {FAULTS[5]}


def decode_fault(data: bytes, box: np.ndarray) -> int:
    jobs = Jobs(
        [Encoded(np.frombuffer(data, np.uint8))],
        np.array([Kind.SEQUENTIAL], np.uint8),
        box[None],
        np.zeros(0, VIEW),
    )
    table, _held = table_of(jobs)
    decoder = JpegDecoder(Decode(), 1)
    decoder.run(table)
    decoder.close()
    return int(table["fault"][0])


def test_damaged_files_come_out_as_libjpeg_has_them_or_not_at_all():
    """Of 1,500 mutated ones: where the box decoder has an answer for the whole, it is libjpeg-turbo's."""
    rng, wrong, answers = np.random.default_rng(11), [], 0
    seeds = [data for _, data in corpus(seed=2, count=60)]
    for k in range(1500):
        data = bytearray(seeds[k % len(seeds)])
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(data) // 3, len(data)))
            data[at] = int(rng.integers(256)) if k % 2 else data[at] ^ 1 << int(rng.integers(8))
        header = read_header(np.frombuffer(bytes(data), np.uint8))
        if header.kind != Kind.SEQUENTIAL or header.height * header.width > 1 << 16:
            continue
        whole = np.array([(0, 0, header.height, header.width)], np.int32)
        (fault,), (got,) = decode(bytes(data), whole, header.orientation, whole=True)
        if fault:
            continue
        answers += 1
        want = simplejpeg.decode_jpeg(bytes(data), fastdct=False, fastupsample=False, strict=False)
        if header.orientation == 1 and not np.array_equal(got, want):
            wrong.append(k)
    assert wrong == []
    assert answers > 250


def damaged(kind: str) -> bytes:
    """A JPEG of 64x64 whose data are damaged near their end."""
    data = encoded(picture(np.random.default_rng(1), 64, 64), "444", 95, interval=8)
    at = data.rindex(b"\xff\xd5")
    if kind == "marker":
        return data[:at] + b"\xff\xd2" + data[at + 2 :]
    if kind == "cut":
        return data[: at + 40]
    if kind == "extra":
        return data[:at] + b"\x12\x34\x56\x78" + data[at:]
    return data[: at + 2] + b"\xff\0" * 30 + data[at + 62 :]  # codes of ones, which no table has


@pytest.mark.parametrize("kind", ["marker", "cut", "extra", "code"])
def test_strict_makes_damage_an_error(kind):
    """What libjpeg reads past with a warning, and only where it was read."""
    data = [(damaged(kind), 0)]
    whole, top = [fa.Resize((64, 64))], [fa.RandomResizedCrop(8, (0.01, 0.02))]
    strict = fa.Decode(strict=True)
    with (
        fa.loader(data, augment=whole, decode=strict) as loader,
        pytest.raises(fa.DecodeError, match="damaged"),
    ):
        next(iter(loader))
    if kind != "cut":
        with fa.loader(data, augment=whole) as loader:
            next(iter(loader))
    fine = 0
    for seed in range(12):
        with fa.loader(data, augment=top, decode=strict, seed=seed, on_error="skip", max_bad=None) as loader:
            try:
                next(iter(loader))
                fine += 1
            except fa.DecodeError:
                pass
    assert fine > 3


def test_what_cannot_be_strict_or_scaled_is_refused():
    for name in ("strict", "scaled"):
        for place in ("dali", "gpu"):
            with pytest.raises(ValueError, match=f"{name}=True is the box decoder's"):
                fa.Decode(place, **{name: True})
    with pytest.raises(ValueError, match="strict=True makes cut files errors"):
        fa.Decode(strict=True, truncated="pad")


@pytest.mark.parametrize("ratio", ["444", "422", "420", "440", "gray"])
def test_scaled_decoding_is_near_and_lies_where_it_should(ratio):
    """Of a smooth picture, turned in every way, at every reduction: where a pixel is off, edges tell."""
    y, x = np.mgrid[0:400, 0:300] / 400
    image = np.stack([255 * (y + x) / 2, 127 + 100 * np.sin(9 * y), 127 + 100 * np.cos(7 * x)], 2)
    image = image.clip(0, 255).astype(np.uint8)
    gray = ratio == "gray"
    for orientation in range(1, 9) if ratio != "440" else (1,):
        data = encoded(image, "420" if gray else ratio, 97, gray=gray, orientation=orientation)
        for side, times in ((150, 2), (75, 4), (37, 8)):
            augment = [fa.RandomResizedCrop(side, (0.9, 1.0))]
            augment += [fa.RandomHorizontalFlip(), fa.RandomVerticalFlip()]
            found = []
            for scaled in (False, True):
                options = dict(
                    augment=augment, dtype=torch.uint8, seed=times, decode=fa.Decode(scaled=scaled)
                )
                with fa.loader([(data, 0)] * 4, 4, **options) as loader:
                    found.append(next(iter(loader))[0].float())
            difference = (found[0] - found[1]).abs()
            assert difference.max() < 8, (orientation, side)
            assert difference.mean() < 0.7, (orientation, side)
            assert difference.mean() > 0


def test_scaled_decoding_leaves_small_boxes_as_they_are(photos):
    found = []
    for scaled in (False, True):
        augment = [fa.RandomResizedCrop(224, (0.05, 0.2))]
        with fa.loader(photos, 16, augment=augment, seed=4, decode=fa.Decode(scaled=scaled)) as loader:
            found.append(torch.cat([images for images, _ in loader]))
    assert (found[0] == found[1]).all()


def test_data_that_follow_the_box_are_looked_at_where_that_is_asked():
    data = damaged("cut")
    top = np.array([(0, 0, 8, 64)], np.int32)
    assert decode(data, top)[0] == [0]
    (fault,), _ = decode(data, top, whole=True)
    assert fault >= DAMAGE


def test_mutated_files_under_sanitizers():
    counts, slowest, misfits = fuzz(2500)
    assert counts.sum() == 2500
    assert (counts[[0, 3, 4, 6, 7, 8, 9, 10, 11]] > 0).all()
    assert misfits > 100
    assert slowest < SLOWEST
