"""policy.cu, unchanged, on the host: every thread of every launch, under sanitizers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastaug as fa
from fastaug.batch import cuda
from fastaug.batch.native import NativeExecutor
from fastaug.plan import OP_KINDS

from . import cuda_host
from .conftest import draw_plan
from .test_policy import LISTS, RAW


def policy_case(augment, n, size, seed, **options):
    plan = draw_plan([fa.Resize(size), *augment], n, seed=seed, first=seed)
    crops = np.random.default_rng(seed).integers(0, 256, (n, *size, 3), np.uint8)
    expected = NativeExecutor(RAW, 1).run(plan, torch.from_numpy(crops.copy())).permute(0, 2, 3, 1)
    extra = 2 if plan["chains"].any() else 1
    buffers = [
        crops,
        *(np.full_like(crops, 0xA5) for _ in range(extra)),
        plan.rows,
        plan.ops,
        np.full(n * cuda.COUNTS_BYTES, 0xA5, np.uint8),
        np.full(crops.size if extra > 1 else 1, 7, np.float32),
    ]
    at = [np.uint64(cuda_host.BASE + k) for k in range(len(buffers))]
    launches, result = cuda.describe_policies(plan, at[: 1 + extra], *at[1 + extra :])
    return cuda_host.Case(launches, buffers, result, **options), expected.contiguous().numpy().tobytes()


@pytest.mark.parametrize("name", LISTS)
def test_the_cuda_kernels_make_the_cpus_bytes_under_sanitizers(name):
    batch = [policy_case(LISTS[name], n, size, seed) for seed, (n, size) in enumerate(
        [(6, (12, 17)), (3, (31, 30)), (1, (7, 300)), (2, (5, 5))])]  # fmt: skip
    assert sum(len(case.launches) for case, _ in batch) > len(batch)
    for (_, expected), (_, got) in zip(
        batch, cuda_host.run_program(cuda_host.program(), [c for c, _ in batch]), strict=True
    ):
        assert got == expected


FAULTS = {
    "wrong slot": ("slot-- == 0) return ops + k;", "slot-- == 1) return ops + k;"),
    "wrong column": ("at / width, at % width, pixel);", "at / width, (at + 1) % width, pixel);"),
    "lost values": ("if (k < v) below += histogram[k];", "if (k <= v) below += histogram[k];"),
    "wrong neighbour": ("x + k % 3 - 1, c);", "x + k % 3, c);"),
    "wrong weight": ("rows[sample].chain_weight[place]", "rows[sample].chain_weight[0]"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_deliberate_faults_are_found(fault, tmp_path):
    broken = cuda_host.build_faulty(f"policy {fault}", "policy.cu", *FAULTS[fault], tmp_path, "-O1")
    fixed = [fa.Policy([[("Equalize", 1.0, None), ("Sharpness", 1.0, 0.5), ("Rotate", 1.0, 20.0)]])]
    batch = [policy_case(augment, 2, (30, 41), 3) for augment in (fixed, LISTS["augmix"])]
    found = cuda_host.run_program(broken, [case for case, _ in batch])
    assert any(got != expected for (_, expected), (_, got) in zip(batch, found, strict=True))


def test_numbers_of_the_kernel_are_the_descriptions():
    source = (cuda_host.KERNELS / "policy.cu").read_text()
    assert f"POLICY_THREADS = {cuda.POLICY_THREADS}, POLICY_PIXELS = {cuda.POLICY_PIXELS}" in source
    header = (cuda_host.KERNELS / "plan.h").read_text()
    for number, kind in enumerate(OP_KINDS):
        word = "".join("_" + c if c.isupper() and k else c for k, c in enumerate(kind)).upper()
        assert f"OP_{word.replace('AUTO_CONTRAST', 'AUTOCONTRAST')} = {number}" in header
