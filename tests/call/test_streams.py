"""IterableDatasets: torch's rules on who yields what, our augmentations, keyed by worker and position."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import fastaug as fa

from .sets import photo

CROP = [fa.RandomResizedCrop(16), fa.RandomHorizontalFlip(), fa.Cutout(4)]


class Numbers(IterableDataset):
    """Photos in order, shared out among workers; each with a random number of its own."""

    def __init__(self, n=22, form="tuple"):
        self.n, self.form = n, form

    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for i in range(first, self.n, step):
            draw = random.random() + float(torch.rand(())) + np.random.rand()
            sample = photo(i), i, draw
            yield sample if self.form == "tuple" else {"label": i, "image": photo(i)}


class Sized(Numbers):
    def __len__(self):
        return self.n


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop", [False, True])
def test_batches_are_divided_as_torch_divides_them(workers, drop):
    ours = fa.loader(Numbers(), 5, num_workers=workers, drop_last=drop, augment=[], dtype=torch.uint8)
    theirs = DataLoader(Numbers(), 5, num_workers=workers, drop_last=drop)
    for (images, labels, _), (pixels, same, _) in zip(ours, theirs, strict=True):
        assert torch.equal(images, pixels.permute(0, 3, 1, 2))
        assert torch.equal(labels, same)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_an_epoch_is_the_same_again(workers, persistent):
    def epochs():
        options = dict(num_workers=workers, persistent_workers=persistent and workers > 0, with_plan=True)
        stream = fa.loader(Numbers(), 5, augment=CROP, seed=3, **options)
        return [list(stream) for _ in range(3)], stream

    (first, second, third), stream = epochs()
    (same, *_), _ = epochs()
    for a, b in zip(first, same, strict=True):
        assert torch.equal(a[0], b[0])
        if workers:
            assert torch.equal(a[2], b[2])  # the user's own random numbers
    assert not torch.equal(first[0][0], second[0][0])
    assert len({tuple(batch[3]["index"]) for batch in first[:2]}) == (1 if workers else 2)
    stream.set_epoch(1)
    assert torch.equal(next(iter(stream))[0], second[0][0])
    assert len(third) == len(first)


def test_forms_targets_and_lengths():
    with fa.loader(Sized(form="dict"), 4, augment=[*CROP, fa.MixUp(0.2)], num_classes=22) as stream:
        assert len(stream) == 6
        batch = next(iter(stream))
    assert list(batch) == ["label", "image"]
    assert (batch["image"].shape, batch["label"].shape) == ((4, 3, 16, 16), (4, 22))
    with pytest.raises(TypeError):
        len(fa.loader(Numbers(), 4, augment=CROP))


def test_what_needs_numbers_is_refused():
    for options in (dict(shuffle=True), dict(sampler=[1]), dict(weights=[1.0]), dict(on_error="skip")):
        (name,) = options
        with pytest.raises(ValueError, match=f"{name}=.* is not possible with an IterableDataset"):
            fa.loader(Numbers(), 4, augment=CROP, **options)
    with pytest.raises(AttributeError):
        fa.loader(Numbers(), 4, augment=CROP).state_dict()
