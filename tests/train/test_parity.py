"""The parity benchmark, with fresh weights on a few photographs."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import torch

from fastaug.train.networks import make_network

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "parity.py"


def test_predictions_agree(photos, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    torch.save(make_network("timm:lcnet_035", 1000).state_dict(), tmp_path / "w.pt")
    flags = [photos, "--weights", str(tmp_path / "w.pt"), "--model", "timm:lcnet_035", "--size", "96"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *flags])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    images, differ = map(int, re.search(r"(\d+) images: (\d+) predictions", capsys.readouterr().out).groups())
    assert images >= 40
    assert differ <= 1
