from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

ROOT = Path(__file__).parent.parent
PAGES = "README.md", "docs/decoding.md", "docs/datasets.md", "docs/views.md"
README = "\n".join((ROOT / name).read_text() for name in PAGES)


def test_the_python_in_the_readme_runs(photos, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    shutil.copytree(photos, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def commands(*names: str) -> list[list[str]]:
    """The arguments of the console's lines that begin with one of the names."""
    lines = [
        line.removeprefix("$ ")
        for block in re.findall(r"```console\n(.*?)```", README, re.S)
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    return [line.split() for line in lines if line.startswith(names)]


def test_the_commands_in_the_readme_run(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    found = [command for command in commands("fastaug ") if command[1] not in ("train", "advise")]
    assert len(found) >= 3
    for command in found:
        _run([sys.executable, "-m", "fastaug.tools.cli", *command[1:]], tmp_path)


def test_the_commands_for_contributors_exist():
    """Those in blocks, those in the text, and the files that the text names."""
    text = (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / "docs" / "architecture.md").read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    found = re.findall(r"(?:\$ |`)make ([a-z-]+)", text)
    assert found
    assert set(found) <= set(targets)
    for line in re.findall(r"^\$ \.venv/bin/python (.*)$", text, re.M):
        _run([sys.executable, *line.split()], ROOT)
    modules = re.findall(r"`python -m ([\w.]+)`", text)
    assert modules == ["fastaug.plan.header", "fastaug.plan.header"]  # tests/plan/test_header.py runs it
    paths = re.findall(r"`((?:fastaug|kernels|tests|benchmarks|docs)/[\w./]*)`", text)
    assert len(paths) > 20
    missing = [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]
    assert missing == []


def test_the_make_targets_in_the_readme_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    found = {command[1] for command in commands("make ")}
    assert {"demo", "test", "gpu"} <= found <= set(targets)


@pytest.mark.release
def test_the_training_commands_in_the_readme_run_in_small(photos, tmp_path):
    """With data sets of a few photographs under the README's names, one epoch, small images."""
    small = ["--size", "32", "--batch-size", "4", "--device", "cpu"]
    for name in ("imagenet", "clothing"):
        for split in ("train", "val"):
            for kind in ("coffee", "rocket"):
                shutil.copytree(Path(photos) / kind, tmp_path / name / split / kind)
    weights = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save({f"_{key}": value for key, value in weights.items()}, tmp_path / "weights.pth")
    found = commands("fastaug train", "fastaug advise", "torchrun")
    assert len(found) == 5
    for command in found:
        if command[0] == "torchrun":
            front = [sys.executable, "-m", "torch.distributed.run"]
        else:
            front = [sys.executable, "-m", "fastaug.tools.cli"]
        back = [] if "advise" in command else small
        if "--epochs" in command:
            back = [*back, "--epochs", "1"]
        if "--pretrained" in command:
            back = [*back, "--output", "tuned"]
        arguments = ["weights.pth" if part == "$weights" else part for part in command[1:]]
        _run([*front, *arguments, *back], tmp_path)
    assert (tmp_path / "tuned" / "last.pt").exists()


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr


def test_the_demo_draws_a_sheet_and_measures(tmp_path, capsys):
    from fastaug.tools.demo import demo

    demo(str(tmp_path / "demo"), copies=4)
    assert (tmp_path / "demo" / "contact-sheet.png").stat().st_size > 100_000
    out = capsys.readouterr().out
    assert re.search(r"fastaug +\d+ images/s", out)
    assert re.search(r"torch DataLoader +\d+ images/s", out)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_photographs_come_with_scikit_image(photos, name):
    assert len(list((Path(photos) / name).glob("*.jpg"))) == 5
