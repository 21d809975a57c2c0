"""Policies: each operation against torchvision's own, choices against torchvision's classes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

import fastaug as fa
from fastaug.execute.kornia import KorniaExecutor
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import Output
from fastaug.ops.policy import OP_KINDS, OPERATIONS, PLAIN, SIGNED, Writer, magnitudes

from ..conftest import draw_plan
from ..drafts import draft_of, plan_from
from ..policy_cases import POLICIES

SIZE = (90, 120)
RAW = Output(torch.uint8, False, None)
EXACT = ("Posterize", "Solarize", "Invert", "AutoContrast", "Equalize", "Identity", "Brightness", "Contrast")


@pytest.fixture(scope="module")
def picture(photos) -> torch.Tensor:
    """A photograph, uint8 [3, H, W]."""
    from fastaug.data.datasets import as_listing

    image = Image.open(as_listing(photos).paths[7]).convert("RGB").resize(SIZE[::-1])
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def torchvisions(image, name, magnitude, interpolation="nearest", fill=None):
    return v2.RandAugment()._apply_image_or_video_transform(
        image, name, magnitude, interpolation=v2.InterpolationMode(interpolation), fill={torch.Tensor: fill}
    )


def plan_of(name, values, size=SIZE, **options):
    """A plan with one operation a row."""
    n = len(values)
    draft = draft_of(n, size)
    Writer(fa.RandAugment(**options), draft).add(name, np.arange(n), np.asarray(values, float))
    return plan_from(draft)


def native(plan, image):
    crops = image.permute(1, 2, 0).expand(len(plan), *image.shape[1:], 3).clone()
    return NativeExecutor(RAW, 1).run(plan, crops)


def ties(plan, k):
    """Where a nearest source lies within 1e-4 pixels of the middle between two: bool [H, W]."""
    lines = plan.ops["map"][k].astype(np.float64) / 2**32
    y, x = np.mgrid[: plan.size[0], : plan.size[1]].astype(float)
    near = np.zeros(plan.size, bool)
    for j in (0, 3):
        source = lines[j] + lines[j + 1] * y + lines[j + 2] * x
        near |= np.abs(source - np.floor(source) - 0.5) < 1e-4
    return torch.from_numpy(near)


@pytest.mark.parametrize("kind", ["auto", "wide", "mix"])
@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ("SolarizeAdd", "Cutout")])
def test_every_operation_at_every_bin_and_sign(picture, name, kind):
    bins = 10 if kind == "mix" else 31
    values = magnitudes(name, bins, SIZE, kind)
    values = np.concatenate([values, -values]) if name in SIGNED else values
    shares = []
    for interpolation in ("nearest", "bilinear"):
        plan = plan_of(name, values, interpolation=interpolation)
        got = native(plan, picture)
        for k, value in enumerate(values):
            want = torchvisions(picture, name, float(value), interpolation)
            difference = (got[k].int() - want.int()).abs()
            kinds = OP_KINDS[plan.sample(k).ops["kind"][0]] if plan["n_ops"][k] else "Identity"
            if kinds == "Nearest":
                tied = ties(plan, k)
                shares.append(float(tied.float().mean()))
                assert not difference[:, ~tied].any(), (name, value)
            else:
                assert difference.max() <= (0 if name in EXACT else 1), (name, value)
        if name not in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"):
            break
    if shares:
        print(f"{name} {kind}: ties at most {max(shares):.1%}")
        assert max(shares) < 0.35


@pytest.mark.parametrize("fill", [None, 0.0, (128.0, 64.5, 255.0)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_fill(picture, interpolation, fill):
    for name, value in (("Rotate", 30.0), ("ShearX", -0.3), ("TranslateY", 20.0)):
        plan = plan_of(name, [value], interpolation=interpolation, fill=fill)
        colour = None if fill is None else list(fill) if isinstance(fill, tuple) else [fill] * 3
        want = torchvisions(picture, name, value, interpolation, colour)
        difference = (native(plan, picture)[0].int() - want.int()).abs()
        if interpolation == "nearest":
            difference = difference[:, ~ties(plan, 0)]
        assert difference.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (3, 3), (224, 224)], ids=str)
def test_odd_images(size):
    """Flat ones, noise, and sizes at which operations have special cases."""
    rng = np.random.default_rng(0)
    for pixels in (
        np.full((*size, 3), 9),
        rng.integers(0, 256, (*size, 3)),
        rng.integers(100, 103, (*size, 3)),
    ):
        image = torch.from_numpy(pixels.astype(np.uint8)).permute(2, 0, 1)
        for name, value in [
            ("Equalize", 0),
            ("AutoContrast", 0),
            ("Sharpness", 0.9),
            ("Sharpness", -0.9),
            ("Contrast", 0.5),
            ("Color", -0.9),
            ("Posterize", 0),
            ("Solarize", 1.0),
        ]:
            want = torchvisions(image, name, float(value))
            got = native(plan_of(name, [value], size), image)[0]
            assert (got.int() - want.int()).abs().max() <= (
                0 if name in EXACT or name == "Sharpness" else 1
            ), name


def one_op(kind, size=SIZE, **fields):
    draft = draft_of(1, size)
    draft.add("ops", np.arange(1), kind=OP_KINDS.index(kind), **fields)
    return plan_from(draft)


@pytest.mark.parametrize("hue", [-0.5, -0.31, -0.1, 0.0, 0.07, 0.25, 0.5])
def test_hue(picture, hue):
    got = native(one_op("Hue", value=hue), picture)[0]
    difference = (got.int() - F.adjust_hue(picture, hue).int()).abs()
    assert difference.max() <= 1


def test_gray_and_solarize_add(picture):
    gray = native(one_op("Color", value=0, rest=1), picture)[0]
    assert (gray.int() - F.rgb_to_grayscale(picture, 3).int()).abs().max() <= 1
    added = native(one_op("SolarizeAdd", value=70), picture)[0]
    want = torch.where(picture < 128, (picture.int() + 70).clamp(max=255), picture.int())
    assert (added.int() == want).all()


@pytest.mark.parametrize(("kernel", "sigma"), [(1, 1.0), (3, 0.1), (9, 1.3), (23, 2.0)])
def test_blur(picture, kernel, sigma):
    plan = draw_plan([fa.Resize(SIZE), fa.GaussianBlur(kernel, sigma)], 1)
    want = F.gaussian_blur(picture, [kernel, kernel], [sigma, sigma])
    assert (native(plan, picture)[0].int() - want.int()).abs().max() <= 1


@pytest.fixture
def record(monkeypatch):
    """What is drawn: (name, magnitude) lists by row."""
    drawn: dict[int, list[tuple[str, float]]] = {}
    original = Writer.add

    def add(self, name, which, magnitude):
        for row, value in zip(which, magnitude, strict=True):
            drawn.setdefault(int(row), []).append((name, float(value)))
        original(self, name, which, magnitude)

    monkeypatch.setattr(Writer, "add", add)
    return drawn


def theirs(transform, n, monkeypatch):
    """What torchvision's class draws, n times."""
    drawn, image = [], torch.zeros((3, *SIZE), dtype=torch.uint8)

    def note(self, image, name, magnitude, interpolation, fill):
        drawn[-1].append((name, float(magnitude)))
        return image

    monkeypatch.setattr(type(transform), "_apply_image_or_video_transform", note)
    torch.manual_seed(0)
    for _ in range(n):
        drawn.append([])
        transform(image)
    return drawn


CLASSES = {
    "RandAugment": (fa.RandAugment(3, 20), v2.RandAugment(3, 20)),
    "TrivialAugmentWide": (fa.TrivialAugmentWide(), v2.TrivialAugmentWide()),
    "AugMix": (fa.AugMix(), v2.AugMix()),
    "AugMix partial": (fa.AugMix(5, 2, 2, 0.5, all_ops=False), v2.AugMix(5, 2, 2, 0.5, all_ops=False)),
    **{
        f"AutoAugment {p}": (fa.AutoAugment(p), v2.AutoAugment(v2.AutoAugmentPolicy(p)))
        for p in ("imagenet", "cifar10", "svhn")
    },
}


@pytest.mark.parametrize("name", CLASSES)
def test_choices_are_torchvisions(name, record, monkeypatch):
    ours, other = CLASSES[name]
    n = 4000
    draw_plan([fa.Resize(SIZE), ours], n)
    want = theirs(other, n, monkeypatch)
    for view in (lambda e: e[0], lambda e: (e[0], round(e[1], 3))):
        a = Counter(view(e) for ops in record.values() for e in ops)
        b = Counter(view(e) for ops in want for e in ops)
        a, b = ({k: c for k, c in x.items() if k not in ("Identity",)} for x in (a, b))
        common = [k for k in set(a) | set(b) if a.get(k, 0) + b.get(k, 0) >= 20]
        assert len(common) > 3
        table = np.array([[a.get(k, 0) for k in common], [b.get(k, 0) for k in common]])
        assert stats.chi2_contingency(table).pvalue > 1e-4
    counts = [
        np.bincount([len(ops) for ops in x], minlength=13)
        for x in ([record.get(i, []) for i in range(n)], want)
    ]
    used = np.array(counts).sum(0) > 0
    assert stats.chi2_contingency(np.array(counts)[:, used] + 1).pvalue > 1e-4


def test_augmix_weights():
    rows = draw_plan([fa.Resize(SIZE), fa.AugMix(alpha=0.7)], 4000).rows
    weights = rows["chain_weight"].astype(float)
    assert np.abs(weights.sum(1) - 1).max() < 1e-6
    assert stats.kstest(weights[:, 0], stats.beta(0.7, 0.7).cdf).pvalue > 1e-4
    share = weights[:, 1] / (1 - weights[:, 0]).clip(1e-9)
    kept = weights[:, 0] < 0.999
    assert stats.kstest(share[kept], stats.beta(0.7, 1.4).cdf).pvalue > 1e-4


def test_whole_policies_with_the_same_choices(picture, record):
    """RandAugment's operations one after another, each step beside torchvision's on our own pixels."""
    n = 60
    plan = draw_plan([fa.Resize(SIZE), fa.RandAugment(2, 15)], n, seed=4)
    got = native(plan, picture)
    different = []
    for i in range(n):
        image = picture
        for name, value in record.get(i, []):
            image = torchvisions(image, name, value)
        different.append(float(((got[i].int() - image.int()).abs() > 2).float().mean()))
    assert np.mean(different) < 0.02  # ties, and steps of 1 that a posterize or solarize widens
    assert np.median(different) < 1e-3


def test_jitter_is_torchvisions(monkeypatch):
    op = fa.ColorJitter(0.4, (0.2, 1.7), 0.3, 0.1)
    plan = draw_plan([fa.Resize(SIZE), op], 4000)
    torch.manual_seed(0)
    theirs = [v2.ColorJitter(0.4, (0.2, 1.7), 0.3, 0.1).make_params([]) for _ in range(4000)]
    assert (plan["n_ops"] == 4).all()
    kinds = plan.ops["kind"].reshape(4000, 4)
    for column, kind in (
        ("brightness_factor", "Brightness"),
        ("contrast_factor", "Contrast"),
        ("saturation_factor", "Color"),
        ("hue_factor", "Hue"),
    ):
        mine = plan.ops["value"].reshape(4000, 4)[kinds == OP_KINDS.index(kind)]
        other = [float(t[column]) for t in theirs]
        assert stats.ks_2samp(mine, other).pvalue > 1e-4
    orders = Counter(map(tuple, kinds.tolist()))
    assert len(orders) == 24
    assert stats.chisquare(list(orders.values())).pvalue > 1e-4
    assert (draw_plan([fa.Resize(SIZE), fa.ColorJitter(p=1.0)], 9)["n_ops"] == 0).all()


@pytest.mark.parametrize("name", POLICIES)
def test_executors_agree(picture, name):
    for seed, size in enumerate([(33, 41), (64, 48), (9, 6)]):
        plan = draw_plan([fa.Resize(size), *POLICIES[name]], 24, seed=seed)
        small = F.resize(picture, list(size)).permute(1, 2, 0)
        crops = small.expand(24, *size, 3)
        a = NativeExecutor(RAW, 2).run(plan, crops.clone())
        b = KorniaExecutor(RAW, torch.device("cpu")).run(plan, crops.clone())
        difference = (a.int() - b.int()).abs()
        # Ties of nearest geometry, and ones that later steps widen.
        assert (difference > 4).float().mean() < 0.02, (difference > 4).float().mean()


def test_a_sample_has_its_own_policy_whatever_the_batch(photos):
    augment = [fa.RandomResizedCrop(40), fa.RandAugment(), fa.ColorJitter(0.4, 0.4, 0.4, 0.1), fa.Normalize()]

    def images(**options):
        with fa.loader(photos, shuffle=True, augment=augment, with_plan=True, seed=2, **options) as loader:
            return {
                int(i): (image.clone(), str(plan))
                for x, _, plan in loader
                for image, i in zip(x, plan["index"], strict=True)
            }

    a, b = images(batch_size=3), images(batch_size=16, num_workers=2)
    assert all(torch.equal(a[i][0], b[i][0]) for i in a)
    with fa.loader(photos, 8, augment=augment, with_plan=True) as loader:
        x, _, plan = next(iter(loader))
        assert "policy" in str(plan)
        assert torch.equal(loader.replay(plan)[0], x)


def test_plans_with_policies_are_kept(tmp_path):
    plan = draw_plan([fa.Resize(SIZE), fa.AutoAugment("cifar10")], 8)
    plan.save(tmp_path / "p.npz")
    again = fa.BatchPlan.load(tmp_path / "p.npz")
    assert (again.ops == plan.ops).all()
    some = plan.take([5, 3, 3])
    for k, row in enumerate((5, 3, 3)):
        assert (some.sample(k).ops == plan.sample(row).ops).all()
    some.check()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fa.RandAugment(0), ValueError, "num_ops"),
        (lambda: fa.RandAugment(2, 31), ValueError, "at most 30"),
        (lambda: fa.RandAugment(interpolation="bicubic"), ValueError, "'bilinear'"),
        (lambda: fa.RandAugment(fill=(1, 2)), ValueError, "three"),
        (lambda: fa.AutoAugment("coco"), ValueError, "'svhn'"),
        (lambda: fa.AugMix(severity=11), ValueError, "at most 10"),
        (lambda: fa.AugMix(mixture_width=4, chain_depth=17), ValueError, "68 operations"),
        (lambda: fa.Policy([]), TypeError, "sequences"),
        (lambda: fa.Policy([[("Blur", 1.0, 3)]]), ValueError, "'ShearX'"),
        (lambda: fa.Policy([[("Rotate", 1.5, 3)]]), ValueError, "1.5"),
        (lambda: fa.Policy([[("Invert", 1.0, 3)]]), ValueError, "give None"),
        (lambda: fa.Policy([[("Solarize", 1.0, 128)]]), ValueError, "128"),
        (lambda: fa.ColorJitter(hue=0.6), ValueError, "0.6"),
        (lambda: fa.ColorJitter(brightness=(1.2, 0.8)), ValueError, "low <= high"),
        (lambda: fa.GaussianBlur(4), ValueError, "odd"),
        (lambda: fa.GaussianBlur(25), ValueError, "at most 23"),
        (lambda: fa.RandomSolarize(300), ValueError, "300"),
        (lambda: draw_plan([fa.Resize(8), fa.GaussianBlur(23)], 1, size=(8, 8)), ValueError, "at most 15"),
        (lambda: draw_plan([fa.AugMix(), fa.RandAugment()], 1), ValueError, "only policy"),
        (lambda: draw_plan([fa.RandAugment(40), fa.RandAugment(30)], 1), ValueError, "70 operations"),
        (lambda: draw_plan([fa.Cutout(3), fa.RandAugment()], 1), ValueError, "before the masks"),
    ],
)
def test_refusals(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_torchvisions_enums_are_taken():
    assert fa.AutoAugment(v2.AutoAugmentPolicy.SVHN).policy == "svhn"
    assert fa.RandAugment(interpolation=v2.InterpolationMode.BILINEAR).interpolation == "bilinear"
    assert set(PLAIN) <= set(OPERATIONS)
    assert fa.recipes.recipe("randaugment")[2] == fa.RandAugment(2, 15)
