"""timm's policies beside timm's own code: what is drawn how often, and what it does to pixels."""

from __future__ import annotations

import math
import random
from argparse import Namespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

import fastaug as fa
from fastaug.ops.policy import OP_KINDS
from fastaug.ops.timm_policy import Level, TimmPolicy

from ..conftest import draw_plan
from .test_policy import SIZE

auto = pytest.importorskip("timm.data.auto_augment")
HPARAMS = dict(img_mean=(124, 116, 104), interpolation=Image.BILINEAR)
NAMES = [
    *(
        "AutoContrast",
        "Equalize",
        "Invert",
        "Rotate",
        "Posterize",
        "PosterizeIncreasing",
        "PosterizeOriginal",
    ),
    *("Solarize", "SolarizeIncreasing", "SolarizeAdd", "Color", "ColorIncreasing", "Contrast", "ShearX"),
    *(
        "ContrastIncreasing",
        "Brightness",
        "BrightnessIncreasing",
        "Sharpness",
        "SharpnessIncreasing",
        "ShearY",
    ),
    *("TranslateXRel", "TranslateYRel", "Desaturate"),
]
_TURNED = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")


def picture():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [np.sin(y / 9 + x / 7), np.cos(x / 11 - y / 5), np.sin((x + y) / 13)]
    return (127 + 110 * np.stack(waves, 2)).astype(np.uint8)


@pytest.mark.parametrize("magnitude", [3, 9])
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_does_to_pixels_what_timms_does(name, magnitude):
    pixels = picture()
    policy = TimmPolicy("auto", [[Level(name, 1.0, magnitude)]], fill=(124, 116, 104))
    augment = fa.Augment([policy], dtype=torch.uint8, seed=1)
    ours = augment([pixels] * 16).permute(0, 2, 3, 1).numpy()
    made = {}
    op = auto.AugmentOp(name, 1.0, magnitude, HPARAMS)
    for seed in range(16):  # both signs
        random.seed(seed)
        made[np.asarray(op(Image.fromarray(pixels))).tobytes()] = None
    theirs = [np.frombuffer(data, np.uint8).reshape(pixels.shape).astype(int) for data in made]
    for image in ours:
        off = min(
            np.abs(image - other).mean() if name in _TURNED else np.abs(image - other).max()
            for other in theirs
        )
        assert off <= (1.5 if name in _TURNED else 1), (name, off)
    assert len({image.tobytes() for image in ours}) == len(theirs)


def kinds_of(plan):
    return [[OP_KINDS[op["kind"]] for op in plan.sample(k).ops] for k in range(len(plan))]


def test_operations_are_chosen_as_often():
    config = "rand-m9-n3-p0.7"
    plan = draw_plan([fa.Resize(SIZE), fa.from_timm(config)], 4000)
    counts = np.array([len(ops) for ops in kinds_of(plan)])
    want = stats.binom.pmf(range(4), 3, 0.7) * len(counts)
    assert stats.chisquare(np.bincount(counts, minlength=4), want).pvalue > 1e-4
    weighted = fa.from_timm("rand-m9-n2-p1-tweights")
    plan = draw_plan([fa.Resize(SIZE), weighted], 6000)
    inverted = np.mean([ops.count("Invert") for ops in kinds_of(plan)])
    np.random.seed(0)
    names = [level.name for level in weighted.sequences[0]]
    drawn = [np.random.choice(names, 2, False, weighted.weights) for _ in range(6000)]
    assert abs(inverted - np.mean([list(two).count("Invert") for two in drawn])) < 0.004
    assert all(len(set(two)) == 2 for two in drawn[:100])
    assert max(ops.count("Invert") for ops in kinds_of(plan)) == 1  # without replacement


@pytest.mark.parametrize(
    ("config", "law"), [("rand-m9-mstd0.5-p1-n1", "normal"), ("rand-m9-mstd101-p1-n1", "uniform")]
)
def test_magnitudes_have_timms_noise(config, law):
    policy = fa.from_timm(config)
    only = TimmPolicy("rand", [[level for level in policy.sequences[0] if level.name == "SolarizeAdd"]], 1)
    plan = draw_plan([fa.Resize(SIZE), only], 3000)
    random.seed(0)
    theirs = []
    for _ in range(3000):
        m = random.gauss(9, 0.5) if law == "normal" else random.uniform(0, 9)
        theirs.append(min(128, int(max(0, min(m, 10)) / 10 * 110)))
    assert stats.ks_2samp(plan.ops["value"], theirs).pvalue > 1e-4


def test_augmix_mixes_chains():
    policy = fa.from_timm("augmix-m5-w3-d2")
    assert (policy.width, policy.layers, policy.translate, policy.sequences[0][0].std) == (
        3,
        2,
        0.3,
        math.inf,
    )
    plan = draw_plan([fa.Resize(SIZE), policy], 2000)
    assert (plan["chains"] == 3).all()
    weights = plan["chain_weight"][:, :4]
    assert np.allclose(weights.sum(1), 1, atol=1e-5)
    assert stats.kstest(weights[:, 0], "uniform").pvalue > 1e-4  # 1 - Beta(1, 1)
    with pytest.raises(ValueError, match="b1"):
        fa.from_timm("augmix-m5-b1")
    with pytest.raises(ValueError, match="only policy"):
        draw_plan([fa.Resize(SIZE), policy, fa.RandomGrayscale()], 2)


@pytest.mark.parametrize("config", ["original", "originalr", "v0", "v0r-mstd0.5"])
def test_learnt_policies_are_read(config):
    policy = fa.from_timm(config)
    theirs = auto.auto_augment_transform(config, dict(HPARAMS)).policy
    assert [[(o.name, o.prob, o.magnitude) for o in part] for part in theirs] == [
        [tuple(level[:3]) for level in part] for part in policy.sequences
    ]
    assert draw_plan([fa.Resize(SIZE), policy], 50)["n_ops"].max() == 2


def test_random_interpolation_is_drawn_for_each_sample():
    plan = draw_plan([fa.RandomResizedCrop(16, interpolation="random")], 2000, size=(50, 60))
    count = np.bincount(plan["interpolation"], minlength=3)
    assert count[0] == 0
    assert abs(count[1] - 1000) < 120
    same = draw_plan([fa.RandomResizedCrop(16)], 2000, size=(50, 60))
    assert (same["y0"] == plan["y0"]).all()


def test_erasing_counts_boxes_as_timm_does():
    plan = draw_plan([fa.Resize((64, 64)), fa.RandomErasing(0.8, max_count=3)], 4000)
    count = np.bincount(plan["n_holes"], minlength=4)
    assert abs(count[0] / 4000 - 0.2) < 0.03
    assert stats.chisquare(count[1:]).pvalue > 1e-4
    holes = plan.holes
    area = (holes["y1"] - holes["y0"]) * (holes["x1"] - holes["x0"]) / 64**2
    many = np.repeat(plan["n_holes"], plan["n_holes"])
    for k in (1, 2, 3):
        assert 0.02 / k - 0.005 <= area[many == k].min()
        assert area[many == k].max() <= 0.33 / k + 0.01
    once = draw_plan([fa.Resize((64, 64)), fa.RandomErasing(0.8)], 100)
    assert once["n_holes"].max() == 1


def test_the_training_scripts_arguments():
    from timm.data.mixup import FastCollateMixup

    args = Namespace(
        img_size=64,
        aa="rand-m9-mstd0.5-inc1",
        hflip=0.5,
        vflip=0.2,
        color_jitter=0.4,
        reprob=0.25,
        remode="pixel",
        recount=2,
        mixup=0.2,
        cutmix=1.0,
        mixup_mode="elem",
        mixup_prob=0.9,
        mixup_switch_prob=0.3,
        cutmix_minmax=None,
        smoothing=0.1,
        num_classes=10,
        batch_size=8,
        aug_splits=0,
        train_interpolation="random",
        mean=None,
        std=None,
        input_size=None,
    )
    options = fa.from_timm(args)
    kinds = [type(op).__name__ for op in options["augment"]]
    assert kinds == [
        *("RandomResizedCrop", "RandomHorizontalFlip", "RandomVerticalFlip", "TimmPolicy", "RandomErasing"),
        *("OneOf", "Normalize"),
    ]
    data = np.zeros((16, 80, 80, 3), np.uint8), np.arange(16) % 10
    with fa.loader(data, **options) as loader:
        images, targets = next(iter(loader))
        assert (images.shape, targets.shape) == ((8, 3, 64, 64), (8, 10))
    for wrong, words in (
        (dict(aug_splits=3), "aug-splits"),
        (dict(cutmix_minmax=[0.1, 0.2]), "cutmix-minmax"),
    ):
        with pytest.raises(ValueError, match=words):
            fa.from_timm(Namespace(**{**vars(args), **wrong}))
    with pytest.raises(ValueError, match="no policy of timm's that is known"):
        fa.from_timm("trivial")
    crop = [fa.RandomResizedCrop(32)]
    collate = FastCollateMixup(0.4, 1.0, label_smoothing=0.1, num_classes=10, mode="pair")
    with fa.loader(data, 8, augment=crop, seed=1, collate_fn=collate) as loader:
        found = next(iter(loader))
    mixing = fa.OneOf([fa.MixUp(0.4, "pair"), fa.CutMix(1.0, "pair")], (0.5, 0.5), "sample")
    with fa.loader(data, 8, augment=[*crop, mixing], seed=1, label_smoothing=0.1, num_classes=10) as loader:
        want = next(iter(loader))
    assert torch.equal(found[1], want[1])


def test_timms_data_sets_are_read(photos):
    from timm.data import ImageDataset
    from torchvision.datasets import ImageFolder

    data, folder = ImageDataset(str(photos)), ImageFolder(photos)
    with fa.loader(data, 8, augment=[fa.Resize((8, 8))]) as loader:
        assert "files" in repr(loader)
        assert len(loader.dataset) == len(folder)
        targets = torch.cat([t for _, t in loader])
    assert sorted(targets.tolist()) == sorted(folder.targets)
