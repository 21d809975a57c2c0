from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("jsonargparse")

COMMAND = [sys.executable, "-m", "fastaug.train"]
FLAGS = [
    "--model",
    "ResNet8",
    "--size",
    "32",
    "--epochs",
    "3",
    "--batch-size",
    "8",
    "--lr",
    "0.05",
    "--device",
    "cpu",
    "--workers",
    "2",
    "--recipe",
    "cutmix",
    "--ema",
    "0.9",
    "--save-steps",
    "1",
    "--keep-every",
    "1",
]
COLOURS = {"green": (30, 200, 40), "red": (200, 40, 30), "sky": (40, 90, 220)}


def make_data(root: Path, train: int = 16, test: int = 5, test_name: str = "val") -> Path:
    """Noisy squares of three colours: easily learnt, 40 pixels wide."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), (test_name, test)):
        for name, colour in COLOURS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = np.array(colour) + random.normal(0, 60, (40, 40, 3))
                Image.fromarray(pixels.clip(0, 255).astype("u1")).save(folder / f"{k:02}.jpg", quality=90)
    return root


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_data(tmp_path_factory.mktemp("squares")))


@pytest.fixture(scope="session")
def whole(data, tmp_path_factory) -> Path:
    """The run that is never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    command = [*COMMAND, data, *FLAGS, "--output", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as _one_thread does, which may come later
    subprocess.run(command, check=True, timeout=200, capture_output=True, env=environment)
    return folder


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks are faster so; processes that the tests start do as this one does, to the bit."""
    threads, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    torch.set_num_threads(threads)
    os.environ.pop("OMP_NUM_THREADS")
    if variable is not None:
        os.environ["OMP_NUM_THREADS"] = variable
