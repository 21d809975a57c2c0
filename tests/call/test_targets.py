"""Targets of any kind: smoothed and mixed as they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import fastaug as fa

from .sets import Photos

CROP = [fa.RandomResizedCrop(16)]
MIX = [*CROP, fa.MixUp(0.5)]


def batch(give, augment=MIX, **options):
    data = Photos(8, give=lambda i, pixels: (pixels, give(i)))
    with fa.loader(data, 8, augment=augment, seed=2, with_plan=True, **options) as loader:
        _, targets, plan = next(iter(loader))
    return targets, torch.from_numpy(plan["lam"]), torch.from_numpy(plan["partner"].astype(np.int64))


def mixed(values, lam, partner):
    lam = lam.view(-1, *[1] * (values.ndim - 1))
    return lam * values + (1 - lam) * values[partner]


@pytest.mark.parametrize(
    "make",
    [
        lambda i: i / 3,
        lambda i: torch.eye(5)[i % 5] + torch.eye(5)[2],
        lambda i: np.full((2, 3), i, np.float32),
    ],
    ids=["numbers", "multi-hot", "maps"],
)
def test_what_is_numeric_is_mixed_as_it_is(make):
    found, lam, partner = batch(make)
    plain = torch.stack([torch.as_tensor(make(i), dtype=found.dtype) for i in range(8)])
    assert torch.allclose(found, mixed(plain, lam.to(found.dtype), partner))


def test_whole_numbers_in_vectors_become_floats():
    found, lam, partner = batch(lambda i: torch.tensor([i, 1]))
    assert torch.allclose(found, mixed(torch.tensor([[i, 1.0] for i in range(8)]), lam, partner))


def test_dicts_tuples_and_texts():
    found, lam, partner = batch(lambda i: {"class": i, "value": (i / 2, f"name {i}")}, num_classes=8)
    assert torch.allclose(found["class"], mixed(torch.eye(8), lam, partner))
    assert torch.allclose(found["value"][0], mixed(torch.arange(8) / 2, lam, partner).double())
    assert found["value"][1] == tuple(f"name {i}" for i in range(8)) or found["value"][1] == [
        f"name {i}" for i in range(8)
    ]


def test_smoothing_of_many_labels_is_timms():
    """Off is s / C, on 1 - s + s / C: timm.data.mixup.mixup_target and timm.loss.BinaryCrossEntropy."""
    hot = torch.eye(5)[[k % 5 for k in range(8)]] + torch.eye(5)[[2] * 8]
    hot = hot.clamp(max=1)
    found, _, _ = batch(lambda i: hot[i], augment=CROP, label_smoothing=0.1)
    off, on = 0.1 / 5, 1 - 0.1 + 0.1 / 5
    assert torch.allclose(found, torch.where(hot > 0, on, off))
    single, _, _ = batch(lambda i: i % 5, augment=CROP, label_smoothing=0.1, num_classes=5)
    assert torch.allclose(single, torch.where(torch.eye(5)[[k % 5 for k in range(8)]] > 0, on, off))


def test_a_label_that_is_ignored_weighs_nothing():
    labels = [0, -100, 2, 1, -100, 0, 1, 2]
    plain, _, _ = batch(lambda i: labels[i], augment=CROP)
    assert plain.tolist() == labels
    soft, _, _ = batch(lambda i: labels[i], augment=CROP, num_classes=3, label_smoothing=0.1)
    logits = torch.randn(8, 3)
    want = cross_entropy(
        logits, torch.tensor(labels), ignore_index=-100, label_smoothing=0.1, reduction="sum"
    )
    assert torch.allclose(cross_entropy(logits, soft, reduction="sum"), want)
    both, lam, partner = batch(lambda i: labels[i], num_classes=3)
    rows = torch.stack([torch.eye(3)[max(y, 0)] * (y >= 0) for y in labels])
    assert torch.allclose(both, mixed(rows, lam, partner))
    with pytest.raises(ValueError, match="sample 1 has label -1, out of range for num_classes=3"):
        batch(lambda i: [0, -1][i % 2], num_classes=3)
    with fa.loader((np.zeros((8, 8, 8, 3), np.uint8), labels), 8, augment=[], num_classes=3) as loader:
        assert next(iter(loader))[1].tolist() == labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets_may_stay_in_pairs(smoothing):
    options = dict(num_classes=8, label_smoothing=smoothing)
    (own, other, lam), same, partner = batch(lambda i: i, mix_targets=False, **options)
    whole, _, _ = batch(lambda i: i, **options)
    assert torch.equal(lam, same)
    assert torch.equal(other, own[partner])
    if smoothing:
        assert torch.allclose(whole, lam[:, None] * own + (1 - lam[:, None]) * other)
    else:
        assert own.tolist() == list(range(8))
    (texts, others, _), _, _ = batch(lambda i: f"{i}", mix_targets=False)
    assert [texts[k] for k in partner.tolist()] == list(others)


def test_class_ids_need_a_number_of_classes():
    with pytest.raises(ValueError, match="num_classes"):
        batch(lambda i: i)
    named = Photos(8, classes=["a", "b", "c", "d"])
    with fa.loader(named, 8, augment=MIX) as loader:
        assert next(iter(loader))[1].shape == (8, 4)


def test_further_parts_stay_each_samples_own():
    data = Photos(8, give=lambda i, pixels: (pixels, i / 2, i, f"{i}.png"))
    with fa.loader(data, 8, True, augment=MIX, with_plan=True) as loader:
        _, _, numbers, names, plan = next(iter(loader))
    assert numbers.tolist() == plan["index"].tolist()
    assert list(names) == [f"{i}.png" for i in numbers.tolist()]
