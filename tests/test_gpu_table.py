"""The tests of tests/gpu, on a simulated GPU and without one: what their table says; that they can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from fastaug.execute import cuda
from fastaug.machine.device import Launch

from .gpu import compare, test_decode

ROOT = Path(__file__).parent.parent
WITHOUT = [f"-pno:{name}" for name in ("xdist", "timeout", "faulthandler", "cacheprovider")]


class Outcomes:
    """A plugin that keeps each test's outcome."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            self.found.append(report.outcome)


@pytest.fixture
def run(capfd, monkeypatch):
    """Runs some of tests/gpu in this process: (how many passed, were skipped, failed; the table's lines)."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    def of(*arguments: str, module: str = "kernels"):
        file = str(ROOT / "tests" / "gpu" / f"test_{module}.py")
        plain = "-q", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), *WITHOUT
        outcomes = Outcomes()
        pytest.main([*plain, *arguments, file], [outcomes])
        counts = tuple(outcomes.found.count(word) for word in ("passed", "skipped", "failed"))
        lines = capfd.readouterr().out.splitlines()
        shown = [line for line in lines if line.startswith(("ok  ", "FAILED  ", "not run "))]
        return counts, shown

    return of


@pytest.mark.release
def test_kernels_on_a_simulated_gpu(run):
    outcome, lines = run("--simulated", "-k", "float32-nchw or (policies and trivial) or copy")
    assert outcome == (2 * 4 + 2 + 1, 0, 0)
    assert len(lines) == outcome[0]
    small = next(line for line in lines if "float32 NCHW, mixing, masks, small" in line)
    assert "0 values differ from the CPU's;" in small
    assert "from Kornia's" in small
    large = next(line for line in lines if "float32 NCHW, mixing, masks  " in line).split()
    assert float(large[5].replace(",", "")) > 0, large
    assert large[6].endswith("%")


def test_a_wrong_kernel_fails(run, monkeypatch):
    right = cuda.describe

    def wrong(*arguments):
        launch = right(*arguments)
        return Launch(launch.kernel.replace("_mix", ""), launch.grid, launch.block, launch.arguments)

    monkeypatch.setattr(cuda, "describe", wrong)
    outcome, lines = run("--simulated", "-k", "small and float32-nchw")
    assert outcome == (3, 0, 2)
    bad = [line for line in lines if line.startswith("FAILED") and "values differ" in line]
    assert len(bad) == 2
    assert all("mixing" in line and "; at 3x5, " in line for line in bad), bad


def test_without_a_gpu_the_rest_runs_and_what_did_not_is_said(run):
    outcome, lines = run("-k", "not compile")
    assert outcome == (1, 110, 0)
    assert any(line.startswith("ok      the CPU's kernels ") for line in lines)
    assert any("every variant makes" in line and "64 tests: no GPU" in line for line in lines)
    outcome, lines = run(module="streams")
    assert outcome == (1, 9, 0)
    assert any("0 of 48 tensors differ" in line for line in lines)


def test_without_dali_and_kornia(run, monkeypatch):
    """What is missing is said; the rest goes on."""
    for name in ("kornia", "nvidia.dali"):
        monkeypatch.setitem(sys.modules, name, None)
    outcome, lines = run("--simulated", "-k", "small and uint8-nchw or as_kornias")
    assert outcome == (5, 1, 0)
    assert all("0 values differ from the CPU's" in line and "Kornia" not in line for line in lines[1:])
    assert "not run the cpus kernels are as kornias" in lines[0]
    outcome, lines = run(module="decode")
    assert outcome == (0, 6, 0)
    assert "2 tests: DALI is not installed" in lines[0]


def test_without_anything_to_compare_with_nothing_is_said_to_be_right(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.setattr(compare, "library", lambda: None)
    outcome, lines = run("--simulated", "-k", "small and (uint8-nchw or rand)")
    assert outcome == (0, 7, 0)
    assert all("nothing to compare with" in line for line in lines)


def test_a_process_that_dies_is_a_failed_line(run, monkeypatch):
    pytest.importorskip("nvidia.dali")
    monkeypatch.setattr(test_decode.sys, "executable", "/bin/false")
    outcome, lines = run("-k", "decoded_pixels or bad_file", module="decode")
    assert outcome == (0, 2, 2)
    assert all("ended with 1" in line for line in lines if line.startswith("FAILED"))


def test_wrong_bytes_under_load_are_found(run, monkeypatch):
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda tensor: clone(tensor) + torch.rand(()).to(tensor.dtype))
    outcome, lines = run("-k", "test_batches_under_load", module="streams")
    assert outcome == (0, 1, 1)
    assert lines[0].startswith("FAILED  batches under load ")
