"""fastaug.Augment: a batch of the user's own, through the loader's plan and kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import fastaug as fa

from .call.sets import photo

PIXELS = np.stack([photo(i) for i in range(8)])
LABELS = np.arange(8) % 4
CROP = [fa.RandomResizedCrop(16), fa.RandomHorizontalFlip()]
TRAIN = [
    *CROP,
    fa.RandAugment(),
    fa.RandomErasing(0.5),
    fa.OneOf([fa.MixUp(0.2), fa.CutMix(1.0)]),
    fa.Normalize(),
]


@pytest.mark.parametrize("executor", [None, "kornia"])
@pytest.mark.parametrize("shape", ["NHWC", "NCHW", "list"])
def test_a_batch_is_as_the_loader_gives_it(executor, shape):
    options = dict(augment=TRAIN, num_classes=4, label_smoothing=0.1, seed=7, executor=executor)
    with fa.loader((PIXELS, LABELS), 8, **options) as loader:
        want = [next(iter(loader)) for _ in range(2)]
    given = {
        "NHWC": PIXELS,
        "NCHW": torch.from_numpy(PIXELS).permute(0, 3, 1, 2),
        "list": list(PIXELS),
    }[shape]
    augment = fa.Augment(**options)
    for epoch, (images, targets) in enumerate(want):
        augment.set_epoch(epoch)
        found = augment(given, torch.from_numpy(LABELS), with_plan=True)
        assert torch.equal(found[0], images)
        assert torch.equal(found[1], targets)
        assert isinstance(found[2], fa.BatchPlan)


def test_a_key_decides_all_but_mixing():
    augment = fa.Augment([*CROP, fa.RandAugment()], seed=1)
    keys = [5, 900, 3, 77, 12, 8, 41, 2**32 - 1]
    want = augment(PIXELS, keys=keys)
    order = np.array([3, 1, 7])
    assert torch.equal(augment(PIXELS[order], keys=np.array(keys)[order]), want[order])
    assert not torch.equal(augment(PIXELS), want)
    for wrong in ([1], [-1] * 8, [0.5] * 8, [2**32] * 8):
        with pytest.raises(ValueError, match="keys must be 8 whole numbers"):
            augment(PIXELS, keys=wrong)


def test_samples_are_counted_where_there_are_no_keys():
    augment = fa.Augment(CROP)
    first, second = augment(PIXELS), augment(PIXELS)
    assert not torch.equal(first, second)
    augment.set_epoch(0)
    assert torch.equal(augment(PIXELS[:3]), first[:3])
    assert torch.equal(augment(PIXELS[3:]), first[3:])
    augment.set_epoch(1)
    assert not torch.equal(augment(PIXELS), first)


def test_images_of_several_sizes_and_kinds():
    augment = fa.Augment(CROP)
    some = [PIXELS[0], torch.from_numpy(PIXELS[1, :30]).permute(2, 0, 1), PIXELS[2, :, :, 0]]
    assert augment(some).shape == (3, 3, 16, 16)
    with pytest.raises(ValueError, match="different sizes"):
        fa.Augment([])(some)
    with pytest.raises(ValueError, match="empty"):
        augment([])
    floats = torch.rand(4, 5, 8, 8)
    made = fa.Augment([fa.Normalize((0.5,) * 5, (0.5,) * 5)], channels=5)(floats)
    assert torch.allclose(made, floats * 2 - 1, atol=1e-6)


def test_targets_of_any_kind():
    mix = fa.Augment([fa.MixUp(0.5)])
    targets = {"value": torch.arange(8.0), "parts": (torch.rand(8, 3), torch.rand(8, 2, 2))}
    _, made, plan = mix(PIXELS, targets, with_plan=True)
    lam, partner = torch.from_numpy(plan["lam"]), torch.from_numpy(plan["partner"].astype(np.int64))
    assert torch.allclose(made["value"], lam * targets["value"] + (1 - lam) * targets["value"][partner])
    assert made["parts"][1].shape == (8, 2, 2)
    pairs = fa.Augment([fa.MixUp(0.5)], mix_targets=False)
    _, (own, other, lam) = pairs(PIXELS, LABELS)
    assert torch.equal(own, torch.from_numpy(LABELS))
    assert sorted(other.tolist()) == sorted(own.tolist())
    assert lam.shape == (8,)


def test_label_maps_follow_their_images():
    maps = torch.from_numpy(PIXELS[..., 0].copy())
    gray = np.repeat(PIXELS[..., :1], 3, 3)
    augment = [
        fa.RandomResizedCrop(16, interpolation="nearest"),
        fa.RandomHorizontalFlip(),
        fa.RandomVerticalFlip(),
        fa.ColorJitter(0.0),
    ]
    images, masks = fa.Augment(augment, dtype=torch.uint8)(gray, masks=maps)
    assert torch.equal(images[:, 0], masks)
    assert fa.Augment(CROP)(gray, masks=list(maps.long()))[1].dtype == torch.int64
    for op in (fa.MixUp(0.1), fa.RandAugment(), fa.CutMix(1.0)):
        with pytest.raises(ValueError, match=f"{type(op).__name__} moves or mixes"):
            fa.Augment([*CROP, op])(gray, masks=maps)
    with pytest.raises(ValueError, match="8 images and 3 masks"):
        fa.Augment(CROP)(gray, masks=maps[:3])
    with pytest.raises(ValueError, match="smaller than its image"):
        fa.Augment([])(gray, masks=maps[:, :9])


class Stream(IterableDataset):
    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        for i in range(info.id, 8, info.num_workers):
            yield torch.from_numpy(PIXELS[i]).permute(2, 0, 1), int(LABELS[i])


class Finishing:
    """A collate_fn: augments in the workers."""

    def __init__(self):
        self.augment = fa.Augment(CROP, seed=3)

    def __call__(self, samples):
        return self.augment([image for image, _ in samples], torch.tensor([label for _, label in samples]))


def test_workers_of_a_stream_are_keyed_by_worker_and_position():
    def epoch(workers):
        return [images for images, _ in DataLoader(Stream(), 2, num_workers=workers, collate_fn=Finishing())]

    first, again = epoch(2), epoch(2)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], first[1])


def test_schedules_and_wrong_parameters():
    sizes = fa.Augment(fa.schedule({0: CROP, 2: [fa.RandomResizedCrop(8)]}))
    sizes.set_epoch(2)
    assert sizes(PIXELS).shape == (8, 3, 8, 8)
    for make, error, words in (
        (lambda: fa.Augment(3), TypeError, "augment must be a list"),
        (lambda: fa.Augment(CROP, dtype=torch.int8), ValueError, "dtype must be"),
        (lambda: fa.Augment(CROP, threads=0), ValueError, "threads"),
        (lambda: fa.Augment([fa.RandomCrop(99)])(PIXELS), ValueError, "RandomCrop 99x99 is bigger"),
        (lambda: fa.Augment(CROP)(PIXELS.astype(np.int32)), TypeError, "int32"),
        (lambda: fa.Augment(CROP, executor="cuda")(PIXELS), ValueError, "NVIDIA GPU"),
    ):
        with pytest.raises(error, match=words):
            make()
