"""Several processes under torchrun, on gloo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from .conftest import make_data
from .test_run import same, weights

TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--nnodes",
    "1",
    "--rdzv-backend",
    "c10d",
    "--rdzv-endpoint",
    "localhost:0",
]
FLAGS = [
    "--model",
    "timm:convnext_atto",
    "--size",
    "32",
    "--epochs",
    "2",
    "--lr",
    "0.01",
    "--device",
    "cpu",
    "--workers",
    "1",
]


def launch(
    processes: int, *flags: str, program: Sequence[str] = ("-m", "fastaug.train")
) -> subprocess.CompletedProcess[str]:
    """A run with so many ranks; one is a plain process."""
    front = [*TORCHRUN, "--nproc-per-node", str(processes)] if processes > 1 else [sys.executable]
    command = [*front, *program, *flags]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory) -> str:
    """3 x 17 images to train on and 3 x 5 to test: neither is a multiple of any step."""
    return str(make_data(tmp_path_factory.mktemp("uneven"), train=17, test=5))


@pytest.fixture(scope="module")
def alone(uneven, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = launch(1, uneven, *FLAGS, "--batch-size", "12", "--output", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.release)])
@pytest.mark.release
def test_ranks_follow_one_process_with_the_whole_batch(uneven, alone, tmp_path, ranks):
    """Without batch statistics and mixing, the same samples in each step: the same but for rounding."""
    folder = tmp_path / "run"
    done = launch(ranks, uneven, *FLAGS, "--batch-size", str(12 // ranks), "--output", str(folder))
    assert done.returncode == 0, done.stderr
    for one, several in zip(records(alone), records(folder), strict=True):
        assert several["steps"] == one["steps"]
        assert several["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
        assert several["test_loss"] == pytest.approx(one["test_loss"], rel=1e-3)
        assert several["test_images"] == one["test_images"] == 15  # padding does not count
        assert several["train_images"] == one["train_images"]
    first, second = weights(alone), weights(folder)
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-2, atol=2e-4, msg=key)
    assert done.stdout.count("million parameters") == 1  # rank 0 speaks for all


@pytest.mark.release
def test_a_run_of_two_ranks_goes_on_the_same_from_its_checkpoint(uneven, tmp_path):
    flags = [*FLAGS, "--model", "ResNet8", "--batch-size", "4", "--recipe", "cutmix", "--keep-every", "1"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = launch(2, uneven, *flags, "--output", str(whole))
    assert done.returncode == 0, done.stderr
    parts.mkdir()
    shutil.copy(whole / "config.yaml", parts)
    shutil.copy(whole / "epoch-1.pt", parts / "last.pt")
    done = launch(2, "--resume", str(parts))
    assert done.returncode == 0, done.stderr
    assert "goes on at epoch 1" in done.stdout
    assert same(weights(whole), weights(parts))


@pytest.mark.release
def test_one_ranks_failure_ends_all_with_its_reason(uneven, tmp_path):
    """A file that only one rank meets is damaged after the scan."""
    folder = shutil.copytree(uneven, tmp_path / "damaged")
    broken = sorted((folder / "train" / "red").glob("*.jpg"))[3]
    content = broken.read_bytes()
    broken.write_bytes(content[: content.index(b"\xff\xda") + 4])
    done = launch(2, str(folder), *FLAGS, "--batch-size", "4", "--output", str(tmp_path / "run"))
    assert done.returncode != 0
    assert str(broken) in done.stderr
    assert "DecodeError" in done.stderr  # torchrun's summary of the first failure


@pytest.mark.release
def test_what_is_not_finite_on_one_rank_stops_all_and_is_not_saved(uneven, tmp_path):
    """Batch statistics of rank 1, which no other rank has and rank 0 does not save."""
    script = tmp_path / "spoilt.py"
    script.write_text(
        "import sys\n"
        "from fastaug.train import loop\n"
        "from fastaug.train.__main__ import main\n"
        "update = loop.Run._update\n"
        "def spoil(run):\n"
        "    update(run)\n"
        "    if run.group.rank == 1 and run.step == run.steps + 2:\n"
        "        next(run.network.buffers()).fill_(float('inf'))\n"
        "loop.Run._update = spoil\n"
        "sys.exit(main())\n"
    )
    folder = tmp_path / "run"
    flags = [*FLAGS, "--model", "ResNet8", "--batch-size", "12", "--output", str(folder)]
    done = launch(2, uneven, *flags, program=[str(script)])
    assert done.returncode != 0
    assert "(rank 1): not finite at epoch 1, step 4: network 1.running_mean; nothing is saved" in done.stderr
    assert "(rank 0): another rank's weights are not finite at epoch 1, step 4" in done.stderr
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 2
    assert len(records(folder)) == 1


@pytest.mark.release
def test_wrong_input_is_refused_by_all(uneven, tmp_path):
    done = launch(2, uneven, *FLAGS, "--batch-size", "40", "--output", str(tmp_path / "run"))
    assert done.returncode != 0
    assert "at most 25" in done.stderr
