"""What training loops and trainers do with a loader besides iterating over it."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, SequentialSampler
from torchvision.datasets import ImageFolder

import fastaug as fa

AUGMENT = [fa.RandomResizedCrop(16)]


def make(photos, **options):
    given = dict(batch_size=8, augment=AUGMENT, with_plan=True, device="cpu", seed=0)
    return fa.loader(photos, **given | options)


def visited(loader):
    return [plan["index"].tolist() for _, _, plan in loader]


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(shuffle=True),
        dict(shuffle=True, drop_last=True),
        dict(rank=1, world_size=3, shuffle=True),
        dict(rank=1, world_size=3, drop_last=True, batch_size=5),
        dict(sampler=[3, 1, 2] * 5),
        dict(sampler=[3, 1, 2] * 5, drop_last=True),
        dict(batch_size=1, batch_sampler=[[1, 2], [3], [4, 5, 6]]),
        dict(sampler=RandomSampler(range(30))),
        dict(sampler=RandomSampler(range(30), True, generator=torch.Generator())),
        dict(batch_size=1, batch_sampler=BatchSampler(RandomSampler(range(30)), 4, True)),
    ],
)
def test_sampler_and_batch_sampler_say_what_the_next_epoch_visits(photos, options):
    with make(photos, **options) as loader:
        for epoch in (4, 5):
            loader.set_epoch(epoch)
            batches, numbers = list(loader.batch_sampler), list(loader.sampler)
            assert len(loader.batch_sampler) == len(loader) == len(batches)
            assert len(loader.sampler) == len(numbers)
            assert visited(loader) == batches
            assert list(chain(*batches)) == numbers
    assert loader.batch_sampler.sampler.set_epoch == loader.set_epoch
    assert loader.batch_sampler.batch_size == (loader.batch_size or 1)
    assert loader.batch_sampler.drop_last == loader.drop_last


def test_torchs_class_tells_an_evaluation(photos):
    others = dict(shuffle=True), dict(rank=0, world_size=2), dict(sampler=[1, 2])
    for options, ascending in ((dict(), True), *((other, False) for other in others)):
        with make(photos, **options) as loader:
            assert isinstance(loader.sampler, SequentialSampler) == ascending
            assert not isinstance(loader.sampler, (RandomSampler, DistributedSampler))
            assert not isinstance(loader.batch_sampler, BatchSampler)


def test_the_samplers_set_epoch_is_the_loaders(photos):
    with make(photos, shuffle=True) as loader:
        for epoch in (5, 5, 2):
            loader.sampler.set_epoch(epoch)
            assert [plan.epoch for _, _, plan in loader] == [epoch] * len(loader)


def test_an_epoch_starts_with_its_first_batch(photos):
    with make(photos, shuffle=True) as loader:
        for _ in range(3):
            iter(loader)  # some trainers only try whether that works
        assert next(iter(loader))[2].epoch == 0
        batches = iter(loader)
        loader.set_epoch(6)  # Lightning calls it after iter()
        assert loader.state_dict()["epoch"] == 6
        assert next(batches)[2].epoch == 6
        state = loader.state_dict()
        batches = iter(loader)
        assert loader.state_dict()["epoch"] == 7
        loader.load_state_dict(state)
        loader.set_epoch(6)
        assert [plan.step for _, _, plan in batches] == list(range(1, len(loader)))
        assert next(iter(loader))[2].epoch == 7


def together(monkeypatch, rank, world_size):
    """As after torch.distributed.init_process_group."""
    for name, value in dict(is_initialized=True, get_rank=rank, get_world_size=world_size).items():
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)


def test_ranks_that_are_known_after_the_loader_was_made(photos, monkeypatch):
    """A trainer may start torch.distributed after it was given the loader: no rank may visit all samples."""
    n = len(ImageFolder(photos))
    with make(photos, shuffle=True) as loader, make(photos, rank=0, world_size=1) as whole:
        assert len(loader) == -(-n // 8)
        seen = []
        for rank in range(2):
            together(monkeypatch, rank, 2)
            loader.set_epoch(1)
            assert len(loader) == -(-n // 16)
            seen += chain(*visited(loader))
        assert sorted(set(seen)) == list(range(n))
        assert len(seen) - n == n % 2
        monkeypatch.undo()  # the group is gone: the loader stays what it was
        assert len(loader) == -(-n // 16)
        together(monkeypatch, 1, 2)
        assert sum(map(len, visited(whole))) == n  # given ranks hold
