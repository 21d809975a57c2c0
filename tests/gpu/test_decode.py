"""GPU decoding and the whole loader on a GPU: with DALI."""

from __future__ import annotations

import pytest
import torch

import fastaug as fa
from fastaug import selftest

pytest.importorskip("nvidia.dali")
AUGMENT = [
    fa.RandomResizedCrop(96),
    fa.RandomHorizontalFlip(),
    fa.GridMask((20, 40)),
    fa.CutMix(1.0),
    fa.Normalize(),
]


@pytest.mark.parametrize("place", ["cpu", "gpu"])
def test_parity_and_going_on_after_a_bad_file(device, place):
    for result in selftest.decoding(place, str(device.target)):
        assert result.passed, result


def test_cpu_decoding_gives_the_cpus_bits(device, photos):
    common = dict(batch_size=8, shuffle=True, augment=AUGMENT, seed=2)
    with (
        fa.loader(photos, device=device.target, decode="cpu", **common) as gpu,
        fa.loader(photos, device="cpu", **common) as cpu,
    ):
        for (a, s), (b, t) in zip(gpu, cpu, strict=True):
            assert torch.equal(a.cpu(), b)
            assert torch.equal(s.cpu(), t)


def test_batches_stay_right_while_others_are_prefetched(device, photos):
    """Every batch is read late, after the next ones were decoded into memory of their own."""
    with fa.loader(
        photos,
        8,
        True,
        augment=AUGMENT,
        device=device.target,
        decode="gpu",
        with_plan=True,
        prefetch_factor=4,
    ) as loader:
        kept = list(loader)
        for images, targets, plan in kept:
            again, again_targets, _ = loader.replay(plan)
            assert torch.equal(images, again)
            assert torch.equal(targets, again_targets)
