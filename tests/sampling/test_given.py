"""A user's own samplers: what they give, and that a resumed epoch of theirs equals an uninterrupted one."""

from __future__ import annotations

import json
import random
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

import fastaug as fa
from fastaug.sampling.epoch import Epoch, Place
from fastaug.sampling.given import Given, GivenOrder

N = 23
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), np.uint8)
ARRAYS = (PIXELS, list(range(N)))
WEIGHTS = torch.linspace(0.1, 1, N)


class Custom(Sampler):
    """An order from a function, with what it may hold."""

    def __init__(self, order, **held):
        self.order = order
        self.__dict__ |= held

    def __iter__(self):
        return iter(self.order(self))

    def __len__(self):
        return N


class Counting(Custom):
    """Seeds itself by how often it was run."""

    runs = 0

    def __iter__(self):
        self.runs += 1
        return iter(np.random.RandomState(self.runs).permutation(N))


def shuffled(_):
    order = list(range(N))
    random.shuffle(order)
    return order


def hidden():
    """Random numbers of a generator that nobody can find."""
    rng = np.random.default_rng()
    return Custom(lambda _: rng.permutation(N))


def lazily(_):
    for _ in range(N):
        yield int(torch.randint(N, ())) if random.random() < 0.5 else np.random.randint(N)


def g():
    return torch.Generator().manual_seed(5)


def distributed():
    return DistributedSampler(range(N), 2, 1, seed=3)


EXACT = {
    "random": lambda: RandomSampler(range(N)),
    "random, generator": lambda: RandomSampler(range(N), generator=g()),
    "replacement": lambda: RandomSampler(range(N), replacement=True, num_samples=70),
    "replacement, generator": lambda: RandomSampler(range(N), True, 70, generator=g()),
    "num_samples": lambda: RandomSampler(range(N), num_samples=N + 7, generator=g()),
    "subset": lambda: SubsetRandomSampler(range(3, 19)),
    "subset, generator": lambda: SubsetRandomSampler(range(3, 19), generator=g()),
    "weighted": lambda: WeightedRandomSampler(WEIGHTS, 18),
    "weighted, generator": lambda: WeightedRandomSampler(WEIGHTS, 18, replacement=False, generator=g()),
    "batches": lambda: BatchSampler(RandomSampler(range(N)), 4, False),
    "batches, generator": lambda: BatchSampler(WeightedRandomSampler(WEIGHTS, 18, generator=g()), 4, True),
    "distributed": distributed,
    "batches, distributed": lambda: BatchSampler(distributed(), 3, False),
    "random.shuffle": lambda: Custom(shuffled),
    "numpy": lambda: Custom(lambda _: np.random.permutation(N)),
    "global numbers, one by one": lambda: Custom(lazily),
    "random.Random": lambda: Custom(lambda s: s.rng.sample(range(N), N), rng=random.Random(5)),
    "numpy, generator": lambda: Custom(lambda s: s.rng.permutation(N), rng=np.random.default_rng(5)),
    "numpy, RandomState": lambda: Custom(lambda s: s.rng.permutation(N), rng=np.random.RandomState(5)),
    "two generators": lambda: Custom(
        lambda s: torch.randperm(N, generator=(s.a, s.b)[random.random() < 0.5]),
        a=g(),
        b=torch.Generator().manual_seed(6),
    ),
    "list": lambda: [*range(5, N), *range(9)],
    "array": lambda: np.arange(N)[::-1],
}
REFUSED = {"hidden": hidden, "counting": lambda: Counting(None)}


def seed_all(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def noise():
    """What a training loop draws meanwhile."""
    return torch.rand(()).item(), random.random(), np.random.rand()


def make(sampler, **options):
    batched = isinstance(sampler, BatchSampler)
    given = dict(batch_sampler=sampler) if batched else dict(sampler=sampler, batch_size=4)
    return fa.loader(
        ARRAYS, **given | dict(augment=[fa.Cutout(4), fa.Normalize()], with_plan=True, seed=0) | options
    )


def visited(batches):
    return [plan["index"].tolist() for _, _, plan in batches]


def same(a, b):
    return visited(a) == visited(b) and all(torch.equal(x[0], y[0]) for x, y in zip(a, b, strict=True))


def two_epochs(loader, look=False):
    """The batches of two epochs, and the states before, between and after them."""
    states, batches = [loader.state_dict()], []
    for _ in range(2):
        for batch in loader:
            noise()
            if look:
                list(loader.sampler), len(loader.sampler), next(iter(loader.batch_sampler))
            batches.append(batch)
            states.append(loader.state_dict())
        states.append(loader.state_dict())
    return batches, [json.loads(json.dumps(state)) for state in states]


def ends(states):
    """The number of batches before each state."""
    return np.cumsum([0] + [a["consumed"] < b["consumed"] for a, b in pairwise(states)]).tolist()


@pytest.mark.parametrize("kind", EXACT)
def test_resume_at_every_batch_is_the_uninterrupted_run(kind):
    seed_all(1)
    with make(EXACT[kind]()) as loader:
        whole, states = two_epochs(loader)
    seed_all(1)
    with make(EXACT[kind]()) as loader:
        assert same(two_epochs(loader, look=True)[0], whole)
    first = visited(whole[: len(whole) // 2])
    if kind not in ("list", "array"):
        assert first != visited(whole[len(whole) // 2 :])
    for done, state in zip(ends(states), states, strict=True):
        seed_all(state["consumed"] + 2)
        with make(EXACT[kind](), prefetch_factor=1 + done % 4) as loader:
            loader.load_state_dict(state)
            assert loader.state_dict() == state
            rest = []
            while loader.state_dict()["epoch"] < 2:
                rest += loader
                noise()
        assert same(rest, whole[done:]), (done, state["epoch"], state["consumed"])


@pytest.mark.parametrize("kind", REFUSED)
def test_an_order_that_cannot_be_had_again_is_refused_by_name(kind):
    with make(REFUSED[kind]()) as loader:
        list(loader)
        batches = iter(loader)
        before, _, after = loader.state_dict(), next(batches), loader.state_dict()
    sampler = REFUSED[kind]()
    with make(sampler) as loader:
        loader.load_state_dict(before)
        assert len(list(loader)) == len(loader)  # nothing of that epoch was had
        list(loader.sampler)
        loader.load_state_dict(after)
        for _ in range(2):  # it stays refused, and the state stays
            with pytest.raises(ValueError, match=rf"{type(sampler).__name__}.*torch.Generator.*shuffle=True"):
                next(iter(loader))
            loader.load_state_dict(loader.state_dict())
        batches = iter(loader)
        for _ in range(2):
            with pytest.raises(ValueError, match="run again"):
                next(batches)
            assert loader.state_dict() == after
        loader.set_epoch(7)
        assert len(list(loader)) == len(loader)


@pytest.mark.parametrize(
    "make_it",
    [
        lambda: iter(range(N)),
        lambda: (i for i in range(N)),
        lambda: map(int, range(N)),
    ],
)
@pytest.mark.parametrize("name", ["sampler", "batch_sampler"])
def test_what_gives_its_order_once_is_refused_at_once(make_it, name):
    with pytest.raises(TypeError, match=r"gives its order once.*list"):
        fa.loader(ARRAYS, augment=[], **{name: make_it()})
    with pytest.raises(TypeError, match="int cannot be iterated over"):
        fa.loader(ARRAYS, augment=[], **{name: 3})


def test_an_iterator_that_is_handed_out_again_is_refused_and_no_epoch_is_short():
    stored = iter(range(N))
    with make(Custom(lambda _: stored)) as loader:
        next(iter(loader))
        for _ in range(2):
            with pytest.raises(TypeError, match="Custom gives its order once"):
                next(iter(loader))


@pytest.mark.parametrize(
    "kind",
    [
        "random",
        "random, generator",
        "batches",
        "batches, generator",
        "random.shuffle",
        "distributed",
    ],
)
def test_another_batch_size_goes_on_at_the_same_sample(kind):
    def sized(size):
        sampler = EXACT[kind]()
        if isinstance(sampler, BatchSampler):
            sampler.batch_size, sampler.drop_last = size, False
            return make(sampler)
        return make(sampler, batch_size=size)

    seed_all(4)
    with sized(4) as loader:
        batches = iter(loader)
        seen = [next(batches)[2]["index"] for _ in range(2)]
        state = loader.state_dict()
        seen += [plan["index"] for *_, plan in batches]
    want = np.concatenate(seen).tolist()
    for size in (1, 3, 5, 8, 100):
        with sized(size) as loader:
            loader.load_state_dict(state)
            assert list(chain(*visited(loader))) == want[8:]


def test_nothing_is_drawn_from_the_users_generators_but_one_number():
    def drawn(sampler):
        seed_all(2)
        with make(sampler) as loader:
            list(loader)
            list(loader), list(loader.sampler)
            return noise()

    kinds = "random", "list", "numpy", "global numbers, one by one"
    assert len({drawn(EXACT[kind]()) for kind in kinds}) == 1
    generator = g()
    with make(RandomSampler(range(N), generator=generator)) as loader:
        state = generator.get_state()
        list(loader.sampler), len(loader.sampler), loader.state_dict()
        assert torch.equal(generator.get_state(), state)


def test_the_global_seeds_and_the_samplers_generator_decide_the_order():
    for kind in ("random", "random.shuffle", "numpy", "weighted"):
        orders = []
        for seed in (1, 1, 2):
            with make(EXACT[kind]()) as loader:
                seed_all(seed)
                orders.append(visited(loader))
        assert orders[0] == orders[1] != orders[2]
    with make(EXACT["random, generator"]()) as loader:
        twin = EXACT["random, generator"]()
        for _ in range(2):
            assert list(chain(*visited(loader))) == list(twin)


def state_of(sampler, rank, world_size, batches=2):
    with make(sampler, rank=rank, world_size=world_size) as loader:
        pulled = iter(loader)
        for _ in range(batches):
            next(pulled)
        return loader.state_dict(), visited(pulled)


def test_rank_0s_state_serves_all_where_the_epoch_decides_the_order():
    ranks = [DistributedSampler(range(N), 2, rank, seed=3) for rank in range(2)]
    (state, _), (_, rest) = (state_of(sampler, rank, 2) for rank, sampler in enumerate(ranks))
    with make(ranks[1], rank=1, world_size=2) as loader:
        loader.load_state_dict(state)
        batches = iter(loader)
        assert visited([next(batches)]) == rest[:1]
        mine = loader.state_dict()
        assert visited(batches) == rest[1:]
        loader.load_state_dict(mine)
        assert visited(loader) == rest[1:]


@pytest.mark.parametrize("kind", ["random", "weighted, generator", "batches", "random.shuffle", "hidden"])
def test_rank_0s_state_is_refused_on_others_where_random_numbers_decide(kind):
    make_it = (EXACT | REFUSED)[kind]
    state, _ = state_of(make_it(), 0, 2)
    start, _ = state_of(make_it(), 0, 2, 0)
    with make(make_it(), rank=1, world_size=2) as loader:
        loader.load_state_dict(state)
        with pytest.raises(ValueError, match=r"that of rank 0.*Sampler|that of rank 0.*Custom"):
            next(iter(loader))
        assert loader.state_dict() == state
        loader.load_state_dict(start)
        assert len(list(loader)) == len(loader)


def test_another_number_of_ranks_is_refused_within_an_epoch_alone():
    state, _ = state_of(list(range(N)), 0, 2)
    start, _ = state_of(list(range(N)), 0, 2, 0)
    with make(list(range(N))) as loader:
        loader.load_state_dict(state)
        with pytest.raises(ValueError, match=r"by 2 ranks.*here are 1.*a list.*shuffle=True"):
            next(iter(loader))
        loader.load_state_dict(start)
        assert len(list(loader)) == len(loader)


def test_a_generator_more_or_less_is_named():
    state, _ = state_of(EXACT["random"](), 0, 1)
    with make(EXACT["random, generator"]()) as loader:
        loader.load_state_dict(state)
        with pytest.raises(ValueError, match=r"RandomSampler held no generators.*holds.*Generator"):
            next(iter(loader))


@pytest.mark.parametrize("change", [None, {}, 3, dict(digest=-1), dict(held=[3]), dict(seeds=None)])
def test_a_damaged_state_is_refused(change):
    with make(EXACT["random"]()) as loader:
        state = loader.state_dict()
        broken = {**state["sampler"], **change} if isinstance(change, dict) and change else change
        with pytest.raises(ValueError, match="damaged"):
            loader.load_state_dict({**state, "sampler": broken})


class Failing(Custom):
    """Fails on its way, as often as it is told."""

    def __init__(self, failures, at):
        self.failures, self.at, self.rng = failures, at, g()

    def __iter__(self):
        for k, i in enumerate(torch.randperm(N, generator=self.rng).tolist()):
            if k == self.at and self.failures:
                self.failures -= 1
                raise OSError("theirs")
            yield i


@pytest.mark.parametrize("at", [0, 3, 4, 5, 17, N - 1])
def test_a_sampler_that_fails_ends_no_epoch(at):
    with make(Failing(0, at)) as loader:
        want = visited(loader), visited(loader)
    with make(Failing(3, at)) as loader:
        for epoch in want:
            got, batches, ended = [], iter(loader), False
            while not ended:
                try:
                    got += visited([next(batches)])
                except OSError:
                    assert loader.state_dict()["consumed"] == sum(map(len, got))
                except StopIteration:
                    ended = True
            assert got == epoch


def order(n, sampler=None, batch_sampler=None, batch_size=1):
    return GivenOrder(n, Given(sampler, batch_sampler), batch_size, False)


def batches_of(samples, epoch=0):
    return [ticket for ticket, _ in Epoch(samples, 0, Place(epoch)).begun().tickets()]


def test_occurrences_are_counted_and_numbers_checked():
    samples = order(5, [0, 1, 0, 0, 4], batch_size=2)
    assert len(samples) == 3
    assert [b.occurrence.tolist() for b in batches_of(samples)] == [[0, 0], [1, 2], [0]]
    for bad in (5, -1):
        with pytest.raises(IndexError, match=f"sample {bad}"):
            batches_of(order(5, [bad]))
    with pytest.raises(TypeError, match="float"):
        batches_of(order(5, [1.5]))


def test_set_epoch_reaches_a_distributed_sampler_within_others():
    inner = DistributedSampler(range(10), 1, 0, shuffle=True)
    around = Custom(lambda s: iter(s.batch_sampler), batch_sampler=BatchSampler(inner, 10, False))
    for samples in (order(10, inner, batch_size=10), order(10, None, around)):
        a, b = (batches_of(samples, e)[0].ids.tolist() for e in (0, 1))
        assert a != b
        assert sorted(a) == sorted(b)


def test_batches_of_no_samples_are_not_lost():
    lists = [[], [1, 2], [], [3]]
    assert [b.ids.tolist() for b in batches_of(order(5, None, lists))] == lists


def test_more_visits_than_there_are_random_numbers_for_are_refused():
    from fastaug.sampling.philox import MOST_VISITS

    images = np.zeros((2, 4, 4, 3), np.uint8)
    order = [0] * MOST_VISITS + [1]
    with fa.loader((images, [0, 1]), 1024, sampler=order, augment=[fa.RandomHorizontalFlip()]) as loader:
        assert sum(len(x) for x, _ in loader) == MOST_VISITS + 1
    loader = fa.loader((images, [0, 1]), 1024, sampler=[0, *order], augment=[])
    with loader, pytest.raises(ValueError, match=f"sample 0 more than {MOST_VISITS} times"):
        list(loader)
