from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import fastaug as fa
from fastaug.data.datasets import as_listing
from fastaug.data.opening import open_source
from fastaug.data.source import Kind, Pixels
from fastaug.decode.decoders import Router
from fastaug.decode.graphs import Decode
from fastaug.decode.jobs import Jobs, jobs_of, views_of
from fastaug.decode.scale import PixelDecoder, Scaler
from fastaug.machine.library import library
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

from ..conftest import draw_plan
from ..decoding import box_of, canvas_of, jobs_for, scaled

SCALERS = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])


@pytest.fixture(scope="module")
def photo(photos) -> Image.Image:
    path = as_listing(photos).paths[0]
    return Image.open(path).convert("RGB").resize((161, 120))


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def oriented(code: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = code
    return exif


def sixteen_bit(photo):
    return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 256 + 99)


FORMATS = {
    "baseline": lambda p: encoded(p, "JPEG"),
    "progressive": lambda p: encoded(p, "JPEG", progressive=True),
    "4:4:4": lambda p: encoded(p, "JPEG", subsampling=0),
    "gray jpeg": lambda p: encoded(p.convert("L"), "JPEG"),
    "cmyk": lambda p: encoded(p.convert("CMYK"), "JPEG"),
    **{f"exif {k}": (lambda p, k=k: encoded(p, "JPEG", exif=oriented(k))) for k in range(1, 9)},
    "late header": lambda p: encoded(p, "JPEG", comment=b"x" * 60000, icc_profile=b"y" * 60000),
    "png": lambda p: encoded(p, "PNG"),
    "rgba png": lambda p: encoded(p.convert("RGBA"), "PNG"),
    "palette png": lambda p: encoded(p.convert("P"), "PNG"),
    "gray png": lambda p: encoded(p.convert("L"), "PNG"),
    "webp": lambda p: encoded(p, "WEBP"),
    "lossless webp": lambda p: encoded(p, "WEBP", lossless=True),
    "bmp": lambda p: encoded(p, "BMP"),
    "tiff": lambda p: encoded(p, "TIFF"),
    "lzw tiff": lambda p: encoded(p, "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_decodes_as_pillow_does(form, photo):
    data = FORMATS[form](photo)
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    source = open_source([(data, 0)])
    described = source.describe(Ticket.of(np.zeros(1, np.int64)))
    assert (described.height[0], described.width[0]) == want.shape[:2]
    for box in ((0, 0, *want.shape[:2]), (11, 7, 60, 41)):
        y, x, h, w = box
        crop = box_of(source, 0, box)
        assert np.abs(crop.astype(int) - want[y : y + h, x : x + w]).max() <= 1


def test_16_bit_gray_keeps_the_high_byte(photo):
    data = encoded(sixteen_bit(photo), "PNG")
    with fa.loader([(data, 0)], augment=[], dtype=torch.uint8) as loader:
        images, _ = next(iter(loader))
    gray = np.asarray(photo.convert("L"))
    assert np.abs(images[0, 0].numpy().astype(int) - gray).max() <= 1


@SCALERS
@pytest.mark.parametrize("out", [(224, 224), (32, 48), (300, 7), (1, 1)], ids=str)
def test_crop_and_resize_is_pillows(compiled, out, photos):
    source = as_listing(photos)
    images = [np.asarray(Image.open(p).convert("RGB")) for p in source.paths[::3]]
    for image in images:
        plan = draw_plan([fa.RandomResizedCrop(out), fa.RandomHorizontalFlip()], 4, size=image.shape[:2])
        got = scaled(plan, [image] * 4, compiled)
        for k, row in enumerate(plan.rows):
            y, x, h, w = (int(row[c]) for c in ("y0", "x0", "h", "w"))
            box = Image.fromarray(image[y : y + h, x : x + w])
            want = np.asarray(box.resize(out[::-1], Image.Resampling.BILINEAR)).astype(int)
            want = want[:, ::-1] if row["flip"] else want
            difference = np.abs(got[k].astype(int) - want)
            assert difference.max() <= 1
            assert difference.mean() < 0.2


PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def pillow(image: np.ndarray, out, kind) -> np.ndarray:
    """Pillow's pixels. Bicubic passes overshoot and are cut off, so their order shows, and newer Pillows
    choose it by the shape: columns first here, as torch and older Pillows do."""
    picture = Image.fromarray(image)
    if kind == "bicubic":
        picture = picture.resize((out[1], image.shape[0]), PILLOW[kind])
    return np.asarray(picture.resize(out[::-1], PILLOW[kind])).astype(int)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (300, 2), (37, 53), (600, 451)], ids=str)
@pytest.mark.parametrize("kind", PILLOW)
@SCALERS
def test_odd_sizes_up_and_down(compiled, kind, size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    for out in ((1, 1), (5, 3), (64, 65), (400, 9)):
        plan = draw_plan([fa.Resize(out, kind)], 1, size=size)
        got = scaled(plan, [image], compiled)[0]
        assert np.abs(got - pillow(image, out, kind)).max() <= (0 if kind == "nearest" else 1)


@pytest.mark.parametrize("kind", PILLOW)
def test_random_sizes_from_1_to_4000_pixels(kind):
    """Every instruction set: within 1 of Pillow, and equal to each other.

    Bicubic's second pass weighs a difference of 1 after the first by up to 1.3, so noise may reach 2.
    """
    rng = np.random.default_rng(7)
    lib = library()
    for k in range(60):
        size, out = (tuple(int(v) for v in np.exp(rng.uniform(0, np.log(4000), 2))) for _ in range(2))
        if size[0] * size[1] > 2_000_000 or out[0] * out[1] > 1_000_000:
            size, out = (size[0], min(size[1], 300)), (out[0], min(out[1], 200))
        noise = rng.integers(0, 256, (*size, 3), np.uint8)
        image = noise if k % 2 else (noise > 127).astype(np.uint8) * 255  # hard edges overshoot
        plan = draw_plan([fa.Resize(out, kind), fa.RandomHorizontalFlip(k % 2)], 1, size=size)
        results = []
        for passes in (0, 1, 2):
            lib.fastaug_scale_passes(passes)
            results.append(scaled(plan, [image])[0].copy())
        assert all((r == results[0]).all() for r in results[1:]), (size, out)
        want = pillow(image, out, kind)[:, :: -1 if k % 2 else 1]
        difference = np.abs(results[0] - want)
        assert difference.max() <= {"nearest": 0, "bilinear": 1, "bicubic": 2}[kind], (size, out)
        assert (difference > 1).mean() < 1e-3


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_evaluation_with_other_filters(kind):
    from torchvision.transforms import InterpolationMode, v2

    mode = InterpolationMode(kind)
    image = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    plan = draw_plan([fa.Resize(256, mode), fa.CenterCrop(224)], 1, size=(375, 500))
    want = v2.Compose([v2.Resize(256, mode), v2.CenterCrop(224)])(Image.fromarray(image))
    for compiled in (True, False):
        got = scaled(plan, [image], compiled)[0]
        assert np.abs(got.astype(int) - np.asarray(want)).max() <= 1


@SCALERS
@pytest.mark.parametrize("size", [(375, 500), (500, 333), (256, 256), (231, 1000), (90, 120)], ids=str)
def test_evaluation_is_torchvisions_resize_and_centre_crop(compiled, size):
    from torchvision.transforms import v2

    rng = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8)).resize(size[::-1]))
    plan = draw_plan([fa.Resize(256), fa.CenterCrop(224)], 1, size=size)
    got = scaled(plan, [image], compiled)[0]
    want = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])(Image.fromarray(image))
    assert np.abs(got.astype(int) - np.asarray(want)).max() <= 1
    assert plan["h"][0] * plan["w"][0] <= size[0] * size[1]


def test_the_whole_way_is_pillows(photos):
    augment = [fa.RandomResizedCrop(96), fa.RandomHorizontalFlip()]
    with fa.loader(photos, 8, augment=augment, dtype=torch.uint8, with_plan=True, seed=0) as loader:
        names = loader._engine.source._listing.paths
        worst = means = 0.0
        for images, _, plan in loader:
            for image, row in zip(images, plan.rows, strict=True):
                y, x, h, w = (int(row[c]) for c in ("y0", "x0", "h", "w"))
                box = Image.open(names[int(row["index"])]).convert("RGB").crop((x, y, x + w, y + h))
                want = np.asarray(box.resize((96, 96), Image.Resampling.BILINEAR)).astype(int)
                want = want[:, ::-1] if row["flip"] else want
                difference = np.abs(image.permute(1, 2, 0).numpy() - want)
                worst, means = max(worst, difference.max()), max(means, difference.mean())
    assert worst <= 1
    assert means < 0.2


@SCALERS
def test_views_are_mirrored_along_both_axes(compiled):
    """A map with a negative sign along an axis is the image turned over along it, whatever the filter."""
    image = np.random.default_rng(3).integers(0, 256, (57, 43, 3), np.uint8)
    for kind in PILLOW:
        plan = draw_plan([fa.Resize((24, 31), kind)], 1, size=image.shape[:2])
        want = scaled(plan, [image], compiled)[0]
        for flips in ((1,), (0,), (0, 1)):
            rows = np.zeros(1, np.intp)
            jobs = jobs_of(plan, rows, [Pixels(image)], np.full(1, Kind.PIXELS, np.uint8))
            for axis in flips:
                k = 1 - axis  # of a map: x, then y
                jobs.views["map"][:, k, 2] += jobs.views["map"][:, k, k] * plan.size[axis]
                jobs.views["map"][:, k, k] *= -1
            scaler, canvas = Scaler(1), canvas_of(1, plan.size)
            if not compiled:
                scaler._lib = None
            PixelDecoder(scaler).run(jobs, canvas, lambda: False)
            scaler.close()
            assert (canvas.pixels()[0].numpy() == np.flip(want, flips)).all(), (kind, flips)


def test_one_image_serves_several_views():
    plan = draw_plan([fa.RandomResizedCrop(32), fa.RandomHorizontalFlip()], 4, size=(64, 80))
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    want = scaled(plan, [image] * 4)
    views = views_of(plan, np.arange(4))
    views["job"] = 0  # of one job, whose box is the whole image
    boxes = np.array([[0, 0, 64, 80]], np.int32)
    scaler, canvas = Scaler(1), canvas_of(4, plan.size)
    jobs = Jobs([Pixels(image)], np.full(1, Kind.PIXELS, np.uint8), boxes, views)
    PixelDecoder(scaler).run(jobs, canvas, lambda: False)
    scaler.close()
    assert (canvas.pixels().numpy() == want).all()


@pytest.mark.parametrize(
    ("field", "value"), [("size", (33, 32)), ("size", (32, 31)), ("row", 4), ("row", -1)]
)
def test_views_without_a_place_on_the_canvas_are_refused(field, value):
    """Kernels write where they are told."""
    plan = draw_plan([fa.RandomResizedCrop(32)], 4, size=(64, 80))
    image = np.zeros((64, 80, 3), np.uint8)
    jobs = jobs_of(plan, np.arange(4), [Pixels(image)] * 4, np.full(4, Kind.PIXELS, np.uint8))
    jobs.views[field][2] = value
    scaler = Scaler(1)
    with pytest.raises(ValueError, match="views do not fit a canvas of 4 x"):
        PixelDecoder(scaler).run(jobs, canvas_of(4, plan.size), lambda: False)
    scaler.close()


@pytest.mark.parametrize(("place", "most"), [("cpu", 8), ("dali", 64)])
def test_a_dropped_batch_is_given_up_between_calls(place, most, photos):
    """No more than the call under way is finished for a batch that nobody waits for."""
    source = open_source(photos)
    planner, ids = Planner([fa.RandomResizedCrop(16)]), np.arange(150) % len(source)
    sizes = source.describe(Ticket.of(ids))
    plan = planner.plan(Ticket.of(ids), sizes.height, sizes.width)
    router, canvas, asked = Router(Decode(place), 150, 1, None), canvas_of(150, (16, 16)), []
    canvas.host[0].zero_()
    # Asked before each call: the second time nobody waits any more.
    assert router.run(jobs_for(source, plan), canvas, lambda: asked.append(0) or len(asked) > 1) == {}
    written = canvas.pixels().flatten(1).any(1)
    assert written[:most].all()
    assert not written[most:].any()
    router.close()
