from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2

import fastaug as fa
from fastaug.ops.translate import Translation, from_torchvision, translate

BOTH = pytest.mark.parametrize("T", [v1, v2], ids=["v1", "v2"])
MEAN, STD = fa.IMAGENET_MEAN, fa.IMAGENET_STD
FLOAT = v2.ToDtype(torch.float32, scale=True)
NEAREST, EXACT = InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT
BILINEAR, BICUBIC = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC


def said(*transforms, T=v2):
    return list(from_torchvision(T.Compose(list(transforms))).augment)


# ---- one transform ----


@BOTH
def test_geometry(T):
    assert said(T.RandomResizedCrop(32), T=T) == [fa.RandomResizedCrop(32)]
    crop = T.RandomResizedCrop((24, 32), (0.3, 0.9), [0.5, 2.0], BICUBIC)
    assert said(crop, T=T) == [fa.RandomResizedCrop((24, 32), (0.3, 0.9), (0.5, 2.0), "bicubic")]
    assert said(T.Resize(40), T.CenterCrop(32), T=T) == [fa.Resize(40), fa.CenterCrop(32)]
    assert said(T.Resize([40]), T.RandomHorizontalFlip(0.3), T.CenterCrop((24, 32)), T=T) == [
        fa.Resize(40),
        fa.RandomHorizontalFlip(0.3),
        fa.CenterCrop((24, 32)),
    ]
    assert said(T.Resize((24, 32), NEAREST), T=T) == [fa.Resize((24, 32), "nearest")]
    assert said(T.Resize((24, 32), EXACT), T=T) == [fa.Resize((24, 32), "nearest")]
    assert said(T.PILToTensor(), T.Resize((24, 32), EXACT, antialias=False), T=T) == [
        fa.Resize((24, 32), "nearest")
    ]
    assert said(T.Resize(9, antialias=False), T.CenterCrop(9), T=T) == [
        fa.Resize(9),
        fa.CenterCrop(9),
    ]  # Pillow


@BOTH
def test_policies(T):
    assert said(T.RandAugment(), T=T) == [fa.RandAugment()]
    assert said(T.RandAugment(3, 7, 11, BILINEAR, [1, 2, 3]), T=T) == [
        fa.RandAugment(3, 7, 11, interpolation="bilinear", fill=(1, 2, 3))
    ]
    assert said(T.TrivialAugmentWide(17, fill=[9.0]), T=T) == [fa.TrivialAugmentWide(17, fill=9)]
    for policy in AutoAugmentPolicy:
        assert said(T.AutoAugment(policy), T=T) == [fa.AutoAugment(policy.value)]
    assert said(T.AugMix(5, 2, 4, 0.5, False, BILINEAR, 3), T=T) == [
        fa.AugMix(5, 2, 4, 0.5, False, interpolation="bilinear", fill=3)
    ]
    assert said(T.AugMix(), T=T) == [fa.AugMix()]
    assert said(T.ToTensor(), T.RandAugment(fill=[0.0, 0.5, 1.0]), T=T) == [
        fa.RandAugment(fill=(0, 127.5, 255))
    ]
    assert said(T.ToTensor(), T.RandAugment(fill=1), T=T) == [fa.RandAugment(fill=255)]


@BOTH
def test_colour(T):
    assert said(T.ColorJitter(0.4, (0.5, 1.5), 0, 0.1), T=T) == [fa.ColorJitter(0.4, (0.5, 1.5), 0.0, 0.1)]
    assert said(T.RandomGrayscale(0.3), T.Grayscale(3), T=T) == [
        fa.RandomGrayscale(0.3),
        fa.RandomGrayscale(1),
    ]
    assert said(T.GaussianBlur(5, (0.2, 1.5)), T.GaussianBlur([3, 3], 1.0), T=T) == [
        fa.GaussianBlur(5, (0.2, 1.5)),
        fa.GaussianBlur(3, 1.0),
    ]
    assert said(T.RandomSolarize(128, 0.3), T.ToTensor(), T.RandomSolarize(0.5), T=T) == [
        fa.RandomSolarize(128, 0.3),
        fa.RandomSolarize(127.5),
    ]
    plain = [T.RandomPosterize(3, 0.1), T.RandomInvert(0.2), T.RandomAutocontrast(0.3), T.RandomEqualize(0.4)]
    assert said(*plain, T=T) == [
        fa.RandomPosterize(3, 0.1),
        fa.RandomInvert(0.2),
        fa.RandomAutocontrast(0.3),
        fa.RandomEqualize(0.4),
    ]
    assert said(T.RandomAdjustSharpness(2, 0.3), T=T) == [fa.RandomAdjustSharpness(2, 0.3)]


def test_v2s_own_colours():
    distort = v2.RandomPhotometricDistort(contrast=(0.9, 1.5), p=0.3)
    assert said(distort, v2.RandomChannelPermutation()) == [
        fa.RandomPhotometricDistort(contrast=(0.9, 1.5), p=0.3),
        fa.RandomChannelPermutation(),
    ]


@BOTH
def test_every_geometry(T):
    pads = [T.Pad(3, (1, 2, 3)), T.Pad((1, 2), padding_mode="edge"), T.Pad((1, 2, 3, 4))]
    assert [said(pad, T=T) for pad in pads] == [
        [fa.Pad(3, (1, 2, 3))],
        [fa.Pad((1, 2), padding_mode="edge")],
        [fa.Pad((1, 2, 3, 4))],
    ]
    crops = [T.RandomCrop(8, 4, False, 0, "reflect"), T.RandomCrop((9, 7), None, True, 5)]
    assert [said(crop, T=T) for crop in crops] == [
        [fa.RandomCrop(8, 4, False, 0, "reflect")],
        [fa.RandomCrop((9, 7), None, True, 5)],
    ]
    assert said(T.Resize(8, max_size=20), T=T) == [fa.Resize(8, max_size=20)]
    lanczos = T.Resize((8, 8), InterpolationMode.LANCZOS)
    assert said(lanczos, T=T) == [fa.Resize((8, 8), "lanczos")]
    assert said(
        T.RandomRotation(10, BILINEAR, True, fill=7),
        T.RandomAffine((3, 5), (0.1, 0.2), (0.5, 2), [1, 2, 3, 4], fill=7),
        T.RandomPerspective(0.3, 0.7, fill=7),
        T.RandomResizedCrop(8),
        T.RandomVerticalFlip(),
        T=T,
    ) == [
        fa.RandomRotation(10, True, interpolation="bilinear", fill=7),
        fa.RandomAffine((3, 5), (0.1, 0.2), (0.5, 2), (1, 2, 3, 4), fill=7),
        fa.RandomPerspective(0.3, p=0.7, fill=7),
        fa.RandomResizedCrop(8),
        fa.RandomVerticalFlip(),
    ]
    assert said(T.ToTensor(), T.RandomRotation(10, fill=0.5), T=T) == [fa.RandomRotation(10, fill=127.5)]


@BOTH
def test_a_flip_stays_behind_a_turn(T):
    got = said(T.CenterCrop(8), T.RandomRotation(10), T.ColorJitter(0.4), T.RandomHorizontalFlip(), T=T)
    assert [type(op).__name__ for op in got] == [
        "CenterCrop",
        "RandomRotation",
        "ColorJitter",
        "RandomHorizontalFlip",
    ]


@BOTH
def test_colour_before_a_crop_where_it_commutes(T):
    crop = T.RandomResizedCrop(8)
    for op in (T.ColorJitter(0.4), T.ColorJitter(0, 0, 0.3), T.RandomGrayscale(), T.RandomInvert()):
        assert said(op, crop, T=T) == [*said(crop, T=T), *said(op, T=T)]
    padded = T.RandomCrop(8, 4)
    assert said(T.RandomGrayscale(), padded, T=T)[0] == fa.RandomCrop(8, 4)
    for ops in (
        [T.ColorJitter(0, 0.4), crop],
        [T.ColorJitter(0, 0, 0, 0.1), crop],
        [T.RandomInvert(), padded],
        [T.ColorJitter(0.4), T.RandomCrop(8, 4, fill=9)],
        [T.RandomPosterize(3), crop],
        [T.RandomEqualize(), crop],
    ):
        with pytest.raises(ValueError, match="what it does to a whole image it does not do to a part"):
            said(*ops, T=T)


@BOTH
def test_random_apply(T):
    blur = torch.nn.ModuleList([T.GaussianBlur(3)])
    ops = [
        T.RandomApply([T.ColorJitter(0.4)], 0.8),
        T.RandomApply(blur, 0.1),
        T.RandomApply([T.RandomInvert(0.5)], 0.5),
        T.RandomApply([T.RandomGrayscale(0.5)], 0.2),
    ]
    assert said(*ops, T=T) == [
        fa.ColorJitter(0.4, p=0.8),
        fa.GaussianBlur(3, p=0.1),
        fa.RandomInvert(0.25),
        fa.RandomGrayscale(0.1),
    ]
    several = T.RandomApply([T.RandomGrayscale(), T.RandomRotation(5)], 0.3)
    assert said(several, T=T) == [fa.RandomApply([fa.RandomGrayscale(), fa.RandomRotation(5)], 0.3)]
    choice = T.RandomChoice([T.RandAugment(), T.RandomRotation(5)])
    assert said(choice, T=T)[0].members == (fa.RandAugment(), fa.RandomRotation(5))
    steps = v1.Compose([T.RandomGrayscale(), T.RandomInvert()])
    nested = said(T.RandomChoice([steps, T.RandomInvert()]), T=T)[0].members
    assert nested == (fa.RandomApply([fa.RandomGrayscale(), fa.RandomInvert()], 1.0), fa.RandomInvert())


@BOTH
@pytest.mark.parametrize("mean", [MEAN, list(MEAN), torch.tensor(MEAN, dtype=torch.float64), np.array(MEAN)])
def test_normalize(T, mean):
    assert said(T.ToTensor(), T.Normalize(mean, STD), T=T) == [fa.Normalize(MEAN, STD)]
    assert said(T.ToTensor(), T.Normalize([0.5], [0.25]), T=T) == [fa.Normalize((0.5,) * 3, (0.25,) * 3)]


@BOTH
def test_random_erasing_and_the_unit_of_its_fill(T):
    """torchvision's value is in units of the tensor as it is then, fastaug's in output units."""
    ToFloat = T.ToTensor()
    after, before = T.RandomErasing(0.3, (0.1, 0.2), (0.5, 2), 0.25, True), T.RandomErasing(value=(0.5, 1, 0))
    normalize = T.Normalize((0.5, 0.5, 0.0), (0.25, 0.5, 0.1))
    assert said(ToFloat, normalize, after, T=T)[0] == fa.RandomErasing(0.3, (0.1, 0.2), (0.5, 2), 0.25)
    assert said(ToFloat, before, normalize, T=T)[0] == fa.RandomErasing(value=(0.0, 1.0, 0.0))
    assert said(ToFloat, T.RandomErasing(), normalize, T=T)[0] == fa.RandomErasing(value=(-2.0, -1.0, 0.0))
    assert said(ToFloat, before, T=T) == [fa.RandomErasing(value=(0.5, 1, 0))]
    noise = T.RandomErasing(value="random")
    assert said(ToFloat, noise, T=T) == [fa.RandomErasing(value="random")]
    assert said(ToFloat, normalize, noise, T=T)[0] == fa.RandomErasing(value="random")
    half = T.RandomErasing(value=127.5)
    tensor = T.PILToTensor()
    assert said(tensor, half, T=T) == [fa.RandomErasing(value=127.5)]
    assert said(tensor, half, T.ConvertImageDtype(torch.float32), T=T) == [fa.RandomErasing(value=0.5)]
    assert translate([tensor, half], torch.float32).augment == (fa.RandomErasing(value=0.5),)
    assert translate([ToFloat, before], torch.uint8).augment == (fa.RandomErasing(value=(127.5, 255, 0)),)


def test_mixing():
    mix = translate([v2.ToImage(), FLOAT, v2.Normalize(MEAN, STD), v2.MixUp(alpha=0.2, num_classes=7)])
    assert mix == Translation((fa.MixUp(0.2), fa.Normalize()), torch.float32, 7)
    choice = v2.RandomChoice([v2.MixUp(num_classes=7), v2.CutMix(alpha=0.5, num_classes=7)], [1, 3])
    assert translate([choice]) == Translation(
        (fa.OneOf([fa.MixUp(1.0), fa.CutMix(0.5)], [0.25, 0.75]),), None, 7
    )
    assert translate([v2.RandomApply([v2.CutMix()], 0.3)]) == Translation((fa.CutMix(1.0, p=0.3),))
    masks = v2.RandomChoice([v2.RandomErasing(value=1.0), v2.RandomErasing(1.0)])
    assert said(v2.ToImage(), FLOAT, masks, v2.Normalize([0.5] * 3, [0.25] * 3))[0] == fa.OneOf(
        [fa.RandomErasing(value=2.0), fa.RandomErasing(1.0, value=-2.0)], [0.5, 0.5]
    )
    mixed = [
        v2.RandomResizedCrop(32),
        fa.RandAugment(),
        fa.GridMask((8, 20)),
        v2.CutMix(num_classes=8),
        fa.Normalize(),
    ]
    assert translate(mixed).augment == (fa.RandomResizedCrop(32), *mixed[1:3], fa.CutMix(1.0), fa.Normalize())


@BOTH
def test_dtypes(T):
    for transforms, dtype in [
        ([T.CenterCrop(8)], None),
        ([T.PILToTensor()], torch.uint8),
        ([T.ToTensor()], torch.float32),
        ([T.PILToTensor(), T.ConvertImageDtype(torch.float16)], torch.float16),
        ([T.ToTensor(), T.ConvertImageDtype(torch.bfloat16)], torch.bfloat16),
        ([T.PILToTensor(), T.ToPILImage()], None),
    ]:
        assert from_torchvision(T.Compose(transforms)).dtype == dtype
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert from_torchvision(v2.Compose([v2.ToImage(), v2.ToDtype(dtype, scale=True)])).dtype == dtype
    assert from_torchvision(v2.Compose([v2.ToImage(), v2.ToDtype(torch.uint8)])).dtype == torch.uint8
    late = v2.Compose([v2.ToImage(), FLOAT, v2.Normalize(MEAN, STD), v2.ToDtype(torch.float16)])
    assert from_torchvision(late) == Translation((fa.Normalize(),), torch.float16)


def test_nesting_and_what_changes_nothing():
    t = torch.nn.Sequential(v2.RGB(), v2.Compose([v1.Compose([v1.RandomResizedCrop(8)]), v2.Identity()]))
    assert from_torchvision(t).augment == (fa.RandomResizedCrop(8),)
    assert said(v2.ToImage(), v2.ToImage(), v2.ToPureTensor()) == []


@BOTH
def test_a_flip_moves_before_what_it_commutes_with(T):
    flip, crop = T.RandomHorizontalFlip(), T.RandomResizedCrop(32)
    ops = [
        T.ColorJitter(0.4),
        T.RandomGrayscale(),
        T.GaussianBlur(3),
        T.RandomSolarize(9),
        T.RandomEqualize(),
    ]
    got = said(flip, crop, *ops, T=T)
    assert got[:2] == [fa.RandomHorizontalFlip(), fa.RandomResizedCrop(32)]
    moved = said(crop, *ops, T.ToTensor(), T.Normalize(MEAN, STD), flip, T=T)
    assert moved == [got[1], got[0], *got[2:], fa.Normalize()]


def test_it_prints_a_line_for_each_augmentation():
    got = translate([v2.RandomResizedCrop(8), v2.ToImage(), v2.MixUp(num_classes=3)])
    assert str(got) == (
        "Translation(\n"
        "    RandomResizedCrop(size=(8, 8), scale=(0.08, 1.0), ratio=(0.75, 1.3333333333333333), "
        "interpolation='bilinear'),\n"
        "    MixUp(alpha=1.0, per='batch', p=1.0),\n"
        "    dtype=torch.uint8,\n"
        "    num_classes=3,\n"
        ")"
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        got.dtype = None


# ---- presets ----


class ClassificationPresetTrain:
    """As torchvision's references/classification/presets.py leaves it for these arguments."""

    def __init__(self, policy, T, backend="pil"):
        steps = [T.PILToTensor()] if backend == "tensor" else []
        steps += [
            T.RandomResizedCrop(32, interpolation=BILINEAR, antialias=True),
            T.RandomHorizontalFlip(0.5),
        ]
        steps += [
            {
                "ra": T.RandAugment(interpolation=BILINEAR, magnitude=7),
                "ta_wide": T.TrivialAugmentWide(interpolation=BILINEAR),
                "augmix": T.AugMix(interpolation=BILINEAR, severity=4),
                "imagenet": T.AutoAugment(AutoAugmentPolicy("imagenet"), BILINEAR),
            }[policy]
        ]
        steps += [T.PILToTensor()] if backend == "pil" else []
        steps += [T.ToDtype(torch.float, scale=True) if T is v2 else T.ConvertImageDtype(torch.float)]
        steps += [T.Normalize(MEAN, STD), T.RandomErasing(p=0.1)] + ([T.ToPureTensor()] if T is v2 else [])
        self.transforms = T.Compose(steps)

    def __call__(self, image):
        return self.transforms(image)


class ClassificationPresetEval:
    def __init__(self, T):
        self.transforms = T.Compose(
            [
                T.Resize(40, BILINEAR, antialias=True),
                T.CenterCrop(32),
                T.PILToTensor(),
                T.ConvertImageDtype(torch.float),
                T.Normalize(MEAN, STD),
            ]
        )


@BOTH
@pytest.mark.parametrize("backend", ["pil", "tensor"])
def test_torchvisions_reference_presets(T, backend):
    for policy, op in [
        ("ra", fa.RandAugment(2, 7, interpolation="bilinear")),
        ("augmix", fa.AugMix(4)),
        ("ta_wide", fa.TrivialAugmentWide(interpolation="bilinear")),
        ("imagenet", fa.AutoAugment(interpolation="bilinear")),
    ]:
        got = from_torchvision(ClassificationPresetTrain(policy, T, backend))
        crop = fa.RandomResizedCrop(32)
        want = (crop, fa.RandomHorizontalFlip(), op, fa.RandomErasing(0.1), fa.Normalize())
        assert got == Translation(want, torch.float32)
    evaluate = from_torchvision(ClassificationPresetEval(T))
    assert evaluate == Translation((fa.Resize(40), fa.CenterCrop(32), fa.Normalize()), torch.float32)


def test_the_transforms_of_weights():
    got = from_torchvision(models.ResNet50_Weights.IMAGENET1K_V2.transforms())
    assert got == Translation((fa.Resize(232), fa.CenterCrop(224), fa.Normalize()), torch.float32)
    vit = from_torchvision(models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1.transforms())
    assert vit == Translation((fa.Resize(384, "bicubic"), fa.CenterCrop(384), fa.Normalize()), torch.float32)


def test_timm():
    data = pytest.importorskip("timm.data")
    mean = tuple(torch.tensor(MEAN).tolist())  # timm's are float32
    std = tuple(torch.tensor(STD).tolist())
    got = from_torchvision(data.create_transform(96, interpolation="bicubic", crop_pct=0.75))
    assert got == Translation(
        (fa.Resize(128, "bicubic"), fa.CenterCrop(96), fa.Normalize(mean, std)), torch.float32
    )
    squash = from_torchvision(
        data.create_transform(96, crop_mode="squash", crop_pct=0.75, use_prefetcher=True)
    )
    assert squash == Translation((fa.Resize((128, 128)), fa.CenterCrop(96)), torch.uint8)
    train = from_torchvision(data.create_transform(96, is_training=True))
    crop, jitter = fa.RandomResizedCrop(96), fa.ColorJitter(0.4, 0.4, 0.4)
    assert train.augment == (crop, fa.RandomHorizontalFlip(), jitter, fa.Normalize(mean, std))
    for options, words in [
        (
            dict(is_training=True, re_prob=0.5, re_mode="rand"),
            "transform 6 of 6, RandomErasing.*mode='rand'",
        ),
        (dict(is_training=True, auto_augment="3a"), "timm's GaussianBlurRand is not carried out"),
        (dict(crop_mode="border"), "transform 1 of 4, ResizeKeepRatio"),
    ]:
        with pytest.raises(ValueError, match=words):
            from_torchvision(data.create_transform(96, **options))


# ---- what is refused, where and why ----


LINEAR = torch.eye(192), torch.zeros(192)


class OwnCrop(v2.RandomResizedCrop):
    """A subclass may do anything."""


@pytest.mark.parametrize(
    ("transforms", "words"),
    [
        (
            [v1.CenterCrop(8), v1.Compose([v1.ToTensor(), v1.LinearTransformation(*LINEAR)])],
            r"transform 3 of 3, LinearTransformation.*: it mixes all pixels.*; drop it, .* extra=...,",
        ),
        ([v1.Lambda(abs)], "transform 1 of 1, Lambda.*no Python code"),
        ([v2.Lambda(abs)], "Lambda.*no Python code"),
        ([abs], "built-in function abs.*not one of torchvision's transforms"),
        ([OwnCrop(8)], "transform 1 of 1, OwnCrop.*not one of torchvision's"),
        ([v2.ElasticTransform()], "ElasticTransform.*take RandomPerspective"),
        ([v2.JPEG(50)], "JPEG.*does not encode"),
        ([v2.RandomRotation(10, BICUBIC)], "RandomRotation interpolation.*'bicubic'"),
        ([v2.Pad(3, {Image.Image: 3})], "a fill for each type"),
        ([v2.RandomOrder([v2.RandomGrayscale()])], "RandomOrder.*one order"),
        ([v2.Resize(None, max_size=20)], "max_size=20"),
        ([v2.ToImage(), v2.Resize((8, 8), antialias=False)], "antialias=False on tensors.*antialias=True"),
        ([v1.ToTensor(), v1.RandomResizedCrop(8, antialias=None)], "antialias=None"),
        ([v2.ToImage(), v2.Resize((8, 8), NEAREST)], "NEAREST_EXACT"),
        ([v1.RandAugment(interpolation=BICUBIC)], "transform 1 of 1.*'bicubic'"),
        ([v2.RandAugment(fill={Image.Image: 3})], "a fill for each type.*give one fill"),
        ([v2.RandomResizedCrop(8, scale=(0.5, 1.5))], "RandomResizedCrop scale.*1.5"),
        ([v2.GaussianBlur((3, 5))], r"kernel_size=\(3, 5\).*one odd number"),
        ([v2.GaussianBlur(25)], "at most 23, not 25"),
        ([v1.Grayscale()], "num_output_channels=3"),
        ([v1.Normalize(MEAN, STD)], r"Normalize.*needs a float tensor; put ToTensor\(\)"),
        ([v2.ToImage(), v2.Normalize(MEAN, STD)], "ToDtype"),
        (
            [v1.ToTensor(), v1.Normalize([0.5] * 17, [1] * 17)],
            "mean must be a number or one for each",
        ),
        ([v1.RandomErasing(), v1.ToTensor()], r"erases tensors only; put it after ToTensor\(\)"),
        (
            [v1.ToTensor(), v1.RandomErasing(value="random"), v1.Normalize(MEAN, STD)],
            "transform 2 of 3, RandomErasing.*noise.*put it behind the last conversion and Normalize",
        ),
        ([v2.ToImage(), v2.RandomErasing(value="random")], "noise"),
        ([v2.ToDtype(torch.float32, scale=True)], r"put v2.ToImage\(\) or PILToTensor\(\) before it"),
        ([v2.ToImage(), v2.ToDtype(torch.float32)], "scale=True"),
        ([v2.ToImage(), v2.ToDtype(torch.float64, scale=True)], "its dtype must be one of.*torch.float64"),
        ([v2.ToImage(), v2.ToDtype({torch.Tensor: torch.float32})], "give one dtype"),
        ([v1.ToTensor(), v1.ConvertImageDtype(torch.uint8)], "back from float to uint8"),
        ([v1.ToTensor(), v1.ToPILImage()], "to PIL images"),
        ([v1.ToPILImage("L")], "to PIL images of another mode"),
        ([v1.RandomApply([v1.CenterCrop(8)], 0.5)], "RandomApply members must be all policies"),
        ([v1.RandomApply([v1.ToTensor()])], "leave the type of the image as it is"),
        ([v2.RandomChoice([v2.RandAugment(), v2.AugMix()])], "OneOf members must be .* no AugMix"),
        (
            [v2.RandomChoice([v2.MixUp(num_classes=3), v2.CutMix(num_classes=4)])],
            "num_classes is 4.*one is 3",
        ),
        # Order, naming both.
        (
            [v1.RandAugment(), v1.RandomResizedCrop(8)],
            r"transform 2 of 2, RandomResizedCrop.*comes after transform 1 of 2, RandAugment.*order is",
        ),
        (
            [v2.RandAugment(), v2.RandomHorizontalFlip()],
            "HorizontalFlip.*after transform 1 of 2, RandAugment",
        ),
        ([v1.ToTensor(), v1.Normalize(MEAN, STD), v1.CenterCrop(8)], "after transform 2 of 3, Normalize"),
        ([v1.ToTensor(), v1.Normalize(MEAN, STD), v1.ColorJitter(0.4)], "after transform 2 of 3, Normalize"),
        (
            [v1.ToTensor(), v1.RandomErasing(), v1.RandomHorizontalFlip()],
            "after transform 2 of 3, RandomErasing",
        ),
        ([v1.ToTensor(), *[v1.Normalize(MEAN, STD)] * 2], "transform 2 of 3, Normalize.*already; keep one"),
        ([v1.RandomHorizontalFlip(), v1.RandomHorizontalFlip()], "transform 1 of 2.*already; keep one"),
    ],
)
def test_refusals_name_the_transform_its_place_and_the_remedy(transforms, words):
    with pytest.raises(ValueError, match=words):
        from_torchvision(v1.Compose(transforms))


def test_fastaugs_own_among_torchvisions_keep_their_order():
    with pytest.raises(
        ValueError, match=r"transform 2 of 3, RandomResizedCrop.*after transform 1 of 3, GridMask"
    ):
        translate([fa.GridMask(), fa.RandomResizedCrop(8), v2.MixUp()])
    with pytest.raises(ValueError, match=r"transform 3 of 3, GridMask.*after transform 2 of 3, MixUp"):
        translate([v2.CenterCrop(8), v2.MixUp(), fa.GridMask()])


# ---- in the loader ----


def test_the_loader_takes_the_data_sets_transform(photos):
    steps = [v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), v2.ToImage()]
    own = [fa.RandomResizedCrop(32), fa.RandomHorizontalFlip()]
    for transform, augment, dtype in [
        (v2.Compose(steps), own, torch.uint8),
        (v2.Compose([*steps, FLOAT]), own, torch.float32),
        (
            v2.Compose([*steps, v2.ToDtype(torch.bfloat16, scale=True), v2.Normalize(MEAN, STD)]),
            [*own, fa.Normalize()],
            torch.bfloat16,
        ),
        (v1.Compose([v1.RandomResizedCrop(32), v1.RandomHorizontalFlip()]), own, torch.float32),
    ]:
        with fa.loader(ImageFolder(photos, transform), batch_size=8, shuffle=True, seed=2) as loader:
            images, targets = next(iter(loader))
        with fa.loader(photos, batch_size=8, shuffle=True, seed=2, augment=augment, dtype=dtype) as loader:
            want, want_targets = next(iter(loader))
        assert images.dtype == dtype
        assert torch.equal(images, want)
        assert torch.equal(targets, want_targets)
    with fa.loader(ImageFolder(photos, v2.Compose(steps)), 4, dtype=torch.float16) as loader:
        images = next(iter(loader))[0]
    assert images.dtype == torch.float16
    assert images.max() <= 1


def test_lists_with_torchvisions_transforms(photos):
    folder = ImageFolder(photos, v2.Compose([v2.RandomResizedCrop(32), v2.ToImage(), FLOAT]))
    mix = v2.MixUp(alpha=0.4, num_classes=11)
    with fa.loader(folder, 8, augment=[folder.transform, fa.Cutout(8), mix], seed=1) as loader:
        images, targets = next(iter(loader))
    with fa.loader(
        photos, 8, augment=[fa.RandomResizedCrop(32), fa.Cutout(8), fa.MixUp(0.4)], num_classes=11, seed=1
    ) as loader:
        assert torch.equal(images, next(iter(loader))[0])
    assert targets.shape == (8, 11)
    for options, words in [
        (dict(augment=[v2.CenterCrop(32), mix], num_classes=8), "num_classes=8.*say 11"),
        (dict(augment=[v2.CenterCrop(32), v2.MixUp(num_classes=2)]), "out of range for num_classes=2"),
        (dict(augment=[v2.CenterCrop(32), len]), "transform 2 of 2, <built-in function len>"),
        (
            dict(
                augment=[v2.CenterCrop(32), v2.ToImage(), FLOAT, v2.Normalize(MEAN, STD)], dtype=torch.uint8
            ),
            "uint8 gives raw pixels",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            fa.loader(folder, 4, **options)
    with fa.loader(photos, 4, augment=[v2.CenterCrop(16), v2.CutMix()]) as loader:  # the folder's own number
        assert next(iter(loader))[1].shape == (4, 8)
