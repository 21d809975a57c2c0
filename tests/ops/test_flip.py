"""Flips: torchvision's pixels, decoded on the CPU and by the GPU's graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

import fastaug as fa

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 12, 9, 3), np.uint8)


@pytest.mark.parametrize("flip", [fa.RandomHorizontalFlip, fa.RandomVerticalFlip])
@pytest.mark.parametrize("executor", ["native", "kornia"])
def test_a_flip_is_torchvisions(flip, executor):
    if executor == "kornia":
        pytest.importorskip("kornia")
    images = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    want = getattr(v2, flip.__name__)(1.0)(images)
    with fa.loader(
        (IMAGES, [0] * 40), 40, augment=[flip(1.0)], dtype=torch.uint8, executor=executor
    ) as loader:
        assert torch.equal(next(iter(loader))[0], want)


def test_flips_are_drawn_apart_and_said():
    augment = [fa.RandomHorizontalFlip(), fa.RandomVerticalFlip()]
    with fa.loader(
        (IMAGES, [0] * 40), 40, augment=augment, dtype=torch.uint8, with_plan=True, seed=1
    ) as loader:
        images, _, plan = next(iter(loader))
        assert torch.equal(loader.replay(plan)[0], images)
    both = {(int(x), int(y)) for x, y in zip(plan["flip"], plan["flip_y"], strict=True)}
    assert both == {(0, 0), (0, 1), (1, 0), (1, 1)}
    for image, own, row in zip(images, IMAGES, plan.rows, strict=True):
        turned = [axis for axis, column in enumerate(("flip_y", "flip")) if row[column]]
        assert (image.permute(1, 2, 0).numpy() == np.flip(own, turned)).all()
    for word in ("horizontal", "vertical", "horizontal; vertical"):
        assert any(word == part for line in str(plan).splitlines() for part in line.split("  "))


def test_the_gpus_graph_flips_up_and_down(photos):
    """Its twin on the CPU: a region whose first line is below its last."""
    from fastaug.data.opening import open_source

    from ..decode.test_graphs import decoded, sized_plan, with_flip

    source = open_source(photos)
    plan = sized_plan(source, 4)
    straight = decoded(source, with_flip(plan, 0), np.arange(4))[0].pixels().int()
    turned = decoded(source, with_flip(plan, 1), np.arange(4))[0].pixels().int()
    assert (turned.flip(1) - straight).abs().max() <= 1
    assert not torch.equal(turned, straight)


def test_torchvisions_is_translated():
    said = fa.from_torchvision(v2.Compose([v2.RandomResizedCrop(8), v2.RandomVerticalFlip(0.3)]))
    assert said.augment[1] == fa.RandomVerticalFlip(0.3)
    with pytest.raises(ValueError, match="RandomVerticalFlip already"):
        fa.from_torchvision(v2.Compose([v2.RandomVerticalFlip(), v2.RandomVerticalFlip()]))
    with pytest.raises(ValueError, match="RandomVerticalFlip twice"):
        fa.loader((IMAGES, [0] * 40), augment=[fa.RandomVerticalFlip(), fa.RandomVerticalFlip()])
