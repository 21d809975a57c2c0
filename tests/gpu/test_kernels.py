"""The CUDA kernels on a GPU. They need torch and CuPy, and neither DALI nor Kornia.

Sizes called small are those that compute-sanitizer is shown too: it slows kernels down a hundred times.
"""

from __future__ import annotations

import itertools

import pytest
import torch

import fastaug as fa
from fastaug import selftest
from fastaug.batch import make_executor
from fastaug.batch.output import Output
from fastaug.device import PlainDevice
from fastaug.measure import augmentations, crops_of, plan_of

from .. import policy_cases

CPU = PlainDevice(torch.device("cpu"))
SMALL, LARGE = [(1, 1), (3, 5), (1, 9), (31, 33)], [(64, 64), (223, 225), (224, 224)]
SIZES = [
    pytest.param(size, id=f"{name}-{size[0]}x{size[1]}")
    for name, sizes in (("small", SMALL), ("large", LARGE))
    for size in sizes
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_variant_makes_the_cpus_bits(device, dtype, last, size):
    output = Output(dtype, last, fa.Normalize())
    gpu, native = make_executor("cuda", output, device, 1), make_executor("native", output, CPU, 1)
    for seed, (mixing, masks) in enumerate(itertools.product((False, True), repeat=2)):
        plan = plan_of(augmentations(size, mixing, masks), 7, seed)
        crops = crops_of(7, size, seed)
        got = gpu.run(plan, device.upload(crops))
        assert got.device == device.target
        assert torch.equal(got.cpu(), native.run(plan, crops))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_uint8_makes_the_cpus_bytes(device, last, size):
    output = Output(torch.uint8, last, None)
    gpu, native = make_executor("cuda", output, device, 1), make_executor("native", output, CPU, 1)
    for seed, (mixing, masks) in enumerate(itertools.product((False, True), repeat=2)):
        plan, crops = plan_of(augmentations(size, mixing, masks), 7, seed), crops_of(7, size, seed)
        assert torch.equal(gpu.run(plan, device.upload(crops)).cpu(), native.run(plan, crops))


@pytest.mark.parametrize("n", [1, 2, 1024])
def test_batches_of_any_length_make_the_cpus_bits(device, n):
    output, size = Output(torch.float16, True, fa.Normalize()), (33, 31)
    gpu, native = make_executor("cuda", output, device, 1), make_executor("native", output, CPU, 1)
    crops = crops_of(n, size, 0)
    for augment in (
        augmentations(size, True, True),
        [fa.Resize(size), fa.RandAugment()],
        [fa.Resize(size), fa.AugMix()],
    ):
        plan = plan_of(augment, n, 0)
        assert torch.equal(gpu.run(plan, device.upload(crops)).cpu(), native.run(plan, crops.clone()))


@pytest.mark.parametrize("size", SIZES)
def test_every_single_operation_makes_the_cpus_bytes(device, size):
    output = Output(torch.uint8, False, None)
    gpu, native = make_executor("cuda", output, device, 1), make_executor("native", output, CPU, 1)
    for name, plan in policy_cases.single_operations(size):
        crops = policy_cases.images(len(plan), size)
        got = gpu.run(plan, device.upload(crops)).cpu()
        assert torch.equal(got, native.run(plan, crops)), name


@pytest.mark.parametrize("n", [1, 64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", policy_cases.POLICIES)
def test_whole_policies_make_the_cpus_bytes(device, name, size, n):
    if min(size) < 3 and name == "self-supervised":
        pytest.skip("a blur of 5 reaches over the image")
    output = Output(torch.uint8, False, None)
    gpu, native = make_executor("cuda", output, device, 1), make_executor("native", output, CPU, 1)
    plan = plan_of([fa.Resize(size), *policy_cases.POLICIES[name]], n, 3)
    crops = policy_cases.images(n, size, 1)
    assert torch.equal(gpu.run(plan, device.upload(crops)).cpu(), native.run(plan, crops))


@pytest.mark.parametrize("kind", ["small", "large"])
def test_policies_make_the_cpus_bytes(device, kind):
    odd, size = (((5, 7), (31, 33)), (9, 12)) if kind == "small" else (((223, 225),), (224, 224))
    for result in selftest.policies(device, odd, size, 32, launches=2):
        assert result.passed, result


def test_launches_go_to_the_callers_stream(device):
    """A stream that is busy for a while: its launch must wait, another stream's must not be disturbed."""
    output, size = Output(torch.float32, False, fa.Normalize()), (224, 224)
    executor, native = make_executor("cuda", output, device, 1), make_executor("native", output, CPU, 2)
    streams = [torch.cuda.Stream(device.target) for _ in range(3)]
    results = []
    for k in range(12):
        plan = plan_of(augmentations(size, True, True), 16, k)
        crops = crops_of(16, size, k)
        with torch.cuda.stream(streams[k % 3]):
            torch.cuda._sleep(2_000_000)
            images = executor.run(plan, device.upload(crops))
            results.append((images.clone(), native.run(plan, crops)))
            del images  # its memory may now be used again, in the stream's order
    torch.cuda.synchronize(device.target)
    assert all(torch.equal(a.cpu(), b) for a, b in results)


@pytest.mark.parametrize("own_stream", [False, True])
def test_a_loader_under_load(device, own_stream):
    stream = torch.cuda.Stream(device.target) if own_stream else torch.cuda.default_stream(device.target)
    with torch.cuda.stream(stream):
        result = selftest.ordering(device, batches=48, side=2048)
    assert result.passed, result


def test_batches_land_on_the_device(device):
    arrays = crops_of(40, (40, 40), 0).numpy(), [k % 4 for k in range(40)]
    common = dict(num_classes=4, dtype=torch.float16, memory_format=torch.channels_last)
    with fa.loader(
        arrays, 8, augment=[fa.RandomResizedCrop(32), fa.MixUp(1.0)], device=device.target, **common
    ) as loader:
        for images, targets in loader:
            assert images.device == targets.device == device.target
            assert images.is_contiguous(memory_format=torch.channels_last)
        assert loader._engine.executor.name == "cuda"
