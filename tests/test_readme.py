from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_in_the_readme_runs(photos, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    shutil.copytree(photos, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_the_commands_in_the_readme_run(photos, tmp_path, monkeypatch):
    lines = [line.removeprefix("$ ") for block in re.findall(r"```console\n(.*?)```", README, re.S)
             for line in block.splitlines() if line.startswith("$ fastaug ")]  # fmt: skip
    assert len(lines) >= 3
    shutil.copytree(photos, tmp_path / "photos")
    for line in lines:
        command = [sys.executable, "-m", "fastaug.cli", *line.split()[1:]]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)


def test_the_demo_draws_a_sheet_and_measures(tmp_path, capsys):
    from fastaug.demo import demo

    demo(str(tmp_path / "demo"), copies=4)
    assert (tmp_path / "demo" / "contact-sheet.png").stat().st_size > 100_000
    out = capsys.readouterr().out
    assert re.search(r"fastaug +\d+ images/s", out)
    assert re.search(r"torch DataLoader +\d+ images/s", out)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_photographs_come_with_scikit_image(photos, name):
    assert len(list((Path(photos) / name).glob("*.jpg"))) == 5
