"""The CUDA kernels on a GPU, against the CPU's bit for bit and against Kornia's. They need torch and CuPy.

Sizes called small are those that compute-sanitizer is shown too: it slows kernels down a hundred times.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from measure import augmentations, crops_of, plan_of

import fastaug as fa
from fastaug.execute.output import Output
from fastaug.machine import nvrtc

from .. import policy_cases
from .compare import CPU, copied, cost, difference, here

SMALL, LARGE = [(1, 1), (3, 5), (1, 9), (31, 33)], [(64, 64), (223, 225), (224, 224)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.uint8]
RAW = Output(torch.uint8, False, None)


@pytest.fixture(params=["small", "large"])
def sizes(request) -> list[tuple[int, int]]:
    """Heights and widths; rates are measured at the last of the large ones."""
    if request.param == "small":
        return SMALL
    return [(33, 64), (9, 12)] if request.config.getoption("simulated", False) else LARGE


@pytest.fixture
def batch(request) -> int:
    """Images of a batch whose making is timed."""
    return 4 if request.config.getoption("simulated", False) else 256


def named(name: str, sizes: list[tuple[int, int]]) -> str:
    return f"{name}, small" if sizes == SMALL else name


def rounding(dtype: torch.dtype) -> float:
    """How far from Kornia's a value may be."""
    return torch.finfo(dtype).eps * 4 + 2e-6 if dtype.is_floating_point else 1


@pytest.mark.skipif(not nvrtc.installed(), reason="no NVRTC is installed")
def test_the_kernels_compile(record):
    lib = nvrtc.installed()[0]
    code = b"".join(lib.compile(*nvrtc.source(program), 90) for program in nvrtc.PROGRAMS)
    version = ".".join(map(str, lib.version))
    record(f"compiling, NVRTC {version}, sm_90", f"{len(code) >> 10} KiB of machine code")
    assert code


def test_the_cpus_kernels_are_as_kornias(record):
    if here() < {"native", "kornia"}:
        pytest.skip(f"only {' '.join(here())} is here, not both the compiled kernels and Kornia")
    cases = [(plan_of(augmentations(size, True, True), 5, 0), crops_of(5, size)) for size in SMALL]
    found = difference(CPU, Output(torch.float32, False, fa.Normalize()), cases, "native", {"kornia"})
    record("the CPU's kernels", str(found))
    assert found.distance <= rounding(torch.float32)


def test_a_device_copy(device, record):
    rate = copied(device)
    record("device copy", f"{rate / 1e9:,.0f} GB/s read and written", bandwidth=1.0)
    assert rate > 0


@pytest.mark.parametrize("masks", [False, True], ids=["whole", "masks"])
@pytest.mark.parametrize("mixing", [False, True], ids=["alone", "mixing"])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_every_variant_makes_the_cpus_bits(device, record, dtype, last, mixing, masks, sizes, batch):
    output = Output(dtype, last, fa.Normalize() if dtype.is_floating_point else None)
    cases = (
        (plan_of(augmentations(size, mixing, masks), 7, seed), crops_of(7, size, seed))
        for seed, size in enumerate(sizes)
    )
    found, figures = difference(device, output, cases), {}
    if sizes != SMALL:
        height, width = sizes[-1]
        plan = plan_of(augmentations(sizes[-1], mixing, masks), batch, 9)
        figures = cost(device, output, plan, 50)
        moved = height * width * 3 * (1 + float((plan["mix"] == 1).mean()) + dtype.itemsize)
        figures["bandwidth"] = moved * figures["rate"] / copied(device)
    name = f"{str(dtype).removeprefix('torch.')} {'channels-last' if last else 'NCHW'}"
    name += ", mixing" * mixing + ", masks" * masks
    record(named(name, sizes), str(found), **figures)
    assert not found.values
    assert (found.distance or 0) <= rounding(dtype)


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_mixing_by_shapes_makes_the_cpus_bits(device, record, dtype, last, sizes, batch):
    """FMix's and GridMix's masks, ResizeMix's scaled partners, with masks below."""
    output = Output(dtype, last, fa.Normalize() if dtype.is_floating_point else None)
    shapes = [fa.FMix(per="sample"), fa.GridMix(per="pair"), fa.ResizeMix(per="sample"), fa.CutMix(1.0)]
    mixing = fa.OneOf(shapes, per="sample")
    cases = (
        (plan_of([*augmentations(size, False, True), mixing], 7, seed), crops_of(7, size, seed))
        for seed, size in enumerate(sizes)
    )
    found, figures = difference(device, output, cases), {}
    if sizes != SMALL:
        plan = plan_of([fa.Resize(sizes[-1]), fa.OneOf(shapes[:2], per="sample")], batch, 9)
        figures = cost(device, output, plan, 20)
    name = f"{str(dtype).removeprefix('torch.')} {'channels-last' if last else 'NCHW'}, mixing by shapes"
    record(named(name, sizes), str(found), **figures)
    assert not found.values
    assert (found.distance or 0) <= rounding(dtype)


@pytest.mark.parametrize("n", [1, 2, 1024])
def test_batches_of_any_length_make_the_cpus_bits(device, record, n):
    size = (33, 31)
    lists = [
        augmentations(size, True, True),
        [fa.Resize(size), fa.RandAugment()],
        [fa.Resize(size), fa.AugMix()],
    ]
    cases = ((plan_of(augment, n, 0), crops_of(n, size)) for augment in lists)
    found = difference(device, Output(torch.float16, True, fa.Normalize()), cases, others=cpus_kernels())
    record(f"batches of {n}", str(found))
    assert not found.values


def test_every_single_operation_makes_the_cpus_bytes(device, record, sizes):
    plans = itertools.chain.from_iterable(map(policy_cases.single_operations, sizes))
    cases = ((plan, policy_cases.images(len(plan), plan.size)) for _, plan in plans)
    found = difference(device, RAW, cases, others=cpus_kernels())
    record(named("every operation", sizes), str(found))
    assert not found.values


@pytest.mark.parametrize("name", policy_cases.POLICIES)
def test_whole_policies_make_the_cpus_bytes(device, record, name, sizes, batch):
    policy = policy_cases.POLICIES[name]
    cases = (
        (plan_of([fa.Resize(size), *policy], n, 3), policy_cases.images(n, size, 1))
        for size in sizes
        for n in (1, 64)
        if min(size) >= 3 or name != "self-supervised"  # its blur of 5 reaches over smaller images
    )
    found = difference(device, RAW, cases, others=cpus_kernels())
    figures = {}
    if sizes != SMALL:
        figures = cost(device, RAW, plan_of([fa.Resize(sizes[-1]), *policy], batch, 9), 10)
    record(named(f"policy: {name}", sizes), str(found), **figures)
    assert not found.values


def cpus_kernels() -> set[str]:
    """Policies' bytes are the CPU's kernels' alone: torchvision's geometry may take the other of two pixels
    at a tie, and so may Kornia's executor."""
    if "native" not in here():
        pytest.skip("the CPU's kernels are not compiled")
    return {"native"}
