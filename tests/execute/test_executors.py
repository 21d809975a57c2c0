from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest
import torch
from measure import crops_of

import fastaug as fa
from fastaug.execute.kornia import KorniaExecutor
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import Output
from fastaug.ops.normalize import IMAGENET_MEAN, IMAGENET_STD

from .. import reference
from ..conftest import draw_plan
from ..mask_cases import MIXES, masks

SIZES = [(1, 1), (3, 5), (17, 16), (33, 47)]
CPU = torch.device("cpu")


def both(output, threads=2):
    return NativeExecutor(output, threads), KorniaExecutor(output, CPU)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("mask", masks((9, 9)))
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_against_the_slow_reference(size, mask, mix):
    n = 5
    seed = crc32(f"{size}{mask}{mix}".encode())
    plan = draw_plan([fa.Resize(size), *masks(size)[mask], *MIXES[mix]], n, seed)
    crops = crops_of(n, size)
    want = torch.from_numpy(reference.batch(plan, crops.numpy(), IMAGENET_MEAN, IMAGENET_STD))
    for executor in both(Output(torch.float32, False, fa.Normalize())):
        got = executor.run(plan, crops)
        assert got.shape == (n, 3, *size)
        assert (got.double() - want).abs().max() <= 2e-6, executor.name


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_executors_agree_on_every_format(dtype, channels_last):
    size = (64, 80)
    for seed in range(6):
        plan = draw_plan([fa.Resize(size), *masks(size)["all"], *MIXES["either"]], 16, seed=seed)
        crops = crops_of(16, size, seed)
        native, kornia = both(Output(dtype, channels_last, fa.Normalize()))
        a, b = native.run(plan, crops), kornia.run(plan, crops)
        assert a.dtype == b.dtype == dtype
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert a.is_contiguous(memory_format=layout)
        difference = (a.float() - b.float()).abs()
        if dtype == torch.float32:
            assert difference.max() <= 2e-6
        else:  # one step of rounding, of numbers that may differ as much as float32 ones do
            step = torch.finfo(dtype).eps * torch.maximum(a.float().abs(), b.float().abs())
            assert (difference <= step + 2e-6).all()
            exact = NativeExecutor(Output(torch.float32, channels_last, fa.Normalize()), 2).run(plan, crops)
            assert (a == exact.to(dtype)).all()  # rounding itself is torch's


def test_half_rounding_over_all_magnitudes():
    values = np.float32(2.0) ** np.linspace(-26, 17, 3 * 4096).astype(np.float32)
    fill = values.reshape(-1, 3)
    plan = draw_plan([fa.Resize((1, 1)), fa.Cutout(1, fill=0.0)], len(fill))
    plan.holes["y1"] = plan.holes["x1"] = 1
    plan.holes["y0"] = plan.holes["x0"] = 0
    plan.holes["fill"] = fill * np.where(np.arange(len(fill)) % 2, 1, -1)[:, None]
    crops = crops_of(len(fill), (1, 1))
    exact = NativeExecutor(Output(torch.float32, False, None), 1).run(plan, crops)
    for dtype in (torch.float16, torch.bfloat16):
        got = NativeExecutor(Output(dtype, False, None), 1).run(plan, crops)
        assert (got == exact.to(dtype)).all()


def test_uint8_gives_raw_pixels():
    plan = draw_plan([fa.Resize((8, 9)), fa.Cutout(4, fill=7.0), fa.CutMix(1.0)], 6)
    crops = crops_of(6, (8, 9))
    native, kornia = both(Output(torch.uint8, False, None))
    a = native.run(plan, crops)
    assert (a == kornia.run(plan, crops)).all()
    raw = draw_plan([fa.Resize((8, 9))], 6)
    assert (native.run(raw, crops).permute(0, 2, 3, 1) == crops).all()


def test_noise_in_raw_pixels_is_noise():
    """Not a black hole: the pixels that ImageNet's mean and deviation make of standard normal noise."""
    erasing = fa.RandomErasing(1.0, (0.5, 0.9), (0.9, 1.1), value="random")
    plan = draw_plan([fa.Resize((64, 64)), erasing], 4)
    native, kornia = both(Output(torch.uint8, False, None))
    a = native.run(plan, torch.zeros((4, 64, 64, 3), dtype=torch.uint8))
    assert (a == kornia.run(plan, torch.zeros((4, 64, 64, 3), dtype=torch.uint8))).all()
    for k in range(4):
        (hole,) = plan.sample(k).holes
        noise = a[k, :, hole["y0"] : hole["y1"], hole["x0"] : hole["x1"]].float()
        assert abs(noise.mean() - 114.5) < 3
        assert abs(noise.std() - 57) < 3


def test_threads_and_chunks_change_nothing():
    plan = draw_plan([fa.Resize((31, 29)), *masks((31, 29))["all"], fa.MixUp(1.0)], 33)
    crops = crops_of(33, (31, 29))
    one, many = (NativeExecutor(Output(torch.float32, False, fa.Normalize()), t) for t in (1, 5))
    assert torch.equal(one.run(plan, crops), many.run(plan, crops))


def test_noise_is_standard_normal():
    from scipy import stats

    erasing = fa.RandomErasing(1.0, (0.5, 0.9), (0.9, 1.1), value="random")
    plan = draw_plan([fa.Resize((128, 128)), erasing], 2)
    hole = plan.holes[0]
    images = NativeExecutor(Output(torch.float32, False, None), 1).run(plan, crops_of(2, (128, 128)))
    values = images[0, :, hole["y0"] : hole["y1"], hole["x0"] : hole["x1"]].flatten().numpy()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert abs(values.std() - 1) < 0.03
