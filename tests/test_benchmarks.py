from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def run():
    spec = importlib.util.spec_from_file_location("benchmark_run", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(FOLDER))
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))


def rounds(*rates):
    return [{"rate": r, "cpu_ms": 1.5, "memory": 3 << 20, "images": 10} for r in rates]


def test_the_table_shows_losses_as_losses(run):
    lines = run.table(
        {
            "ours": {"title": "fastaug", "rounds": rounds(90, 100, 110)},
            "faster": {"title": "Faster", "rounds": rounds(200, 200, 200)},
            "ceiling": {"title": "decoding", "rounds": rounds(400, 400, 400)},
            "absent": {"unsupported": "is not installed", "title": "Absent", "rounds": []},
        }
    )
    assert lines[2].startswith("| decoding | 400 ")
    assert "| Faster | 200 | 200 – 200 | 0.50 x | 0.50 | 1.50 | 3 MiB |" in lines
    assert "| fastaug | 100 | 95 – 105 |  | 0.25 | 1.50 | 3 MiB |" in lines
    assert lines[-1] == "| Absent | – | is not installed | | | | |"


@pytest.mark.release
def test_a_run_from_end_to_end(photos, tmp_path):
    command = [
        sys.executable,
        FOLDER / "run.py",
        "--data",
        photos,
        "--peers",
        "ours",
        "ceiling",
        "spdl_loader",
        "--workloads",
        "mixed",
        "--rounds",
        "1",
        "--seconds",
        "0",
        "--images",
        "20",
        "--batch",
        "8",
        "-o",
        tmp_path / "out",
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout
    assert "| fastaug | " in printed
    assert "no such augmentation" in printed
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["environment"]["data"]["images"] >= 20
    assert record["environment"]["packages"]["torch"]
    assert record["workloads"]["mixed"]["ours"]["rounds"][0]["rate"] > 0
    assert (tmp_path / "out" / "results.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "out" / "results.md").exists()


def test_no_gpu_is_not_pretended(photos):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, FOLDER / "run.py", "--device", "cuda"], capture_output=True, text=True
    )
    assert done.returncode
    assert "torch sees no GPU; nothing was measured" in done.stderr
