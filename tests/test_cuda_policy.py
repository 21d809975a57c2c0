"""policy.cu, unchanged, on the host: every thread of every launch, under sanitizers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import fastaug as fa
from fastaug.batch import cuda
from fastaug.batch.native import NativeExecutor
from fastaug.batch.output import Output
from fastaug.plan import OP_KINDS

from . import cuda_host, policy_cases
from .conftest import draw_plan

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
    assert differing(cuda_host.program(), [(name, policy_case(plan, k)) for k, (name, plan) in
                                           enumerate(plans)]) == []
