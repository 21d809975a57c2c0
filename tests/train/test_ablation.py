"""The ablation benchmark in small: it goes on where it was, and its table holds what was measured."""

from __future__ import annotations

import json
import math
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ablation.py"


def ablation(monkeypatch, data: str, folder: Path) -> list[dict]:
    flags = [
        "--data",
        data,
        "--recipes",
        "standard",
        "cutout",
        "--seeds",
        "2",
        "--epochs",
        "1",
        "--batch-size",
        "16",
    ]
    command = [str(SCRIPT), *flags, "--work", str(folder / "work"), "-o", str(folder / "results")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert stop.value.code == 0
    return json.loads((folder / "results" / "ablation.json").read_text())


@pytest.mark.release
def test_a_small_table(data, tmp_path, monkeypatch, capsys):
    rows = ablation(monkeypatch, data, tmp_path)
    standard, cutout = rows
    found = {}
    for name in ("standard", "cutout"):
        for seed in (0, 1):
            last = (tmp_path / "work" / f"{name}-{seed}" / "metrics.jsonl").read_text().splitlines()[-1]
            found[name, seed] = 100 * json.loads(last)["test_accuracy"]
    gains = [found["cutout", seed] - found["standard", seed] for seed in (0, 1)]
    assert cutout["gain"] == pytest.approx(sum(gains) / 2)
    assert cutout["gain_error"] == pytest.approx(abs(gains[0] - gains[1]) / 2)
    assert standard["mean"] == pytest.approx((found["standard", 0] + found["standard", 1]) / 2)
    assert cutout["published"] == pytest.approx(0.7)
    assert not math.isnan(cutout["error"])
    assert "| cutout |" in (tmp_path / "results" / "ablation.md").read_text()
    assert (tmp_path / "results" / "ablation.png").stat().st_size > 5000
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").glob("*/last.pt")}
    assert len(stamps) == 4
    assert ablation(monkeypatch, data, tmp_path) == rows
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps  # nothing was trained again
