"""Batches on a GPU's streams: in order, in time, and where they belong. No test of these needs DALI."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from measure import augmentations, crops_of, plan_of

import fastaug as fa
from fastaug.execute import make_executor
from fastaug.execute.output import Output

from .compare import CPU, here


def test_launches_go_to_the_callers_stream(gpu):
    """A stream that is busy for a while: its launch must wait, another stream's must not be disturbed."""
    if "native" not in here():
        pytest.skip("the CPU's kernels are not compiled")
    output, size = Output(torch.float32, False, fa.Normalize()), (224, 224)
    executor, native = make_executor("cuda", output, gpu, 1), make_executor("native", output, CPU, 2)
    streams = [torch.cuda.Stream(gpu.target) for _ in range(3)]
    results = []
    for k in range(12):
        plan = plan_of(augmentations(size, True, True), 16, k)
        crops = crops_of(16, size, k)
        with torch.cuda.stream(streams[k % 3]):
            torch.cuda._sleep(2_000_000)
            images = executor.run(plan, gpu.upload(crops))
            results.append((images.clone(), native.run(plan, crops)))
            del images  # its memory may now be used again, in the stream's order
    torch.cuda.synchronize(gpu.target)
    assert all(torch.equal(a.cpu(), b) for a, b in results)


def differing(target: torch.device, batches: int, side: int) -> int:
    """A training loop that keeps the device busy and drops each batch at once: how many of its
    2 * ``batches`` tensors are not those of a loader for the CPU."""
    arrays = crops_of(batches * 16, (64, 64), 1).numpy(), np.arange(batches * 16) % 10
    augment = [fa.RandomResizedCrop(48), fa.GridMask((8, 20)), fa.MixUp(0.4), fa.Normalize()]
    common = dict(batch_size=16, shuffle=True, num_classes=10, prefetch_factor=3, seed=7, augment=augment)
    with fa.loader(arrays, device="cpu", **common) as loader:
        expected = [(images.clone(), targets) for images, targets in loader]
    weights, copies = torch.ones((side, side), device=target), []
    with fa.loader(arrays, device=target, **common) as loader:
        for images, targets in loader:
            for _ in range(4):  # work that the copies below have to queue behind
                weights = (weights @ weights).clamp(max=1)
            copies.append((images.clone(), targets.clone()))
            del images, targets
        return sum(
            not torch.equal(a.cpu(), b)
            for got, want in zip(copies, expected, strict=True)
            for a, b in zip(got, want, strict=True)
        )


def test_batches_under_load(place, record):
    here()
    batches, side = (48, 2048) if place.target.type == "cuda" else (24, 256)
    wrong = differing(place.target, batches, side)
    record("batches under load", f"{wrong} of {2 * batches} tensors differ")
    assert wrong == 0


def test_batches_under_load_on_another_stream(gpu, record):
    here()
    with torch.cuda.stream(torch.cuda.Stream(gpu.target)):
        wrong = differing(gpu.target, 48, 2048)
    record("batches under load, another stream", f"{wrong} of 96 tensors differ")
    assert wrong == 0


def test_batches_land_on_the_device(gpu):
    arrays = crops_of(40, (40, 40)).numpy(), [k % 4 for k in range(40)]
    common = dict(num_classes=4, dtype=torch.float16, memory_format=torch.channels_last)
    with fa.loader(
        arrays, 8, augment=[fa.RandomResizedCrop(32), fa.MixUp(1.0)], device=gpu.target, **common
    ) as loader:
        for images, targets in loader:
            assert images.device == targets.device == gpu.target
            assert images.is_contiguous(memory_format=torch.channels_last)
        assert loader._engine.executor.name == "cuda"


TURNED = [fa.Pad(3, padding_mode="reflect"), fa.RandomRotation(25), fa.RandomResizedCrop(32, (0.3, 1))]
LISTS = {
    "padded crops": [fa.RandomCrop(40, 4, padding_mode="symmetric"), fa.RandomHorizontalFlip()],
    "turned crops": [*TURNED, fa.RandomVerticalFlip()],
    "a perspective": [fa.RandomPerspective(0.5, p=1.0), fa.CenterCrop(36)],
    "turns behind a crop": [fa.RandomResizedCrop(32), fa.RandomAffine(20, (0.1, 0.1)), fa.RandomRotation90()],
    "views": fa.Views(
        [[fa.RandomResizedCrop(32), fa.RandAugment()], [*TURNED, fa.GaussianBlur(5)], [fa.RandomCrop(12)]]
    ),
    "label maps": [fa.RandomResizedCrop(32), fa.RandomHorizontalFlip()],
}


@pytest.mark.parametrize("name", LISTS)
def test_every_geometry_gives_the_cpus_bits(gpu, record, name):
    """Decoded and scaled on the CPU, the rest on the device."""
    maps = name == "label maps"
    pixels = crops_of(24, (40, 44)).numpy()
    arrays = pixels, pixels[..., 0].astype(int) if maps else [k % 4 for k in range(24)]
    options = {"augment": LISTS[name], "seed": 3, "decode": "cpu", "targets": "mask" if maps else None}
    wrong = total = 0
    with (
        fa.loader(arrays, 8, True, device="cpu", **options) as cpu,
        fa.loader(arrays, 8, True, device=gpu.target, **options) as loader,
    ):
        for (want, targets), (images, same) in zip(cpu, loader, strict=True):
            pairs = zip(want, images, strict=True) if isinstance(want, list) else [(want, images)]
            for a, b in [*pairs, (targets, same)]:
                wrong += int((a != b.cpu()).sum())
                total += a.numel()
    record(f"{name}", f"{wrong} of {total} values differ from the CPU's")
    assert wrong == 0
