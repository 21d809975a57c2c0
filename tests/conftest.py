from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fastaug.plan.batch_plan import BatchPlan
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket
from fastaug.tools.demo import make_photos


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    old = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("XDG_CACHE_HOME")
    if old:
        os.environ["XDG_CACHE_HOME"] = old


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of real photographs in ImageFolder layout, about 40 of them."""
    pytest.importorskip("nvidia.dali", reason="photographs are decoded by DALI")
    pytest.importorskip("skimage", reason="the photographs are scikit-image's")
    return str(make_photos(tmp_path_factory.mktemp("photos"), copies=5))


def draw_plan(
    augment, n: int, seed: int = 0, epoch: int = 0, step: int = 0, size=(375, 500), first: int = 0
) -> BatchPlan:
    """A plan for n images of one size."""
    ticket = Ticket.of(np.arange(first, first + n), seed=seed, epoch=epoch, step=step)
    return Planner(augment, size).plan(ticket, *(np.full(n, side) for side in size))


def write_corrupt(folder: Path, name: str = "broken.jpg") -> Path:
    """A JPEG with a good header and nothing behind it."""
    source = sorted(Path(folder).glob("*/*.jpg"))[0]
    data = source.read_bytes()
    start = data.index(b"\xff\xda")
    target = source.parent / name
    target.write_bytes(data[: start + 4])
    return target
