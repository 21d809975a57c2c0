"""The lines that only a machine with a GPU can run: listed here, counted here, and nowhere else.

Everything else of the GPU path runs in the other tests, on the simulated device. The tests in
tests/gpu/ run these lines where there is a GPU.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
from pathlib import Path

import pytest
import torch
from measure import crops_of

import fastaug as fa
from fastaug.execute import cuda, make_executor
from fastaug.execute.output import Output
from fastaug.machine import nvrtc
from fastaug.machine.device import StreamHandle, own_gpu

from ..conftest import draw_plan
from ..simulated import SimulatedDevice

ROOT = Path(fa.__file__).parent
GPU_ONLY = {
    ("machine/device.py", "CudaDevice"),
    ("tools/doctor.py", "gpu_lines"),
    ("train/distributed.py", "use_gpu"),
}  # besides: make_device's last line
ANYWHERE = {"torch.cuda.is_available", "torch.cuda.device_count"}  # answer without a GPU too


def scopes():
    """(file, name, syntax tree) of everything at the top level of fastaug's modules."""
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            yield str(path.relative_to(ROOT)), getattr(node, "name", ""), node


def gpu_calls(node) -> set[str]:
    """What a piece of code uses of torch.cuda and CuPy."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and ast.unparse(part).startswith(("torch.cuda.", "cupy.")):
            found.add(".".join(ast.unparse(part).split(".")[:3]))
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            found |= {alias.name for alias in part.names if alias.name.split(".")[0] == "cupy"}
    return found - ANYWHERE


def test_no_other_code_calls_the_gpu():
    calling = {(file, name) for file, name, node in scopes() if gpu_calls(node)}
    assert calling == GPU_ONLY


def test_fewer_than_50_lines_need_a_gpu():
    count = 1
    for file, name, node in scopes():
        if (file, name) in GPU_ONLY:
            count += len(
                {
                    n.lineno
                    for n in ast.walk(node)
                    if isinstance(n, ast.stmt)
                    and not isinstance(n, (ast.FunctionDef, ast.ClassDef))
                    and not isinstance(getattr(n, "value", None), ast.Constant)
                }
            )
    print(f"{count} lines")
    assert 20 < count < 50


def test_every_line_of_the_cuda_executor_runs_without_a_gpu():
    ran: set[int] = set()

    def trace(frame, event, argument):
        if frame.f_code.co_filename != cuda.__file__:
            return None
        if event == "line":
            ran.add(frame.f_lineno)
        return trace

    plan = draw_plan([fa.Resize((9, 9)), fa.RandAugment(), fa.MixUp(1.0)], 3, size=(9, 9))
    mixed = draw_plan([fa.Resize((9, 9)), fa.AugMix()], 3, size=(9, 9))
    plain = draw_plan([fa.Resize((9, 9))], 3, size=(9, 9))
    device, previous = SimulatedDevice(), sys.gettrace()
    sys.settrace(trace)
    try:
        executor = make_executor("cuda", Output(torch.float32, True, fa.Normalize()), device, 1)
        for each in (plan, mixed, plain):
            executor.run(each, device.upload(crops_of(3, (9, 9), 0)))
        executor.close()
    finally:
        sys.settrace(previous)
    methods = [f for _, f in inspect.getmembers(cuda.CudaExecutor, inspect.isfunction)]
    functions = [cuda.describe, cuda.describe_policies, *methods]
    lines = {
        line
        for f in functions
        for _, _, line in f.__code__.co_lines()
        if line and line > f.__code__.co_firstlineno
    }
    assert len(lines) > 20
    assert lines <= ran


def test_cupy_has_what_these_lines_call():
    cupy = pytest.importorskip("cupy")
    assert cupy.cuda.Stream.from_external(StreamHandle(0)).ptr == 0
    assert cupy.cuda.Stream.from_external(StreamHandle(4096)).ptr == 4096
    assert callable(cupy.RawKernel.compile)
    assert callable(cupy.RawModule.get_function)


@pytest.mark.skipif(not nvrtc.installed(), reason="no NVRTC here: pip install nvidia-cuda-nvrtc-cu12")
@pytest.mark.release
def test_every_kernel_is_found_in_the_machine_code():
    """By these names they are loaded before the first launch."""
    lib = nvrtc.installed()[0]
    found = [
        name for program in nvrtc.PROGRAMS for name in nvrtc.kernels(lib.compile(*nvrtc.source(program), 90))
    ]
    wanted = set(re.findall(r"^policy_\w+(?=\()", nvrtc.source("policy")[0], re.M))
    for dtype, last in itertools.product(("float32", "float16", "bfloat16", "uint8"), ("nchw", "nhwc")):
        wanted |= {f"batch_{dtype}_{last}{tail}" for tail in ("", "_mix", "_masks", "_mix_masks")}
    assert set(found) == wanted
    assert len(found) == len(wanted)


@pytest.mark.parametrize(
    ("rank", "current", "count", "expected"),
    [
        (None, 0, 4, 0),
        ("2", 0, 4, 2),
        ("2", 1, 4, 1),
        ("2", 0, 1, 0),
        ("x", 0, 4, 0),
        ("0", 0, 4, 0),
        (None, 3, 4, 3),
    ],
)
def test_under_a_launcher_each_process_has_its_own_gpu(monkeypatch, rank, current, count, expected):
    """But where set_device chose one, or a process sees no other."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert own_gpu(current) == expected
