"""policy.cu, unchanged, on the host: every thread of every launch, under sanitizers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastaug as fa
from fastaug.execute import cuda
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import Output
from fastaug.ops.policy import OP_KINDS

from .. import cuda_host, policy_cases
from ..conftest import draw_plan

RAW = Output(torch.uint8, False, None)


def policy_case(plan, seed=0, **options):
    """A plan's launches with their memory, and the bytes that the CPU makes."""
    crops = policy_cases.images(len(plan), plan.size, seed)
    expected = NativeExecutor(RAW, 1).run(plan, crops.clone()).permute(0, 2, 3, 1)
    steps = cuda.policy_steps(plan)
    working = (len(plan) * steps.chains, *plan.size, 3)
    buffers = [
        crops.numpy(),
        *(np.full(working, 0xA5, np.uint8) for _ in range(steps.buffers)),
        plan.rows,
        plan.ops,
        steps.tasks,
        np.zeros((len(plan) * steps.chains, cuda.TALLY_BYTES), np.uint8),
    ]
    at = cuda_host.addresses(len(buffers))
    launches, result = cuda.describe_policies(plan, steps, at[: 1 + steps.buffers], *at[1 + steps.buffers :])
    return cuda_host.Case(launches, buffers, result, **options), expected.contiguous().numpy().tobytes()


def differing(program, named):
    """The names of those cases whose bytes are not the CPU's."""
    found = cuda_host.run_program(program, [case for _, (case, _) in named])
    return [name for (name, (_, expected)), (_, got) in zip(named, found, strict=True) if got != expected]


@pytest.mark.parametrize("size", policy_cases.SIZES, ids=str)
def test_every_single_operation(size):
    plans = list(policy_cases.single_operations(size))
    assert policy_cases.kinds_of(plans) == set(OP_KINDS)
    cases = [(name, policy_case(plan, k)) for k, (name, plan) in enumerate(plans)]
    assert differing(cuda_host.program(), cases) == []


@pytest.mark.parametrize("name", policy_cases.POLICIES)
def test_whole_policies(name):
    """At sizes of one block and of several; with aligned memory and without; some rows without operations."""
    cases = []
    for seed, (n, size) in enumerate(
        [(6, (12, 17)), (3, (31, 30)), (1, (7, 300)), (2, (5, 5)), (9, (8, 4)), (2, (70, 65)), (2, (96, 88))]
    ):
        plan = draw_plan([fa.Resize(size), *policy_cases.POLICIES[name]], n, seed=seed, first=seed)
        if n > 1:
            plan.rows["n_ops"][1] = 0
            plan = plan.take(range(n))
        cases.append((f"{n} of {size}", policy_case(plan, seed, offset=seed % 4)))
    assert differing(cuda_host.program(), cases) == []


def test_a_batch_of_rows_with_and_without_chains():
    """No list of augmentations draws such a plan; the CPU carries it out, and so does the GPU."""
    plan = draw_plan([fa.Resize((9, 11)), fa.AugMix(mixture_width=2)], 5, seed=1)
    plan.rows["chains"][2] = 0
    plan.sample(2).ops["chain"] = 0
    assert differing(cuda_host.program(), [("mixed", policy_case(plan))]) == []


def test_a_chain_alone_leaves_the_image_that_it_is_mixed_with():
    """Also where none of its operations looks around: most batches of one image."""
    plans = [draw_plan([fa.Resize((4, 5)), *policy_cases.POLICIES["augmix of one"]], 1, k) for k in range(12)]
    assert any(plan.ops["kind"].max() < OP_KINDS.index("Sharpness") for plan in plans)
    assert (
        differing(cuda_host.program(), [(str(k), policy_case(plan, k)) for k, plan in enumerate(plans)]) == []
    )


@pytest.mark.parametrize("name", policy_cases.POLICIES)
def test_steps_are_in_order_and_nothing_is_copied_along(name):
    for seed in range(20):
        plan = draw_plan([fa.Resize((40, 40)), *policy_cases.POLICIES[name]], 1 + seed, seed=seed)
        steps = cuda.policy_steps(plan)
        done: dict[int, list[int]] = {}
        place: dict[int, int] = {}
        for begin, counted, end in steps.parts:
            tasks = steps.tasks[begin:end]
            assert len(set(tasks["image"])) == len(tasks)  # no image twice: they run at once
            for k, (row, image, op, source, target) in enumerate(tasks.tolist(), begin):
                assert source == place.get(image, 0)
                place[image] = target
                done.setdefault(image, []).append(op)
                assert row == image // steps.chains
                kind = "none" if op < 0 else OP_KINDS[plan.ops["kind"][op]]
                assert (k < counted) == (kind in ("Contrast", "AutoContrast", "Equalize"))
                assert source != target or kind not in OP_KINDS[OP_KINDS.index("Sharpness") :]
        first = plan["first_op"]
        for row, chain in np.ndindex(len(plan), steps.chains):
            mine = [int(first[row]) + int(k) for k in np.flatnonzero(plan.sample(row).ops["chain"] == chain)]
            image = row * steps.chains + chain
            assert done.get(image, []) == (mine or ([-1] if steps.buffers else []))
            assert place.get(image, 0) == min(1, steps.buffers)  # where the result is looked for


@pytest.mark.parametrize(
    ("augment", "most"),
    [
        ([fa.RandAugment(2)], 4),
        ([fa.TrivialAugmentWide()], 2),
        ([fa.AugMix()], 7),
        ([fa.GaussianBlur(5)], 1),
        ([fa.RandomSolarize(9, 1.0)], 1),
        ([fa.ColorJitter(0.4, 0.4, 0.4, 0.1)], 8),
    ],
)
def test_launches_are_few(augment, most):
    plan = draw_plan([fa.Resize((32, 32)), *augment], 256)
    steps = cuda.policy_steps(plan)
    launches, _ = cuda.describe_policies(plan, steps, list(range(1 + steps.buffers)), 5, 6, 7, 8)
    assert len(launches) <= most
    counted = sum(la.grid for la in launches if la.kernel == "policy_count")
    assert counted == np.isin(plan.ops["kind"], [2, 7, 8]).sum()  # a block each; no block without work


FAULTS = {
    "wrong column": ("x = first % width;", "x = (first + 1) % width;"),
    "lost values": ("counts[c][v] - own[c], mean, v)", "counts[c][v], mean, v)"),
    "wrong neighbour": ("x + k % 3 - 1, c);", "x + k % 3, c);"),
    "wrong weight": ("row.chain_weight[1 + chain]", "row.chain_weight[1]"),
    "wrong buffer": ("image_in(buffers, task.target,", "image_in(buffers, task.source,"),
    "counts that are kept": ("tally.histogram[c][v] = 0;", ""),
    "one block's counts": ("last = atomicAdd(arrived, 1u) == (u32)blocks - 1;", "last = true;"),
    "a missing barrier": ("counts[c][v - reach] : 0;\n        __syncthreads();", "counts[c][v - reach] : 0;"),
}


@pytest.mark.release
@pytest.mark.parametrize("fault", FAULTS)
def test_deliberate_faults_are_found(fault, tmp_path):
    broken = cuda_host.build_faulty(f"policy {fault}", "policy.cu", *FAULTS[fault], tmp_path, "-O0")
    fixed = fa.Policy(
        [[("Equalize", 1.0, None), ("Sharpness", 1.0, 0.5), ("Rotate", 1.0, 20.0), ("Equalize", 1.0, None)]]
    )
    cases = []
    for name, augment in (("fixed", [fixed]), ("augmix", policy_cases.POLICIES["augmix"])):
        cases.append((name, policy_case(draw_plan([fa.Resize((75, 71)), *augment], 2, seed=3), 3)))
    assert differing(broken, cases)


def test_numbers_of_the_kernel_are_the_descriptions():
    source = (cuda_host.KERNELS / "policy.cu").read_text()
    assert f"POLICY_THREADS = {cuda.POLICY_THREADS}, POLICY_GROUPS = {cuda.POLICY_GROUPS}" in source
    assert cuda_host.library().cuda_host_task_bytes() == cuda.TASK.itemsize
    assert cuda_host.library().cuda_host_tally_bytes() == cuda.TALLY_BYTES
    header = (cuda_host.KERNELS / "plan.h").read_text()
    for number, kind in enumerate(OP_KINDS):
        assert f"OP_{kind.upper()} = {number}" in header
