from __future__ import annotations

import sys

import pytest
import torch

from fastaug import selftest
from fastaug.batch import cuda
from fastaug.cli import main
from fastaug.device import Launch, PlainDevice

from .simulated import SimulatedDevice


def test_on_this_machine(capsys):
    assert main(["selftest", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "nothing failed" in out
    assert "goes on after a bad file" in out
    assert "not run the CUDA kernels" in out
    assert main(["selftest", "--device", "cuda:63"]) == 2
    assert "torch sees" in capsys.readouterr().err


def test_the_kernels_part_on_a_simulated_gpu():
    results = list(selftest.kernels(SimulatedDevice(), ((1, 1), (3, 5)), (8, 12), 4, launches=1))
    assert len(results) == 1 + 3 * 2 * 4
    for result in results:
        assert result.passed, str(result)
        assert result.bandwidth
    assert "0 values differ" in str(results[-1])


def test_the_policies_part_on_a_simulated_gpu():
    results = list(selftest.policies(SimulatedDevice(), ((5, 7),), (6, 9), 2, launches=1))
    assert [r.passed for r in results] == [True] * len(selftest.POLICIES), list(map(str, results))
    assert all(r.rate for r in results)


def test_a_wrong_kernel_fails(monkeypatch):
    right = cuda.describe

    def wrong(*arguments):
        launch = right(*arguments)
        return Launch(launch.kernel.replace("_mix", ""), launch.grid, launch.block, launch.arguments)

    monkeypatch.setattr(cuda, "describe", wrong)
    results = list(selftest.kernels(SimulatedDevice(), ((3, 5),), (8, 12), 4, launches=1))
    assert [r.passed for r in results if "mixing" in r.name] == [False] * 12
    assert "FAILED" in str(results[-1])


def test_a_process_that_dies_is_a_failed_line(monkeypatch):
    pytest.importorskip("nvidia.dali")
    monkeypatch.setattr(selftest.sys, "executable", "/bin/false")
    results = list(selftest.decoding("cpu", "cpu"))
    assert [r.passed for r in results] == [False, False]
    assert "ended with 1" in results[0].error


def test_ordering_finds_wrong_bytes(monkeypatch):
    device = PlainDevice(torch.device("cpu"))
    assert selftest.ordering(device, batches=2, side=8).passed
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda t: clone(t) + torch.rand(()).to(t.dtype))
    assert not selftest.ordering(device, batches=2, side=8).passed


def test_without_dali_and_kornia(monkeypatch, capsys):
    """What is missing is said; the rest goes on."""
    monkeypatch.setattr(selftest, "find_spec", lambda name: None)

    def missing():
        raise ImportError("no DALI")

    monkeypatch.setattr(selftest, "load_dali", missing)
    monkeypatch.setattr(sys.modules["fastaug.graphs"], "load_dali", missing)
    assert selftest.selftest("cpu") == 0
    out = capsys.readouterr().out
    assert "not run the CPU's kernels" in out
    assert "not run DALI graph" in out
    assert "ok      batches under load" in out
    results = list(selftest.kernels(SimulatedDevice(), ((3, 5),), (8, 12), 4, launches=1))
    assert all(result.passed for result in results)
    assert "Kornia" not in str(results[-1])


def test_without_anything_to_compare_with_nothing_is_said_to_be_right(monkeypatch):
    monkeypatch.setattr(selftest, "references", lambda output: {})
    results = list(selftest.kernels(SimulatedDevice(), ((3, 5),), (8, 12), 4, launches=1))
    assert [r.passed for r in results[1:]] == [None] * 24
