"""Lists of augmentations that follow the epoch, without a new loader."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastaug as fa

from ..call.sets import Photos

DATA = np.random.default_rng(0).integers(0, 256, (12, 40, 40, 3), np.uint8), np.arange(12) % 3
LIST = [
    fa.RandomResizedCrop(32),
    fa.RandAugment(2, 9),
    fa.Cutout(8, p=0.5),
    fa.OneOf([fa.MixUp(0.2), fa.CutMix(1.0)]),
    fa.Normalize(),
]


def test_parameters_go_from_first_to_last():
    made = fa.schedule(LIST, 9, size=(32, 64), magnitude=(1, 9), p=(0, 1), alpha=(0.5, 1.5), mixing_off=2)
    sizes = [made.at(e)[0].size[0] for e in range(9)]
    assert (sizes[0], sizes[-1]) == (32, 64)
    assert all(size % 16 == 0 for size in sizes)
    assert sizes == sorted(sizes)
    assert [made.at(e)[1].magnitude for e in range(9)] == list(range(1, 10))
    assert [made.at(e)[2].p for e in range(9)] == [e / 8 for e in range(9)]
    assert [member.alpha for member in made.at(4)[3].members] == [1.0, 1.0]
    assert [any(isinstance(op, fa.OneOf) for op in made.at(e)) for e in range(9)] == [True] * 7 + [False] * 2
    assert made.at(100) == made.at(8)


@pytest.mark.parametrize("data", [DATA, Photos(12, classes=["a", "b", "c", "d"])], ids=["arrays", "called"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_is_as_a_loader_of_its_list_gives_it(data, workers):
    made = fa.schedule(
        {0: LIST, 1: [fa.RandomResizedCrop(16), *LIST[1:]], 3: [fa.Resize((24, 24)), LIST[-1]]}
    )
    options = dict(seed=4, num_workers=workers, num_classes=4, label_smoothing=0.1)
    with fa.loader(data, 4, True, augment=made, with_plan=True, **options) as loader:
        assert "epoch 1   RandomResizedCrop(size=(16, 16)" in repr(loader)
        epochs = [list(loader) for _ in range(4)]
        for batches in epochs:
            images, _, plan = batches[1]
            assert torch.equal(loader.replay(plan)[0], images)
        state = loader.state_dict()
        plan = epochs[1][0][2]
        plan.rows["epoch"] = 0
        with pytest.raises(ValueError, match="the plan is for 16x16"):
            loader.replay(plan)
    for epoch, batches in enumerate(epochs):
        with fa.loader(data, 4, True, augment=list(made.at(epoch)), **options) as loader:
            loader.set_epoch(epoch)
            for ours, theirs in zip(batches, loader, strict=True):
                assert torch.equal(ours[0], theirs[0])
                assert torch.equal(ours[1], theirs[1])
    with fa.loader(data, 4, True, augment=made, **options) as loader:
        loader.load_state_dict(state)
        assert next(iter(loader))[0].shape[2:] == (24, 24)
    loader = fa.loader(data, 4, True, augment=LIST, **options)
    with loader, pytest.raises(ValueError, match=r"the state's augment is .epoch 0: "):
        loader.load_state_dict(state)


def test_wrong_schedules_are_named():
    for make, error, words in (
        (lambda: fa.schedule({}), ValueError, "begins with epoch 0"),
        (lambda: fa.schedule({1: []}), ValueError, "begins with epoch 0"),
        (lambda: fa.schedule({0: []}, 9), ValueError, "or a list with epochs"),
        (lambda: fa.schedule(LIST), ValueError, "needs epochs"),
        (lambda: fa.schedule(LIST, 9, size=3), TypeError, r"size must be \(first, last\)"),
        (lambda: fa.schedule(LIST[1:], 9, size=(32, 64)), ValueError, "size: nothing in the list follows it"),
        (lambda: fa.schedule(LIST, 9, p=(0, 2)), ValueError, "schedule p must be"),
        (lambda: fa.schedule(LIST, 9, mixing_off=10), ValueError, "mixing_off"),
        (
            lambda: fa.loader(DATA, augment=fa.schedule({0: LIST, 1: LIST[:-1]}), num_classes=3),
            ValueError,
            "list of epoch 1 ends with None",
        ),
    ):
        with pytest.raises(error, match=words):
            make()
