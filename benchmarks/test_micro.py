"""Micro-benchmarks of fastaug's stages beside what stands for them elsewhere.

Run: pytest benchmarks/test_micro.py --benchmark-group-by=group. They compare and gate nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import fastaug as fa
from fastaug.data.source import Kind, Pixels
from fastaug.decode.canvas import Canvas
from fastaug.decode.jobs import jobs_of
from fastaug.decode.scale import PixelDecoder, Scaler
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import Output
from fastaug.machine.device import PlainDevice, Pool
from fastaug.plan.planner import Planner
from fastaug.sampling.draws import permuted
from fastaug.sampling.epoch import Ticket
from fastaug.sampling.philox import Keys, Stream

pytest.importorskip("pytest_benchmark")
N, SIZE = 64, (375, 500)
FULL = [
    fa.RandomResizedCrop(224),
    fa.RandomHorizontalFlip(),
    fa.GridMask(p=0.5),
    fa.Cutout(56),
    fa.OneOf([fa.MixUp(0.2), fa.CutMix(1.0)]),
    fa.Normalize(),
]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw(augment, step=0):
    """A plan of N images."""
    height, width = (np.full(N, side) for side in SIZE)
    return Planner(augment).plan(Ticket.of(np.arange(N), epoch=1, step=step), height, width)


@pytest.mark.benchmark(group="100,000 uniforms")
@pytest.mark.parametrize("who", ["fastaug", "numpy"])
def test_uniforms(benchmark, who):
    keys = Keys(0, np.arange(25_000, dtype=np.uint32))
    generator = np.random.Generator(np.random.Philox(0))
    benchmark(
        (lambda: keys.uniforms(Stream.CROP, 4)) if who == "fastaug" else (lambda: generator.random(100_000))
    )


@pytest.mark.benchmark(group="order of 1,000,000 samples")
@pytest.mark.parametrize("who", ["fastaug", "numpy"])
def test_order(benchmark, who):
    n = 1_000_000
    generator = np.random.default_rng(0)
    benchmark(
        (lambda: permuted(np.arange(n), n, 0, 0)) if who == "fastaug" else (lambda: generator.permutation(n))
    )


@pytest.mark.benchmark(group="plan of 64 samples")
@pytest.mark.parametrize("augment", [FULL[:2], FULL], ids=["crop and flip", "masks and mixing"])
def test_plan(benchmark, augment):
    benchmark(draw, augment)


@pytest.mark.benchmark(group="crop and scale to 224, 64 images, one core")
@pytest.mark.parametrize("who", ["fastaug", "torch uint8", "Pillow"])
def test_resample(benchmark, who):
    plan = draw(FULL[:1])
    image = np.asarray(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)).resize(SIZE[::-1])
    )
    boxes = [tuple(int(row[c]) for c in ("y0", "x0", "h", "w")) for row in plan.rows]
    if who == "fastaug":
        kinds = np.full(N, Kind.PIXELS, np.uint8)
        jobs = jobs_of(plan, np.arange(N), [Pixels(image)] * N, kinds)
        canvas = Canvas(PlainDevice(torch.device("cpu")), Pool(), N, [(224, 224)])
        benchmark(PixelDecoder(Scaler(1)).run, jobs, canvas, lambda: False)
    elif who == "Pillow":
        parts = [Image.fromarray(image[y : y + h, x : x + w]) for y, x, h, w in boxes]
        benchmark(lambda: [p.resize((224, 224), Image.Resampling.BILINEAR) for p in parts])
    else:
        whole = torch.from_numpy(image.copy()).permute(2, 0, 1)
        parts = [whole[None, :, y : y + h, x : x + w] for y, x, h, w in boxes]
        benchmark(
            lambda: [
                torch.nn.functional.interpolate(p, size=(224, 224), mode="bilinear", antialias=True)
                for p in parts
            ]
        )


@pytest.mark.benchmark(group="batch kernel, 64 images of 224 x 224, one core")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8], ids=str)
@pytest.mark.parametrize("middle", [[], FULL[2:4], FULL[2:5]], ids=["normalise", "masks", "masks and mixing"])
def test_batch_kernel(benchmark, middle, dtype):
    floats = dtype != torch.uint8
    augment = [FULL[0], *(middle if floats else middle[:2])]
    plan = draw(augment)
    crops = torch.randint(0, 256, (N, 224, 224, 3), dtype=torch.uint8)
    benchmark(NativeExecutor(Output(dtype, False, fa.Normalize() if floats else None), 1).run, plan, crops)


@pytest.mark.benchmark(group="soft targets of 64 samples, 1,000 classes")
@pytest.mark.parametrize("who", ["fastaug", "torch"])
def test_targets(benchmark, who):
    plan = draw(FULL)
    labels, lam = torch.zeros(N, dtype=torch.long), torch.from_numpy(plan["lam"].copy())[:, None]
    partner = torch.from_numpy(plan["partner"].astype(np.int64))

    def with_torch():
        onehot = torch.nn.functional.one_hot(labels, 1000).float() * 0.9 + 0.1 / 1000
        return lam * onehot + (1 - lam) * onehot[partner]

    benchmark((lambda: plan.soft_targets(labels.numpy(), 1000, 0.1)) if who == "fastaug" else with_torch)
