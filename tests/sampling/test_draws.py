"""Weights, balance, mixtures, and epochs of any length: keyed by position, so right under any number of
ranks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils.data import Subset

import fastaug as fa
from fastaug.sampling.draws import counted

from ..call.sets import Photos

N = 50
DATA = np.zeros((N, 8, 8, 3), np.uint8), np.arange(N)
CROP = [fa.RandomResizedCrop(4), fa.RandomHorizontalFlip()]


def visits(data=DATA, batch=7, epochs=1, ranks=1, **options):
    """Samples of each epoch, in the order of positions."""
    options = {"augment": [], "dtype": torch.uint8, "seed": 5, **options}
    parts = []
    for rank in range(ranks):
        with fa.loader(data, batch, rank=rank, world_size=ranks, with_plan=True, **options) as loader:
            parts.append([[p["index"].tolist() for *_, p in loader] for _ in range(epochs)])
    out = []
    for each in zip(*parts, strict=True):
        batches = zip(*each, strict=True)
        out.append([i for batch in batches for i in np.array(batch).T.reshape(-1).tolist()])
    return out


CASES = {
    "weights": dict(weights=np.arange(N)),
    "long": dict(shuffle=True, epoch_length=140),
    "short": dict(shuffle=True, epoch_length=28),
    "ascending": dict(epoch_length=84),
}


@pytest.mark.parametrize("case", CASES)
def test_ranks_share_what_one_would_see(case):
    options = CASES[case]
    length = options.get("epoch_length", N)
    want = visits(epochs=2, **options)
    for batch, ranks in ((7, 2), (2, 7), (14, 1)):
        found = visits(batch=batch, ranks=ranks, epochs=2, **options)
        assert [epoch[:length] for epoch in found] == [epoch[:length] for epoch in want]


def test_weights_are_proportions():
    weights = np.array([0, 1, 2, 3] * 10, float)
    (found,) = visits((DATA[0][:40], DATA[1][:40]), 500, weights=weights, epoch_length=20_000)
    count = np.bincount(found, minlength=40)
    assert (count[weights == 0] == 0).all()
    used = weights > 0
    assert stats.chisquare(count[used], weights[used] / weights.sum() * len(found)).pvalue > 1e-4
    first, second = visits(weights=np.ones(N), epochs=2)
    assert first != second


def test_balance_makes_classes_equal():
    labels = np.repeat([0, 1, 2], [80, 15, 5])
    data = np.zeros((100, 8, 8, 3), np.uint8), labels
    (found,) = visits(data, 100, balance="class", epoch_length=9000)
    count = np.bincount(labels[found])
    assert stats.chisquare(count).pvalue > 1e-4
    called = Photos(24)
    with pytest.raises(ValueError, match="balance='class' needs class ids that are known"):
        fa.loader(called, augment=CROP, balance="class")
    called.targets = [0] * 20 + [1] * 4
    (found,) = visits(Subset(called, range(4, 24)), 100, augment=CROP, balance="class", epoch_length=2000)
    assert abs(np.mean(np.array(found) >= 16) - 0.5) < 0.06


def test_a_sample_that_comes_again_is_augmented_anew():
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8), [0, 1]
    options = dict(augment=[fa.RandomResizedCrop(8)], seed=1)
    for more in (dict(weights=[1, 1]), dict(shuffle=True), dict()):
        with fa.loader(noise, 12, epoch_length=12, **more, **options) as loader:
            images, _ = next(iter(loader))
        assert len({image.numpy().tobytes() for image in images}) == 12


def test_epochs_go_on_where_the_last_one_stopped():
    epochs = visits(epochs=5, shuffle=True, epoch_length=20, batch=10)
    flat = list(itertools.chain(*epochs))
    assert sorted(flat[:50]) == sorted(flat[50:]) == list(range(N))
    assert flat[:50] == visits(shuffle=True)[0]


def test_an_endless_epoch():
    for more in (dict(shuffle=True), dict(weights=np.ones(N)), dict()):
        with fa.loader(
            DATA, 20, augment=CROP, seed=5, epoch_length=math.inf, with_plan=True, **more
        ) as loader:
            batches = iter(loader)
            plans = [next(batches)[2] for _ in range(12)]
            state = loader.state_dict()
            want = next(batches)[2]
            with pytest.raises(TypeError, match="endless epoch has no length"):
                len(loader)
        if "weights" not in more:
            assert (np.bincount(np.concatenate([p["index"] for p in plans[:5]])) == 2).all()
        keys = {(i, k) for p in plans for i, k in zip(p["index"], p["occurrence"], strict=True)}
        assert len(keys) == 240
        with fa.loader(
            DATA, 20, augment=CROP, seed=5, epoch_length=math.inf, with_plan=True, **more
        ) as loader:
            loader.load_state_dict(state)
            assert (next(iter(loader))[2].rows == want.rows).all()


def test_lengths_in_batches():
    for ranks in (1, 2):
        with fa.loader(DATA, 7, augment=[], epoch_length="3 batches", rank=0, world_size=ranks) as loader:
            assert (len(loader), sum(1 for _ in loader)) == (3, 3)
    for wrong in ("3 laps", "many", 0, -1, 2.5):
        with pytest.raises((ValueError, TypeError), match="epoch_length must be"):
            fa.loader(DATA, 7, augment=[], epoch_length=wrong)


def test_wrong_weights_are_named():
    for options, words in (
        (dict(weights=[1.0]), r"shape \(1,\); give one for each of 50"),
        (dict(weights=[-1.0] * N), "sample 0's is -1"),
        (dict(weights=[0.0] * N), "all are 0"),
        (dict(weights=[math.nan] * N), "sample 0's is nan"),
        (dict(weights=[1.0] * N, balance="class"), "give one of them"),
        (dict(weights=[1.0] * N, shuffle=False), "do not go"),
        (dict(weights=[1.0] * N, sampler=[1]), "do not go"),
        (dict(balance="label"), "balance must be"),
    ):
        with pytest.raises(ValueError, match=words):
            fa.loader(DATA, 7, augment=[], **options)


def test_states_belong_to_their_draws():
    def state(**options):
        with fa.loader(DATA, 7, augment=[], seed=0, **options) as loader:
            return loader.state_dict()

    ones = state(weights=np.ones(N))
    for options in (dict(shuffle=True), dict(weights=np.arange(N)), dict(weights=np.ones(N), epoch_length=3)):
        loader = fa.loader(DATA, 7, augment=[], seed=0, **options)
        with loader, pytest.raises(ValueError, match="the state's order is"):
            loader.load_state_dict(ones)


def test_counted():
    assert counted(np.array([3, 1, 3, 3, 1, 0])).tolist() == [0, 0, 1, 2, 1, 0]


# ---- mixtures ----


def shades(n, value):
    return np.full((n, 8, 8, 3), value, np.uint8), np.full(n, value)


def test_a_mixture_has_its_proportions_and_goes_through_each_part():
    mixture = fa.Mixture({"few": (shades(10, 1), 1), "many": (shades(90, 2), 3)})
    (found,) = visits(mixture, 100, shuffle=True, epoch_length=8000)
    few = np.array([i for i in found if i < 10])
    assert abs(len(few) / 8000 - 0.25) < 0.02
    assert {tuple(sorted(few[k : k + 10])) for k in range(0, len(few) // 10 * 10, 10)} == {tuple(range(10))}
    assert visits(mixture, 50, shuffle=True, epoch_length=8000, ranks=2) == [found]
    with fa.loader(mixture, 100, True, augment=[], dtype=torch.uint8) as loader:
        for images, targets in loader:
            assert (images[:, 0, 0, 0].numpy() == targets.numpy()).all()
        assert "'few' 1: 10 samples" in repr(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_parts_may_be_files_arrays_and_called(photos, workers):
    called, plain = Photos(10), (np.zeros((10, 40, 48, 3), np.uint8), np.full(10, 9))
    mixture = fa.Mixture({"files": (photos, 1), "called": (called, 1), "arrays": (plain, 1)})
    with pytest.raises(ValueError, match="have other classes"):
        fa.loader(mixture, 6, augment=CROP)
    listed = [(path, 3) for path in _paths(photos)]
    mixture = fa.Mixture({"files": (listed, 1), "called": (called, 1), "arrays": (plain, 1)})
    options = dict(augment=CROP, seed=2, num_workers=workers)
    with fa.loader(mixture, 6, True, with_plan=True, **options) as loader:
        batches = list(loader)
        images, _, plan = batches[3]
        assert torch.equal(loader.replay(plan)[0], images)
    index = np.concatenate([plan["index"] for *_, plan in batches])
    targets = torch.cat([targets for _, targets, _ in batches])
    assert {int(np.searchsorted([40, 50], i, side="right")) for i in index} == {0, 1, 2}
    assert (targets[torch.from_numpy((index >= 40) & (index < 50))] < 4).all()
    with fa.loader(mixture, 4, True, **options) as loader:
        assert torch.equal(torch.cat([i for i, _ in loader])[:54], torch.cat([i for i, *_ in batches])[:54])


def _paths(folder):
    from pathlib import Path

    return sorted(map(str, Path(folder).rglob("*.*")))[:40]


def test_wrong_mixtures_are_refused():
    data = shades(4, 1)
    for parts, error, words in (
        ({}, TypeError, "Mixture takes"),
        ({"a": data[0]}, TypeError, r"part 'a' must be \(data, weight\)"),
        ({"a": (data, -1)}, ValueError, "weight of 'a'"),
        ({"a": (data, 0)}, ValueError, "must not all be 0"),
    ):
        with pytest.raises(error, match=words):
            fa.Mixture(parts)
    with pytest.raises(ValueError, match="'a' and 'b' have other forms of samples"):
        fa.loader(fa.Mixture({"a": (data, 1), "b": ((data[0], [0.5] * 4), 1)}), augment=[])
