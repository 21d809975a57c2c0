"""batch.cu, unchanged, on the host: every thread of every launch, under sanitizers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from measure import crops_of

import fastaug as fa
from fastaug.execute import cuda
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import Output

from .. import cuda_host
from ..conftest import draw_plan
from ..mask_cases import MIXES, masks

SIZES = [(1, 1), (3, 5), (1, 9), (17, 16), (6, 10), (33, 47), (223, 225)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LAYOUTS = [False, True]


def case_of(output: Output, augment, n: int, size, seed: int, **options) -> tuple[cuda_host.Case, bytes]:
    """A case, and the bytes that the CPU executor makes of it."""
    plan = draw_plan([fa.Resize(size), *augment], n, seed=seed, first=seed)
    crops = crops_of(n, size, seed)
    expected = NativeExecutor(output, 1).run(plan, crops)
    if output.channels_last:
        expected = expected.permute(0, 2, 3, 1)
    expected = expected.contiguous().view(torch.uint8).numpy()
    launch = cuda.describe(output, plan, *cuda_host.addresses(4))
    poisoned = np.full(expected.nbytes, 0xA5, np.uint8)
    case = cuda_host.Case(
        [launch], [crops.numpy(), cuda.tables_of(plan).numpy(), output.noise, poisoned], 3, **options
    )
    return case, expected.tobytes()


def cases(sizes, count_up_to: int = 0):
    """All formats over random plans: (case, expected bytes)."""
    out = []
    seed = itertools.count()
    for size in sizes:
        for dtype, last in itertools.product(DTYPES, LAYOUTS):
            output = Output(dtype, last, fa.Normalize())
            for k, (mask, mix) in enumerate(
                [
                    ("nothing", "alone"),
                    ("nothing", "either"),
                    ("all", "alone"),
                    ("all", "either"),
                    ("choice", "cutmix sample"),
                    ("all", "shapes"),
                ]
            ):
                n = (1, 5, 2, 4, 3, 9)[k]
                out.append(
                    case_of(
                        output,
                        [*masks(size)[mask], *MIXES[mix]],
                        n,
                        size,
                        next(seed),
                        count=size[0] * size[1] <= count_up_to,
                        offset=(next(seed) % 4) * 4,
                    )
                )
    return out


def failures(program, batch) -> list[str]:
    """What is wrong with the results of a list of cases."""
    found = []
    for (case, expected), (times, got) in zip(
        batch, cuda_host.run_program(program, [c for c, _ in batch]), strict=True
    ):
        if times is not None and (times != 1).any():
            found.append(f"{case.launches[-1].kernel}: bytes written {np.unique(times)} times")
        if got != expected:
            found.append(f"{case.launches[-1].kernel} {case.buffers[0].shape}: not the CPU's bytes")
    return found


@pytest.mark.release
def test_every_launch_under_sanitizers_is_the_cpus_bytes():
    batch = cases(SIZES)
    kernels = {case.launches[0].kernel for case, _ in batch}
    assert len(kernels) == len(DTYPES) * len(LAYOUTS) * 5
    assert failures(cuda_host.program(), batch) == []


@pytest.mark.release
def test_every_element_is_written_once():
    assert failures(cuda_host.program(), cases([(1, 1), (3, 5), (6, 10), (33, 47)], 33 * 47)) == []
    output = Output(torch.float16, False, fa.Normalize())
    large = case_of(output, [fa.Cutout(60), fa.MixUp(1.0)], 1, (67, 65), 3, count=True)  # several blocks
    assert failures(cuda_host.program(), [large]) == []


@pytest.mark.parametrize("mask", masks((9, 9)))
@pytest.mark.parametrize("mix", MIXES)
def test_every_augmentation(mask, mix):
    batch = []
    for seed, size in enumerate([(7, 9), (16, 24), (31, 30)]):
        augment = [*masks(size)[mask], *MIXES[mix]]
        batch += [
            case_of(Output(torch.float32, last, fa.Normalize()), augment, 5, size, 10 + seed)
            for last in LAYOUTS
        ]
    assert failures(cuda_host.program(), batch) == []


def test_uint8_and_misaligned_memory():
    batch = []
    for seed, (last, offset) in enumerate(itertools.product(LAYOUTS, (0, 1, 2, 3))):
        for size in [(1, 1), (5, 7), (8, 8)]:
            augment = [fa.Cutout(max(size) // 2 + 1, fill=9.0), fa.CutMix(1.0)]
            batch.append(
                case_of(Output(torch.uint8, last, None), augment, 3, size, seed, offset=offset, count=True)
            )
    assert failures(cuda_host.program(), batch) == []


FAULTS = {
    "wrong column": ("group.x = group.first % width;", "group.x = (group.first + 1) % width;"),
    "off by one in a box": ("x >= hole.x0 && x < hole.x1", "x >= hole.x0 && x <= hole.x1"),
    "swapped partner": (
        "theirs = load(crops + partner * size * 3, group)",
        "theirs = load(crops + sample * size * 3, group)",
    ),
    "missing tail": ("if (group.first >= size) return;", "if (group.first + PIXELS > size) return;"),
    "wrong plane stride": (
        "((sample * 3 + c) * size + group.first)",
        "((sample * 3 + c) * (size + 1) + group.first)",
    ),
}


@pytest.mark.release
@pytest.mark.parametrize("fault", FAULTS)
def test_deliberate_faults_are_found(fault, tmp_path):
    broken = cuda_host.build_faulty(fault, "batch.cu", *FAULTS[fault], tmp_path, "-O0", "-fsanitize=address")
    batch = cases([(6, 10), (17, 15)], 60)
    try:
        found = failures(broken, batch)
    except RuntimeError as error:
        found = [str(error)]
    assert found


def test_numbers_of_the_kernel_are_the_descriptions():
    assert f"THREADS = {cuda.THREADS} }}" in (cuda_host.KERNELS / "batch.cu").read_text()
    assert f"PIXELS = {cuda.PIXELS};" in (cuda_host.KERNELS / "pixels4.h").read_text()


def test_a_launch_is_described_as_data():
    plan = draw_plan([fa.Resize((223, 225)), fa.MixUp(1.0)], 3, seed=2**63 + 1)
    output = Output(torch.float16, True, fa.Normalize())
    launch = cuda.describe(output, plan, 16, 32, 64, 80)
    assert launch.kernel == "batch_float16_nhwc_mix"
    assert (launch.grid, launch.block) == (3 * 49, 256)  # 223 * 225 pixels, 1024 a block
    end = 32 + plan.rows.nbytes
    assert [a.dtype.str for a in launch.arguments] == ["<u8"] * 7 + ["<f4"] * 6 + ["<i4"] * 3
    assert [int(a) for a in launch.arguments[:7]] == [16, 32, end, end, 64, 80, 2**63 + 1]
    assert [int(a) for a in launch.arguments[-3:]] == [223, 225, 49]
    assert launch == cuda.describe(output, plan, 16, 32, 64, 80)
    alone = cuda.describe(output, draw_plan([fa.Resize((8, 8)), fa.Cutout(3)], 2), 0, 0, 0, 0)
    assert alone.kernel == "batch_float16_nhwc_masks"
