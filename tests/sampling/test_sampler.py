from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fastaug.sampling.draws import Passes, permuted
from fastaug.sampling.epoch import Epoch, OwnOrder, Place


@pytest.mark.parametrize("n", [1, 2, 3, 5, 64, 65, 1000, 4097])
def test_an_epoch_is_a_permutation(n):
    for epoch in range(3):
        assert (np.sort(permuted(np.arange(n), n, 5, epoch)) == np.arange(n)).all()


@pytest.mark.release
def test_orders_are_uniform_and_differ_between_epochs():
    n = 7
    first = np.array([permuted(np.arange(n), n, seed, 0) for seed in range(4000)])
    for place in range(n):
        counts = np.bincount(first[:, place], minlength=n)
        assert stats.chisquare(counts).pvalue > 1e-4
    a, b = (permuted(np.arange(5000), 5000, 1, e) for e in (0, 1))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.05
    assert (a == b).mean() < 0.01


def tickets(order: OwnOrder, seed: int, place: Place) -> list:
    return [ticket for ticket, _ in Epoch(order, seed, place).tickets()]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 10, 97, 100])
def test_every_sample_once_over_any_number_of_ranks(n, world):
    orders = [OwnOrder(Passes(n, True, n), 4, False, rank, world) for rank in range(world)]
    parts = [tickets(order, 9, Place(3)) for order in orders]
    assert {len(p) for p in parts} == {len(orders[0])}
    for together in zip(*parts, strict=True):
        assert len({len(b.ids) for b in together}) == 1
    index = np.concatenate([b.ids[~b.repeat] for p in parts for b in p])
    assert (np.sort(index) == np.arange(n)).all()
    assert sum(int(b.repeat.sum()) for p in parts for b in p) < world


def test_ranks_together_are_the_one_rank_epoch():
    one = np.concatenate([b.ids for b in tickets(OwnOrder(Passes(60, True, 60), 12, False), 1, Place())])
    three = [tickets(OwnOrder(Passes(60, True, 60), 4, False, r, 3), 1, Place()) for r in range(3)]
    mixed = np.concatenate([np.stack([b.ids for b in t], 1).ravel() for t in zip(*three, strict=True)])
    assert (one == mixed).all()


def test_drop_last_and_resume():
    epoch = Epoch(OwnOrder(Passes(50, True, 50), 8, True), 2, Place(1))
    batches = list(epoch.tickets())
    assert len(batches) == len(epoch.order) == 6
    left = batches[2][1]
    assert left.place == Place(1, 24)
    rest = [ticket for ticket, _ in left.tickets()]
    assert [b.ids.tolist() for b in rest] == [b.ids.tolist() for b, _ in batches[3:]]
    assert [b.step for b in rest] == [3, 4, 5]
    assert epoch.place == Place(1), "reading an epoch changes nothing"
