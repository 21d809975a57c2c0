"""Iterators are independent, as DataLoader's are; loaders are their arguments: copied, pickled, forked."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import fastaug as fa
from fastaug.engine import Engine

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 12, 12, 3), np.uint8)
ARRAYS = (PIXELS, [i % 3 for i in range(len(PIXELS))])
MIXED = [fa.RandomResizedCrop(8), fa.RandomHorizontalFlip(), fa.Cutout(4), fa.MixUp(0.5), fa.Normalize()]


def make(**options) -> fa.Loader:
    given = dict(batch_size=4, shuffle=True, augment=MIXED, num_classes=3, with_plan=True, seed=0)
    return fa.loader(ARRAYS, **given | options)


def epochs(batches) -> list[int]:
    return [plan.epoch for _, _, plan in batches]


def same(a, b) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x[0], y[0]) and torch.equal(x[1], y[1]) for x, y in zip(a, b, strict=True)
    )


def whole(loader: fa.Loader, epoch: int) -> list:
    """An epoch's batches, from a loader of its own."""
    with make(seed=loader.seed) as other:
        other.set_epoch(epoch)
        return list(other)


# ---- independent iterators ----


def test_zip_gives_two_whole_epochs_of_their_own():
    with make() as loader:
        pairs = list(zip(loader, loader, strict=True))
        assert same([a for a, _ in pairs], whole(loader, 0))
        assert same([b for _, b in pairs], whole(loader, 1))
        assert epochs(loader) == [2] * len(loader)


def test_three_at_once_are_three_epochs():
    with make() as loader:
        together = [epochs(part) for part in zip(loader, loader, loader, strict=True)]
        assert together == [[0, 1, 2]] * len(loader)


def test_nested_loops_are_whole():
    with make() as loader:
        inner = [epochs(loader) for _ in loader]
        assert inner == [[k + 1] * len(loader) for k in range(len(loader))]


def test_a_look_inside_a_loop_changes_nothing():
    with make() as loader, make() as plain:
        seen, states = [], []
        for batch in loader:
            seen.append(batch)
            before = loader.state_dict()
            assert next(iter(loader))[2].epoch == 1
            assert loader.state_dict() == before
            states.append(before)
        want = []
        for batch in plain:
            want.append(batch)
            assert plain.state_dict() == states[len(want) - 1]
        assert same(seen, want)
        assert loader.state_dict() == plain.state_dict()
        assert epochs(loader) == epochs(plain) == [1] * len(loader)


def test_an_iterator_alone_spends_its_number_when_it_begins():
    with make() as loader:
        for epoch in range(3):
            assert next(iter(loader))[2].epoch == epoch
        assert loader.state_dict()["epoch"] == 2
        assert loader.state_dict()["consumed"] == 4


def test_one_that_has_given_all_is_not_under_way_any_more():
    with make() as loader:
        first = iter(loader)
        for _ in range(len(loader)):
            next(first)
        assert epochs(loader) == [1] * len(loader)
        assert loader.state_dict()["epoch"] == 2
        assert list(first) == []


def test_a_state_is_the_oldest_iterators():
    with make() as loader:
        old, young = iter(loader), iter(loader)
        for _ in range(2):
            next(old)
        for _ in range(4):
            next(young)
        assert (loader.state_dict()["epoch"], loader.state_dict()["consumed"]) == (0, 8)
        rest = list(old)
        assert (loader.state_dict()["epoch"], loader.state_dict()["consumed"]) == (1, 16)
        assert same(rest, whole(loader, 0)[2:])
        assert same(list(young), whole(loader, 1)[4:])
        assert loader.state_dict()["epoch"] == 2


def test_set_epoch_and_a_loaded_state_are_taken_at_their_word():
    with make() as loader:
        held = iter(loader)
        next(held)
        state = loader.state_dict()
        loader.set_epoch(0)
        assert epochs(loader) == [0] * len(loader)
        loader.load_state_dict(state)
        rest = list(loader)
        assert same(rest, whole(loader, 0)[1:])
        assert same(list(held), rest)
        assert loader.state_dict()["epoch"] == 1


def test_what_was_made_for_a_dropped_iterator_is_dropped(monkeypatch):
    """Of 16 batches ahead, only those that a stage had in hand are made."""
    run, made, hold = Engine._decode, [], threading.Event()

    def slow(engine, pending):
        hold.wait(10)
        made.append(pending.ticket.epoch)
        run(engine, pending)

    monkeypatch.setattr(Engine, "_decode", slow)
    with make(batch_size=1, prefetch_factor=16) as loader:
        old = iter(loader)
        asking = threading.Thread(target=next, args=(old,))
        asking.start()
        while len(old._ahead) < 17:
            time.sleep(1e-3)
        hold.set()
        asking.join()
        hold.clear()
        began = len(made)
        old = asking = None
        new = iter(loader)
        threading.Timer(0.05, hold.set).start()
        next(new)
        assert made[began:].count(0) <= loader._engine.decoder.lanes
        assert 1 in made


# ---- copies, pickles, forks ----


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))]
)
def test_copies_go_on_alone_from_the_same_place(again):
    with make(seed=None) as loader:
        torch.manual_seed(5)
        batches = iter(loader)
        for _ in range(2):
            next(batches)
        with again(loader) as other:
            assert other.seed == loader.seed
            assert other.state_dict() == loader.state_dict()
            rest = list(batches)
            assert same(list(other), rest)
            assert epochs(other) == epochs(loader) == [1] * len(loader)
            assert other._engine is not loader._engine
        assert same(list(loader), whole(loader, 2))  # closing one closes no other


def test_a_loader_starts_no_thread_before_a_batch_is_asked_for():
    before = threading.active_count()
    with make() as loader:
        batches = iter(loader)
        assert len(repr(loader)) > len(loader)
        assert loader.state_dict()
        assert threading.active_count() == before
        next(batches)
        assert threading.active_count() > before


def in_child(work) -> bytes:
    """What a forked process writes; its own exit is the normal one."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        status = 1
        try:
            os.write(writing, work())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    assert os.waitpid(child, 0)[1] == 0
    return said


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of threads and fork
@pytest.mark.parametrize("kind", ["arrays", "files"])
def test_a_fork_in_the_middle_of_an_epoch(kind, photos):
    given = (
        dict(dataset=ARRAYS, augment=MIXED) if kind == "arrays" else dict(dataset=photos, augment=MIXED[:3])
    )
    with fa.loader(batch_size=4, shuffle=True, num_classes=30, seed=0, num_workers=2, **given) as loader:
        batches = iter(loader)
        for _ in range(2):
            next(batches)

        def rest() -> bytes:
            return b"".join(images.numpy().tobytes() for images, *_ in batches)

        child, parent = in_child(rest), rest()
        assert child == parent
        assert parent
        assert in_child(lambda: b"%d" % len(list(loader))) == b"%d" % len(list(loader))


@pytest.mark.release
@pytest.mark.timeout(300)
def test_forks_at_thirty_moments(photos):
    """Wherever threads just are: parent and child go on with the same batches."""
    options = dict(augment=MIXED[:3], shuffle=True, seed=0, num_workers=2, prefetch_factor=4)
    with fa.loader(photos, 2, **options) as loader:
        whole = b"".join(images.numpy().tobytes() for images, *_ in loader)
        for k in range(30):
            loader.set_epoch(0)
            batches, taken = iter(loader), k % 7
            before = b"".join(next(batches)[0].numpy().tobytes() for _ in range(taken))
            time.sleep(4e-4 * k)

            def rest(batches=batches) -> bytes:
                return b"".join(images.numpy().tobytes() for images, *_ in batches)

            child, parent = in_child(rest), rest()
            assert before + child == before + parent == whole


@pytest.mark.timeout(60)
def test_a_forked_process_ends_by_itself(photos):
    """With Python's own exit, finalizers and all, and with DALI's threads of the process before."""
    code = (
        "import os, sys, fastaug as fa\n"
        f"loader = fa.loader({photos!r}, 4, True, augment=[fa.RandomResizedCrop(16)], num_workers=2)\n"
        "batches = iter(loader); next(batches)\n"
        "child = os.fork()\n"
        "print(len(list(batches)), flush=True)\n"
        "sys.exit(os.waitpid(child, 0)[1] if child else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split()
    assert first == second != "0"


@pytest.mark.timeout(60)
def test_a_process_ends_at_once_with_batches_ahead(photos):
    """Nothing is blamed on files while threads and DALI's pipelines come to their end."""
    code = (
        "import fastaug as fa\n"
        f"loader = fa.loader({photos!r}, 16, True, augment=[fa.RandomResizedCrop(64)], num_workers=2,\n"
        "                   prefetch_factor=16)\n"
        "for _ in range(4):\n"
        "    batches = iter(loader)\n"
        "    next(batches)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_with_cuda_is_refused_by_name(monkeypatch):
    with make() as loader:
        monkeypatch.setattr(loader._pipeline.device, "target", torch.device("cuda", 0))
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(RuntimeError, match=r"before os\.fork\(\), and CUDA .*'spawn'"):
            next(iter(loader))
        monkeypatch.undo()


# ---- waiting ----


def test_a_timeout_says_what_was_waited_for_and_the_batch_comes_later(monkeypatch):
    run, hold = Engine._decode, threading.Event()

    def slow(engine, pending):
        hold.wait(10)
        run(engine, pending)

    monkeypatch.setattr(Engine, "_decode", slow)
    with make(timeout=0.05) as loader:
        batches = iter(loader)
        with pytest.raises(RuntimeError, match=r"timeout=0.05 seconds: batch 0 of epoch 0 .*being decoded"):
            next(batches)
        hold.set()
        loader.timeout = 0
        assert len(list(batches)) == len(loader)
    for value, error in ((-1, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="timeout"):
            make(timeout=value)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [2, pytest.param(30, marks=pytest.mark.release)])
def test_ctrl_c_is_never_swallowed(photos, count):
    code = (
        "import sys, time, fastaug as fa\n"
        f"loader = fa.loader({photos!r}, 2, True, augment=[fa.RandomResizedCrop(16)], num_workers=2)\n"
        "n = 0\n"
        "while True:\n"
        "    for images, targets in loader:\n"
        "        if n == 0:\n"
        "            print('ready', flush=True)\n"
        "        n += 1\n"
    )
    for k in range(count):
        with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) as running:
            assert running.stdout.readline() == "ready\n"
            time.sleep(0.037 * k)
            running.send_signal(signal.SIGINT)
            begin = time.monotonic()
            _, errors = running.communicate(timeout=20)
        assert "KeyboardInterrupt" in errors
        assert running.returncode == -signal.SIGINT
        assert time.monotonic() - begin < 10


@pytest.mark.timeout(60)
def test_ctrl_c_comes_through_at_every_moment():
    """Many in one process: each is raised, none gets lost in a finalizer or a callback."""
    raised = 0
    with make(batch_size=2, num_workers=2) as loader:
        for k in range(120):
            timer = threading.Timer(2e-3 + 1e-4 * (k % 37), os.kill, (os.getpid(), signal.SIGINT))
            try:
                timer.start()
                while True:
                    for _ in loader:
                        pass
            except KeyboardInterrupt:
                raised += 1
    assert raised == 120


# ---- seeds ----


def test_no_seed_follows_torchs():
    def first(seed: int):
        torch.manual_seed(seed)
        with make(seed=None) as loader:
            return next(iter(loader)), loader.seed, repr(loader)

    (a, seed_a, text), (b, seed_b, _), (c, seed_c, _) = first(1), first(1), first(2)
    assert same([a], [b])
    assert seed_a == seed_b != seed_c
    assert not torch.equal(a[0], c[0])
    assert f"seed {seed_a}" in text
    with make(seed=seed_a) as loader:
        assert same([next(iter(loader))], [a])


def test_a_seed_is_drawn_once_and_only_where_something_is_random():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with make(seed=None, shuffle=False, augment=[fa.Resize((8, 8)), fa.Normalize()]) as loader:
        assert "None" in repr(loader)
        for _ in range(2):
            list(loader)
        assert loader.seed is None
        assert torch.rand(1) == expected
    torch.manual_seed(0)
    with make(seed=None) as loader:
        assert loader.seed is None
        list(loader)
        state = torch.get_rng_state()
        list(loader)
        assert torch.equal(torch.get_rng_state(), state)
        assert not torch.equal(torch.rand(1), expected)


def test_a_state_brings_its_seed():
    with make(seed=None) as loader, make(seed=None) as other, make(seed=1) as fixed:
        batches = iter(loader)
        next(batches)
        state = loader.state_dict()
        other.load_state_dict(state)
        assert other.seed == loader.seed
        assert same(list(other), list(batches))
        with pytest.raises(ValueError, match=r"seed is \d+, the loader's 1"):
            fixed.load_state_dict(state)


def test_ranks_that_cannot_agree_are_told():
    with make(seed=None, rank=0, world_size=2) as loader:
        with pytest.raises(ValueError, match=r"world_size=2.*cannot agree.*seed="):
            next(iter(loader))
        assert len(loader) == 3


def agree(rank: int, store: str, found) -> None:
    torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # as scripts do that seed by rank
    with make(seed=None) as loader:
        found[rank] = (loader._seeded(), [i for _, _, plan in loader for i in plan["index"].tolist()])
    torch.distributed.destroy_process_group()


@pytest.mark.timeout(100)
def test_ranks_agree_on_rank_0s(tmp_path):
    context = torch.multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        found = manager.dict()
        torch.multiprocessing.spawn(agree, (str(tmp_path / "store"), found), nprocs=2)
        (seed, first), (other, second) = found[0], found[1]
    assert seed == other
    assert set(first) | set(second) == set(range(23))
    torch.manual_seed(0)
    assert seed == int(torch.empty((), dtype=torch.int64).random_())


# ---- DataLoader's attributes, and what is printed ----


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(batch_size=5, drop_last=True, num_workers=2, timeout=3, pin_memory=True),
        dict(prefetch_factor=3, num_workers=1),
    ],
)
def test_dataloaders_attributes_exist_with_its_values(options):
    theirs = DataLoader(TensorDataset(torch.zeros(23)), **options)
    with fa.loader(ARRAYS, augment=[], **options) as loader:
        for name in [
            "batch_size",
            "drop_last",
            "num_workers",
            "timeout",
            "pin_memory",
            "pin_memory_device",
            "prefetch_factor",
            "generator",
            "persistent_workers",
            "in_order",
            "multiprocessing_context",
            "worker_init_fn",
            "collate_fn",
        ]:
            assert getattr(loader, name) == getattr(theirs, name, None), name
        assert loader.dataset is ARRAYS
        assert list(islice(loader.sampler, 3)) == list(islice(theirs.sampler, 3))
    with fa.loader(ARRAYS, batch_sampler=[[1, 2], [0]], augment=[]) as loader:
        assert loader.batch_size is DataLoader(TensorDataset(torch.zeros(3)), batch_sampler=[[1]]).batch_size


def test_a_loader_prints_its_pipeline(photos):
    with fa.loader(
        photos, 8, True, augment="cutout", rank=1, world_size=2, seed=3, on_error="skip"
    ) as loader:
        text = repr(loader)
    for part in (
        "shuffled, 8 a batch, rank 1 of 2; seed 3",
        "Cutout(length=112",
        "files",
        "native",
        "cpu: the box decoder, else DALI or Pillow, 1 threads",
        "float32 [B, 3, 224, 224]",
        "int64 [B]",
        "skip, at most",
    ):
        assert part in text, text
