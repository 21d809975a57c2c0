"""Decoding beside other decoders, on the CPU too, and the whole loader on a GPU: with DALI."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fastaug as fa

ROOT = Path(__file__).parent.parent.parent
AUGMENT = [
    fa.RandomResizedCrop(96),
    fa.RandomHorizontalFlip(),
    fa.GridMask((20, 40)),
    fa.CutMix(1.0),
    fa.Normalize(),
]


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def decode(place, request) -> str:
    """Where is decoded."""
    pytest.importorskip("nvidia.dali", reason="DALI is not installed")
    if request.param == "gpu" and place.target.type != "cuda":
        pytest.skip("no GPU that torch can use")
    return request.param


@pytest.fixture(scope="module")
def found(place, decode) -> dict:
    """What decoding.py found in a process of its own: a decoder that crashes must not end the tests."""
    command = [sys.executable, "-m", "tests.gpu.decoding", decode, str(place.target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=80)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        pytest.fail(f"its process ended with {done.returncode}: {last[:150]}", pytrace=False)
    return json.loads(done.stdout.splitlines()[-1])


def test_decoded_pixels(decode, found, record):
    beside, limit = ("Pillow", 0.3) if decode == "cpu" else ("the CPU", 2.0)
    words = f"mean {found['mean']:.2f}, most {found['most']} of 255 inside the border"
    record(f"decoding, {decode}: against {beside}", words, found["rate"])
    assert found["mean"] < limit


def test_decoding_goes_on_after_a_bad_file(decode, found, record):
    names = ", ".join(Path(name).name for name in found["named"]) or "nothing"
    words = f"named {names}; {found['delivered']} of {found['good']} delivered"
    record(f"decoding, {decode}: goes on after a bad file", words)
    assert found["named"] == [found["bad"]]
    assert found["delivered"] == found["good"]


def test_cpu_decoding_gives_the_cpus_bits(gpu, photos):
    common = dict(batch_size=8, shuffle=True, augment=AUGMENT, seed=2)
    with (
        fa.loader(photos, device=gpu.target, decode="cpu", **common) as on_gpu,
        fa.loader(photos, device="cpu", **common) as on_cpu,
    ):
        for (a, s), (b, t) in zip(on_gpu, on_cpu, strict=True):
            assert torch.equal(a.cpu(), b)
            assert torch.equal(s.cpu(), t)


def test_batches_stay_right_while_others_are_prefetched(gpu, photos):
    """Every batch is read late, after the next ones were decoded into memory of their own."""
    with fa.loader(
        photos,
        8,
        True,
        augment=AUGMENT,
        device=gpu.target,
        decode="gpu",
        with_plan=True,
        prefetch_factor=4,
    ) as loader:
        kept = list(loader)
        for images, targets, plan in kept:
            again, again_targets, _ = loader.replay(plan)
            assert torch.equal(images, again)
            assert torch.equal(targets, again_targets)
