"""Several processes under torchrun, on gloo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
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


def launch(processes: int, *flags: str) -> subprocess.CompletedProcess[str]:
    """A run with so many ranks; one is a plain process."""
    module = ["-m", "fastaug.train", *flags]
    command = (
        [*TORCHRUN, "--nproc-per-node", str(processes), *module]
        if processes > 1
        else [sys.executable, *module]
    )
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


@pytest.mark.parametrize("ranks", [2, 3])
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


def test_wrong_input_is_refused_by_all(uneven, tmp_path):
    done = launch(2, uneven, *FLAGS, "--batch-size", "40", "--output", str(tmp_path / "run"))
    assert done.returncode != 0
    assert "at most 25" in done.stderr
