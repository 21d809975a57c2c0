"""What `make gpu` runs: its measurements on a simulated GPU, its steps and its record without one."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import gpu
import gpu_kit as kit
import pytest
import torch

from .simulated import SimulatedDevice

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.release
def test_every_batch_kernel_is_measured():
    rows = list(gpu.kernels(SimulatedDevice(), 8, 8))
    assert len({row["what"] for row in rows}) == 1 + 32
    for row in rows[1:]:
        assert row["device µs"] > 0
        assert row["run() host µs"] > 0
        assert row["GB/s"] == pytest.approx(row["of copy"] * rows[0]["GB/s"])


def test_policies_and_batches_are_measured_beside_their_peers():
    rows = list(gpu.policies(SimulatedDevice(), 1, 24, 1))
    assert len(rows) == 8
    assert all(row["fastaug ms"] > 0 and row["torchvision v2 ms"] > 0 for row in rows)
    assert "kornia ms" in rows[0]
    for row in gpu.stage(SimulatedDevice(), 4, 16, 1):
        assert row["kornia ms"] > 0


@pytest.mark.release
def test_what_runs_anywhere_runs_here():
    cpu = torch.device("cpu")
    assert all(row["images/s"] > 0 for row in list(gpu.jpeg(cpu, 4, 1))[1:])
    assert {row["what"].split(",")[1] for row in gpu.loader(cpu, 64, 32)} == {
        " arrays of 32²",
        " JPEG files decoded on the CPU",
    }
    rows = list(gpu.train(cpu, 1000, 4))
    assert rows[-1]["accuracy"] > 0.9
    with pytest.raises(SystemExit, match="learnt too little"):
        list(gpu.train(cpu, 100, 1))


def known(gpu: bool) -> dict:
    return {"gpu": gpu, "commit": "abc"}


@pytest.mark.parametrize(
    ("code", "there", "status"),
    [
        (0, True, "passed"),
        (1, True, "failed"),
        (gpu.NO_GPU, False, "no GPU"),
        (0, False, "no GPU"),
        (5, False, "failed"),
    ],
)
def test_what_an_exit_status_means(code, there, status):
    log = io.BytesIO()
    step = kit.Step("s", 5, ("python", "-c", f"print('said'); raise SystemExit({code})"))
    outcome = kit.run(step, 20, known(there), log)
    assert outcome.status == status
    assert b"said" in log.getvalue()
    assert outcome.tail == ([] if status == "passed" else ["said"])


def test_a_planted_fault_has_to_be_reported():
    step = next(step for step in kit.STEPS if step.name == "planted overrun")
    assert kit.status_of(step, kit.REPORTED, True) == "passed"
    assert kit.status_of(step, 0, True) == "failed"


def test_a_step_ends_at_its_limit_with_all_it_started():
    log = io.BytesIO()
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    outcome = kit.run(kit.Step("s", 1, ("python", "-c", child)), 1, known(True), log)
    assert outcome.status == "timed out"
    assert outcome.seconds < 10


def test_a_missing_sanitizer_is_said(monkeypatch):
    monkeypatch.setattr(kit.shutil, "which", lambda name: None)
    step = kit.Step("s", 5, ("python", "-c", ""), tool="memcheck")
    assert kit.run(step, 5, known(True), io.BytesIO()).status == "not installed"


def test_figures_are_kept_up_to_a_failure():
    text = "import sys; open(sys.argv[-1], 'w').write('[{\"what\": 1}]'); raise SystemExit(2)"
    outcome = kit.run(kit.Step("s", 5, ("python", "-c", text), figures=True), 20, known(True), io.BytesIO())
    assert outcome.status == "failed"
    assert outcome.figures == [{"what": 1}]


@pytest.mark.release
def test_the_record(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU: run make gpu")

    def run(*only):
        return subprocess.run(
            [sys.executable, FOLDER / "gpu_kit.py", "--output", tmp_path, "--commit", "abc", "--only", *only],
            capture_output=True,
            text=True,
            timeout=200,
        )

    assert run("kernels").returncode == 0
    done = run("train", "bytes")
    assert done.returncode == 0, done.stdout
    (file,) = tmp_path.glob("*-no-gpu.json")
    record = json.loads(file.read_text())
    assert record["commit"] == "abc"
    assert record["packages"]["torch"]
    assert [(step["step"], step["status"]) for step in record["steps"]] == [
        ("bytes", "no GPU"),
        ("kernels", "no GPU"),
        ("train", "no GPU"),
    ]
    table = file.with_suffix(".md").read_text()
    assert "| kernels | no GPU |" in table
    assert "##### bytes" in file.with_suffix(".log").read_text()


@pytest.mark.release
def test_steps_fit_their_time_and_select_tests():
    names = [step.name for step in kit.STEPS]
    assert names[:2] == ["build", "bytes"]
    assert len(set(names)) == len(names)
    assert kit.BUDGET <= 360
    narrow = next(step for step in kit.STEPS if step.name == "racecheck").command[1:]
    done = subprocess.run(
        [sys.executable, *narrow, "--collect-only"],
        capture_output=True,
        text=True,
        cwd=FOLDER.parent,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
