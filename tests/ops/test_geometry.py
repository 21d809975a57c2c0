"""Crops, paddings and turns beside torchvision's and Pillow's; turns before a crop beside supersampling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

import fastaug as fa
from fastaug.decode.jobs import views_of
from fastaug.ops.maps import perspective
from fastaug.ops.policy import OP_KINDS

from ..conftest import draw_plan

N = 2000


def photo(height: int = 71, width: int = 97) -> np.ndarray:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def made(augment, n=6, image=None, **options):
    image = photo() if image is None else image
    data = np.stack([image] * n), np.arange(n)
    with fa.loader(data, n, augment=augment, dtype=torch.uint8, seed=3, with_plan=True, **options) as loader:
        images, _, plan = next(iter(loader))
    return images.permute(0, 2, 3, 1).numpy().astype(int), plan


def compiled_or_not(monkeypatch, compiled: bool) -> None:
    if not compiled:
        monkeypatch.setattr("fastaug.decode.scale.library", lambda: None)


BOTH = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
MODES = ("constant", "edge", "reflect", "symmetric")


@BOTH
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", [4, (90, 80), (3, 5, 7, 1)], ids=str)
def test_padded_crops_are_torchvisions(monkeypatch, mode, padding, compiled):
    compiled_or_not(monkeypatch, compiled)
    images, plan = made(
        [fa.RandomCrop((60, 64), padding, fill=(9, 8, 7), padding_mode=mode), fa.RandomHorizontalFlip()]
    )
    left, top, right, bottom = fa.Pad(padding).padding
    fill = (9, 8, 7) if mode == "constant" else 0
    padded = np.asarray(F.pad(Image.fromarray(photo()), [left, top, right, bottom], fill, mode))
    seen = set()
    for image, row in zip(images, plan.rows, strict=True):
        y, x = int(row["y0"] + row["start_y"]) + top, int(row["x0"] + row["start_x"]) + left
        seen.add((y, x))
        want = padded[y : y + 60, x : x + 64]
        assert np.array_equal(image, want[:, ::-1] if row["flip"] else want)
    assert len(seen) > 3


@pytest.mark.parametrize("mode", MODES)
def test_padding_of_resized_images_is_torchvisions(mode):
    images, plan = made([fa.Resize(40), fa.RandomCrop(40, 6, padding_mode=mode)])
    whole = np.asarray(F.pad(F.resize(Image.fromarray(photo()), 40), [6] * 4, padding_mode=mode)).astype(int)
    for image, row in zip(images, plan.rows, strict=True):
        y, x = 6 - row["frame"][0], 6 - row["frame"][1]
        assert np.abs(image - whole[y : y + 40, x : x + 40]).max() <= 1


@pytest.mark.parametrize("size", [50, (100, 60), (90, 120), (72, 98)], ids=str)
def test_a_centre_crop_pads(size):
    images, _ = made([fa.CenterCrop(size)], 1)
    want = v2.CenterCrop(size)(torch.from_numpy(photo().copy()).permute(2, 0, 1))
    assert np.array_equal(images[0], want.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("height", "width"), [(20, 30), (70, 30), (9, 9)])
def test_padding_if_needed_is_torchvisions(height, width):
    image = photo()[:height, :width]
    images, plan = made([fa.RandomCrop((40, 32), 2, True, 5)], 4, image)
    torch.manual_seed(0)
    sizes = v2.RandomCrop((40, 32), 2, True, 5).make_params([Image.fromarray(image)])
    left, top, right, bottom = sizes["padding"]
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=5)
    for made_image, row in zip(images, plan.rows, strict=True):
        y, x = top - row["frame"][0], left - row["frame"][1]
        assert np.array_equal(made_image, padded[y : y + 40, x : x + 32])


@BOTH
@pytest.mark.parametrize("name", ["lanczos", "box", "hamming"])
@pytest.mark.parametrize("size", [(33, 41), (133, 141), (7, 300)], ids=str)
def test_filters_are_pillows(monkeypatch, name, size, compiled):
    compiled_or_not(monkeypatch, compiled)
    images, _ = made([fa.Resize(size, name)], 1)
    want = Image.fromarray(photo()).resize(size[::-1], getattr(Image.Resampling, name.upper()))
    assert np.abs(images[0] - np.asarray(want)).max() <= (2 if name == "lanczos" else 1)


def test_sizes_are_torchvisions():
    sizes = [(71, 97), (97, 71), (50, 50), (33, 400), (401, 37)]
    for height, width in sizes:
        image = torch.zeros(3, height, width, dtype=torch.uint8)
        for ours, theirs in [
            (fa.Resize(31), v2.Resize(31)),
            (fa.Resize(31, max_size=40), v2.Resize(31, max_size=40)),
            (fa.RandomShortestSize(31), v2.RandomShortestSize(31)),
            (fa.RandomShortestSize(31, 40), v2.RandomShortestSize(31, 40)),
        ]:
            tall, wide = theirs(image).shape[1:]
            plan = draw_plan([ours, fa.CenterCrop(8)], 1, size=(height, width))
            assert np.allclose(height / plan["step_y"], tall)
            assert np.allclose(width / plan["step_x"], wide)


TURNS = [
    (fa.RandomRotation((25, 25)), lambda t, i, f: F.rotate(t, 25, i, fill=f)),
    (fa.RandomRotation((25, 25), center=(5, 9)), lambda t, i, f: F.rotate(t, 25, i, center=[5, 9], fill=f)),
    (
        fa.RandomAffine((-20, -20), None, (0.8, 0.8), (10, 10, -5, -5)),
        lambda t, i, f: F.affine(t, -20, [0, 0], 0.8, [10, -5], i, f),
    ),
    (fa.RandomRotation90((1, 1)), lambda t, i, f: t.rot90(1, (1, 2))),
    (fa.RandomRotation90((-1, -1)), lambda t, i, f: t.rot90(3, (1, 2))),
    (fa.RandomRotation90((2, 2)), lambda t, i, f: t.rot90(2, (1, 2))),
]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("fill", [None, 30, (1, 2, 3)], ids=str)
@pytest.mark.parametrize("case", range(len(TURNS)))
def test_turns_behind_a_crop_are_torchvisions(interpolation, fill, case):
    op, theirs = TURNS[case]
    op = type(op)(**{**vars(op), "interpolation": interpolation, "fill": fill})
    images, _ = made([fa.CenterCrop(64), op], 1)
    base = F.center_crop(torch.from_numpy(photo().copy()).permute(2, 0, 1), [64, 64])
    given = list(fill) if isinstance(fill, tuple) else fill
    want = theirs(base, v2.InterpolationMode(interpolation), given).permute(1, 2, 0).numpy().astype(int)
    off = np.abs(images[0] - want)
    if interpolation == "nearest":
        assert (off.max(-1) > 0).mean() < 0.01  # where two pixels are as near
    else:
        assert off.max() <= 1


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_perspective_behind_a_crop_is_torchvisions(interpolation):
    op = fa.RandomPerspective(0.6, p=1.0, interpolation=interpolation, fill=7)
    images, plan = made([fa.CenterCrop(64), op], 8)
    base = F.center_crop(torch.from_numpy(photo().copy()).permute(2, 0, 1), [64, 64])
    for image, entry in zip(images, plan.ops, strict=True):
        (c, b, a), (f, e, d) = entry["map"].reshape(2, 3) / 2**32
        h, g = entry["tilt"].tolist()
        matrix = np.array([[a, b, c], [d, e, f], [g, h, 1]])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        matrix = half @ matrix @ np.linalg.inv(half)
        given = (matrix / matrix[2, 2]).ravel()[:8].tolist()
        mode = v2.InterpolationMode(interpolation)
        want = F.perspective(base, None, None, mode, 7, given).permute(1, 2, 0).numpy().astype(int)
        off = np.abs(image - want)
        assert (off.max(-1) > 1).mean() < (0.02 if interpolation == "nearest" else 0.002)


def test_perspectives_take_corners_to_corners():
    rng = np.random.default_rng(0)
    starts = np.array([[0.0, 0], [63, 0], [63, 40], [0, 40]])
    for _ in range(20):
        ends = starts + rng.uniform(-9, 9, (4, 2))
        ours = perspective(ends[None], starts[None])[0]
        theirs = v2.functional._geometry._get_perspective_coeffs(starts.tolist(), ends.tolist())
        assert np.allclose((ours / ours[2, 2]).ravel()[:8], theirs, atol=1e-3)
    flat = np.zeros((1, 4, 2))
    assert np.array_equal(perspective(flat, starts[None])[0], np.eye(3))


@pytest.mark.parametrize("turn", TURNS[:3], ids=lambda case: repr(case[0])[:30])
def test_a_flip_behind_a_turn_mirrors_what_was_turned(turn):
    one, two = fa.RandomHorizontalFlip(1.0), fa.RandomVerticalFlip(1.0)
    turned, _ = made([fa.CenterCrop(64), turn[0]], 1)
    for flips, axes in ([one], (2,)), ([two], (1,)), ([one, two], (1, 2)):
        mirrored, _ = made([fa.CenterCrop(64), turn[0], *flips], 1)
        off = (np.abs(mirrored - np.flip(turned, axes)).max(-1) > 0).mean()
        assert off < 0.01
        if len(flips) == 1:  # both are half a turn, before or behind
            first, _ = made([fa.CenterCrop(64), *flips, turn[0]], 1)
            assert (np.abs(mirrored - first).max(-1) > 0).mean() > 0.5


# ---- before a crop: one map, one antialiased reading ----


def supersampled(image, plan, k, fill=0, times=4):
    """The crop of a row: samples by bilinear interpolation, 4 times as dense along each axis, made smaller by
    Pillow's triangle."""
    matrix = views_of(plan, np.arange(len(plan)))["map"][k]
    row, (height, width), edge = plan.rows[k], plan.size, 4
    matrix = np.array([[1, 0, row["x0"]], [0, 1, row["y0"]], [0, 0, 1]]) @ matrix
    y, x = ((np.arange((n + 2 * edge) * times) + 0.5) / times - edge for n in (height, width))
    y, x = np.meshgrid(y, x, indexing="ij")
    over = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    place = [(matrix[j, 0] * x + matrix[j, 1] * y + matrix[j, 2]) / over - 0.5 for j in range(2)]
    tall, wide = image.shape[:2]
    padded = np.pad(image.astype(np.float32), ((2, 2), (2, 2), (0, 0)), constant_values=fill)
    x0, y0 = (np.floor(v).astype(int) for v in place)
    fx, fy = ((v - np.floor(v))[..., None] for v in place)
    total = 0
    for dy, dx in itertools.product((0, 1), (0, 1)):
        pixel = padded[np.clip(y0 + dy + 2, 0, tall + 3), np.clip(x0 + dx + 2, 0, wide + 3)]
        total = total + pixel * (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
    size = width + 2 * edge, height + 2 * edge
    small = [
        np.asarray(Image.fromarray(total[..., c].astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
        for c in range(3)
    ]
    return np.stack(small, -1)[edge:-edge, edge:-edge]


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a - b.astype(float)) ** 2))


CROP = fa.RandomResizedCrop(48, (0.3, 1.0))
COMPOSED = {
    "rotation": [fa.RandomRotation(30), CROP],
    "expanded": [fa.RandomRotation((40, 50), True), CROP],
    "affine": [fa.RandomAffine(20, (0.1, 0.1), (0.7, 1.3), 10), CROP],
    "perspective": [fa.RandomPerspective(0.4, p=1.0), CROP],
    "two turns": [fa.RandomRotation(9), fa.RandomAffine(9, scale=(0.8, 1.2)), CROP],
    "resize, flip, turn": [
        fa.Resize(64),
        fa.RandomHorizontalFlip(1.0),
        fa.RandomRotation(15, interpolation="bilinear"),
        fa.CenterCrop(56),
    ],
    "filled": [fa.RandomRotation(45, fill=200), fa.RandomResizedCrop(32, (0.9, 1.0))],
    "enlarged": [fa.RandomRotation(30), fa.RandomResizedCrop(64, (0.05, 0.1))],
    "right angles": [fa.RandomRotation90((1, 3)), CROP],
    "one of": [fa.OneOf([fa.RandomRotation(30), fa.RandomAffine(0, scale=(0.7, 0.9))]), CROP],
}


@BOTH
@pytest.mark.parametrize("name", COMPOSED)
def test_turns_before_a_crop_are_one_antialiased_map(monkeypatch, name, compiled):
    compiled_or_not(monkeypatch, compiled)
    image = photo(171, 197)
    images, plan = made(COMPOSED[name], 6, image)
    fill = 200 if name == "filled" else 0
    found = [psnr(images[k], supersampled(image, plan, k, fill)) for k in range(6)]
    assert plan["warp"].all()
    assert min(found) > 38, found


@pytest.mark.parametrize("name", COMPOSED)
def test_both_seconds_agree(monkeypatch, name):
    ours, _ = made(COMPOSED[name], 6, photo(171, 197))
    monkeypatch.setattr("fastaug.decode.scale.library", lambda: None)
    theirs, _ = made(COMPOSED[name], 6, photo(171, 197))
    assert (np.abs(ours - theirs) > 1).mean() < 1e-4


def test_turns_that_change_nothing_make_the_crop():
    """Within what the filter reads beyond the box, and of places that are rounded to 1/32 pixel."""
    image = photo(171, 197)
    for nothing in (fa.RandomRotation(0), fa.RandomAffine(0), fa.RandomPerspective(0.5, p=0.0)):
        turned, _ = made([nothing, CROP], 6, image)
        upright, _ = made([CROP], 6, image)
        inner = (slice(None), slice(2, -2), slice(2, -2))
        assert np.abs(turned[inner] - upright[inner]).max() <= 4
    exact, _ = made([fa.RandomRotation(0), fa.CenterCrop(64)], 2, image)
    assert np.array_equal(exact, made([fa.CenterCrop(64)], 2, image)[0])


def test_right_angles_are_exact():
    image = photo()
    turned, _ = made([fa.RandomRotation90((1, 1)), fa.CenterCrop((97, 71))], 1, image)
    assert np.array_equal(turned[0], np.rot90(image))


def test_files_and_arrays_are_turned_alike(tmp_path):
    image = photo(171, 197)
    for k in range(4):
        Image.fromarray(image).save(tmp_path / f"{k}.jpg", quality=95)
    pixels = np.asarray(Image.open(tmp_path / "0.jpg"))
    files = [(str(tmp_path / f"{k}.jpg"), k) for k in range(4)]
    for augment in (COMPOSED["affine"], COMPOSED["perspective"], [fa.RandomCrop(64, 9, padding_mode="edge")]):
        with fa.loader(files, 4, augment=augment, dtype=torch.uint8, seed=3) as loader:
            got = next(iter(loader))[0].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(got, made(augment, 4, pixels)[0])


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ([fa.RandomRotation(5, fill=9), fa.Pad(3), CROP], "padded twice"),
        ([fa.Pad(3, 9), fa.RandomRotation(5), CROP], "filled with"),
        ([fa.RandomRotation(5, fill=1), fa.RandomAffine(5, fill=2), CROP], "the same fill"),
        ([fa.Pad(3, 0, "reflect"), fa.Pad(3, 0, "reflect"), fa.CenterCrop(9)], "padded twice"),
        ([fa.Resize(9), fa.Pad(3, 0, "edge"), fa.RandomRotation(5), CROP], "pad before the first Resize"),
        ([fa.CenterCrop(9), fa.RandomRotation(5, True)], "needs a crop behind it"),
        ([fa.CenterCrop((9, 8)), fa.RandomRotation90()], "make them square"),
        ([fa.RandomShortestSize((8, 9))], "does not bring them to one"),
        ([fa.RandomCrop(99)], "RandomCrop 99x99 is bigger than .*pad_if_needed"),
        ([CROP, fa.RandAugment(), fa.RandomHorizontalFlip()], "too late"),
    ],
)
def test_what_cannot_be_one_map_is_refused(augment, words):
    data = np.zeros((2, 71, 97, 3), np.uint8), [0, 1]
    with pytest.raises(ValueError, match=words):
        fa.loader(data, 2, augment=augment)


# ---- distributions ----


def alike(a, b):
    return stats.ks_2samp(a, b).pvalue > 1e-4


def drawn(op, name):
    """A parameter of torchvision's, often."""
    torch.manual_seed(0)
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    return np.array([op.make_params([image])[name] for _ in range(N)])


def test_crops_and_sizes_are_distributed_as_torchvisions():
    theirs = v2.RandomCrop((40, 50), 6)
    plan = draw_plan([fa.RandomCrop((40, 50), 6)], N, size=(60, 80))
    for ours, name in ((0, "top"), (1, "left")):
        assert alike(6 - plan["frame"][:, ours], drawn(theirs, name))
    sizes = (20, 25, 40)
    plan = draw_plan([fa.RandomShortestSize(sizes), fa.CenterCrop(8)], N, size=(60, 80))
    shares = np.array([np.isclose(60 / plan["step_y"], size).mean() for size in sizes])
    assert np.abs(shares - 1 / 3).max() < 0.05


def test_turns_are_distributed_as_torchvisions():
    height, width = (np.full(N, side) for side in (60, 80))
    u = np.random.default_rng(0).random((9, N))
    maps, _ = fa.RandomRotation((-10, 30)).maps(u, height, width)
    angle = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert alike(angle, drawn(v2.RandomRotation((-10, 30)), "angle"))
    affine = fa.RandomAffine(0, (0.2, 0.1), (0.5, 1.5))
    maps, _ = affine.maps(u, height, width)
    theirs = v2.RandomAffine(0, (0.2, 0.1), (0.5, 1.5))
    assert alike(1 / maps[:, 0, 0], drawn(theirs, "scale"))
    moved = -(maps[:, :2, 2] - np.array([40, 30]) * (1 - maps[:, :1, 0])) / maps[:, :1, 0]
    for axis in range(2):
        assert alike(np.rint(moved[:, axis]), drawn(theirs, "translate")[:, axis])
    sheared, _ = fa.RandomAffine(0, None, None, (-20, 10)).maps(u, height, width)
    across = drawn(v2.RandomAffine(0, shear=(-20, 10)), "shear")[:, 0]
    assert alike(np.degrees(np.arctan(sheared[:, 0, 1])), across)
    maps, _ = fa.RandomPerspective(0.4, p=1.0).maps(u, height, width)
    coefficients = drawn(v2.RandomPerspective(0.4, p=1.0), "coefficients")
    ours = (maps / maps[:, 2:, 2:]).reshape(N, 9)[:, :8]
    for k in range(8):
        assert alike(ours[:, k], coefficients[:, k]), k
    turns = draw_plan([fa.RandomRotation90(), fa.CenterCrop(8)], N, size=(60, 80))
    assert abs((turns["warp_map"][:, 0] == 1).mean() - 0.25) < 0.04


def test_photometric_distortion_is_distributed_as_torchvisions():
    op = fa.RandomPhotometricDistort(p=0.3)
    plan = draw_plan([fa.CenterCrop(8), op], N, size=(60, 80))
    kinds = plan.ops["kind"]
    theirs = v2.RandomPhotometricDistort(p=0.3)
    for name, given in (
        ("Brightness", "brightness_factor"),
        ("Contrast", "contrast_factor"),
        ("Color", "saturation_factor"),
        ("Hue", "hue_factor"),
    ):
        values = plan.ops["value"][kinds == OP_KINDS.index(name)]
        want = [v for v in drawn(theirs, given) if v is not None]
        assert abs(len(values) / N - 0.3) < 0.05
        assert alike(values, np.array(want, float))
    orders = plan.ops["value"][kinds == OP_KINDS.index("Permute")]
    assert abs(len(orders) / N - 0.3) < 0.05
    assert set(orders) == set(range(6))


# ---- label maps ----


@pytest.mark.parametrize("name", COMPOSED)
def test_label_maps_go_where_images_go(name):
    image = photo(171, 197)
    labels = (image[..., 0] > 128).astype(np.int64)
    white = np.repeat((labels * 255).astype(np.uint8)[..., None], 3, -1)
    augment = fa.Augment(COMPOSED[name], dtype=torch.uint8, seed=1)
    images, masks = augment(torch.from_numpy(np.stack([white] * 4)), masks=[labels] * 4)
    inside = (images[:, 0] == 255) | (images[:, 0] == 0)
    same = (images[:, 0] == 255).long() == masks
    assert same[inside].float().mean() > 0.97


@pytest.mark.parametrize("mode", MODES)
def test_label_maps_are_padded_as_images(mode):
    image = photo()
    labels = image[..., 0].astype(np.int64)
    augment = fa.Augment(
        [fa.RandomCrop((60, 64), 20, padding_mode=mode), fa.RandomHorizontalFlip()],
        dtype=torch.uint8,
        seed=1,
    )
    images, masks = augment(torch.from_numpy(np.stack([image] * 4)), masks=[labels] * 4)
    assert torch.equal(images[:, 0].long(), masks)


@pytest.mark.parametrize("over", [0.0, 1e-9, -1e-9, 5e-4, 1e-3, 2.0])
def test_a_horizon_through_the_first_pixel_gives_a_sound_plan(monkeypatch, over):
    """A map is written with the divisor 1 there."""
    tilted = np.array([[1.0, 0.1, 3.0], [0.2, 1.0, 4.0], [0.01, 0.02, over - 0.015]])
    monkeypatch.setattr(
        fa.RandomPerspective, "sources", lambda self, keys, *_: (np.stack([tilted] * len(keys.index)), None)
    )
    plan = draw_plan([fa.Resize((64, 64)), fa.RandomPerspective(p=1.0)], 4)
    plan.check()
    assert len(plan.ops) == 4
