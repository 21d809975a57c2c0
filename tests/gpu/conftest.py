from __future__ import annotations

import pytest
import torch

from fastaug.device import make_device


@pytest.fixture(autouse=True)
def gpu() -> str:
    """Skips where torch has no GPU."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU that torch can use")
    return "cuda"


@pytest.fixture(params=range(max(1, torch.cuda.device_count())), ids="cuda:{}".format)
def device(gpu, request):
    """Each GPU in turn."""
    return make_device(f"cuda:{request.param}")
