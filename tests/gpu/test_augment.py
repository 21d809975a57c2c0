"""fastaug.Augment on batches that are on a GPU already, beside the same on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastaug as fa

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 48, 60), np.uint8))
LISTS = {
    "crop": [fa.RandomResizedCrop(32), fa.RandomHorizontalFlip()],
    "as they are": [fa.RandomHorizontalFlip()],
    "all": [
        fa.RandomResizedCrop(32),
        fa.RandAugment(),
        fa.Cutout(8),
        fa.OneOf([fa.MixUp(0.2), fa.CutMix(1.0)]),
        fa.Normalize(),
    ],
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", LISTS)
def test_a_batch_on_the_gpu_is_as_one_on_the_cpu(name, record):
    augment = fa.Augment(LISTS[name], num_classes=4, seed=1)
    keys, targets = np.arange(6), torch.arange(6) % 4
    want, labels, plan = augment(PIXELS, targets, keys=keys, with_plan=True)
    augment.set_epoch(0)
    found, same, again = augment(PIXELS.cuda(), targets.cuda(), keys=keys, with_plan=True)
    assert (plan.rows == again.rows).all()
    assert torch.allclose(same.cpu(), labels)
    off = (found.cpu() - want).abs() > 2 / 255 / 0.22  # scaled by torch: a level aside here and there
    record(f"Augment, {name}", f"{off.float().mean():.2%} of values differ by more than two levels")
    assert off.float().mean() < 0.05
