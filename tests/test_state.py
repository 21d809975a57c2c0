from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import RandomSampler

import fastaug as fa
from fastaug.data.datasets import as_listing
from fastaug.data.listing import Names, names_digest
from fastaug.engine import Engine

from . import corpus

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 12, 12, 3), np.uint8)
ARRAYS = (PIXELS, [i % 3 for i in range(len(PIXELS))])
MIXED = [fa.RandomResizedCrop(8), fa.RandomHorizontalFlip(), fa.Cutout(4), fa.MixUp(0.5), fa.Normalize()]


@pytest.fixture(scope="module")
def jpegs() -> list[tuple[bytes, int]]:
    """Some JPEGs, of which a few are bad: one without a header, one empty, one that ends too early."""
    images = [corpus.encoded(corpus.photo(32, 24).rotate(k), "JPEG") for k in range(23)]
    images[4], images[5] = b"<html>", b""
    images[11] = images[11][: len(images[11]) // 2]
    return [(data, k % 3) for k, data in enumerate(images)]


def same(a, b) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p[:2], q[:2], strict=True)
    )


@pytest.mark.parametrize("ahead", [1, 2, 3, 4])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "on_error"),
    [
        ("arrays", "raise"),
        ("arrays, drop_last", "raise"),
        ("jpegs", "skip"),
        ("jpegs", "replace"),
    ],
)
def test_resume_at_every_batch_is_the_uninterrupted_run(jpegs, kind, on_error, world, ahead):
    data = jpegs if kind == "jpegs" else ARRAYS
    for rank in range(world):
        options = dict(
            batch_size=4,
            shuffle=True,
            drop_last="drop" in kind,
            augment=MIXED,
            seed=7,
            num_classes=3,
            prefetch_factor=ahead,
            rank=rank,
            world_size=world,
            num_workers=2,
            on_error=on_error,
            max_bad=None,
        )
        with fa.loader(data, **options) as loader:
            loader.set_epoch(2)
            states, whole = [loader.state_dict()], []
            for batch in loader:
                whole.append(batch)
                states.append(loader.state_dict())
            end, following = loader.state_dict(), list(loader)
        assert states[-1]["consumed"] >= states[-1]["samples"] - (4 * world - 1) * ("drop" in kind)
        with fa.loader(data, **options) as loader:  # one for all: loading ends what is under way
            for done, state in enumerate(states):
                loader.load_state_dict(json.loads(json.dumps(state)))
                loader.set_epoch(2)
                assert same(list(loader), whole[done:])
                if done in (0, len(whole)):
                    assert same(list(loader), following)
            loader.load_state_dict(end)
            assert same(list(loader), following)


def test_another_batch_size_and_other_ranks_go_on_at_the_same_sample(jpegs):
    options = dict(shuffle=True, augment=MIXED[:3], seed=7, with_plan=True, on_error="replace", max_bad=None)
    with fa.loader(jpegs, 4, **options) as loader:
        want = {int(i): x for images, _, plan in loader for i, x in zip(plan.wanted, images, strict=True)}
        loader.set_epoch(0)
        batches = iter(loader)
        seen = {int(i) for _ in range(3) for i in next(batches)[2].wanted}
        state = loader.state_dict()
    assert state["consumed"] == 12
    for batch_size, world in ((5, 1), (2, 2), (3, 3)):
        rest = {}
        for rank in range(world):
            with fa.loader(jpegs, batch_size, rank=rank, world_size=world, **options) as loader:
                loader.load_state_dict(state)
                for images, _, plan in loader:
                    keep = np.flatnonzero(plan["repeat"] == 0)
                    rest |= {int(plan.wanted[k]): images[k] for k in keep}
        assert set(rest) | seen == set(range(23))
        assert not set(rest) & seen
        assert all(torch.equal(x, want[i]) for i, x in rest.items())


def test_drop_last_makes_no_short_batch_after_a_change_of_batch_size():
    with fa.loader(ARRAYS, 2, augment=[], drop_last=True) as loader:
        batches = iter(loader)
        for _ in range(7):
            next(batches)
        state = loader.state_dict()
    with fa.loader(ARRAYS, 5, augment=[], drop_last=True) as loader:
        loader.load_state_dict(state)
        assert [len(x) for x, _ in loader] == [5]


def test_a_state_is_small_json(photos):
    with fa.loader(photos, 4, True, augment="autoaugment") as loader:
        state = loader.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert len(json.dumps(state)) < 1000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(seed=1), "seed is 0, the loader's 1"),
        (dict(shuffle=False), "order is 'shuffled', the loader's 'ascending'"),
        (dict(shuffle=None, sampler=list(range(23))), "order is 'shuffled', the loader's 'of a list'"),
        (dict(drop_last=True), "drop_last is False"),
        (dict(augment=[fa.RandomResizedCrop(8), fa.Normalize()]), "augment is .*Cutout"),
        (dict(dataset=(PIXELS[:9], ARRAYS[1][:9])), "number of samples is 23, the loader's 9"),
        (dict(dataset=(PIXELS, ARRAYS[1][::-1])), "labels"),
    ],
)
def test_a_state_of_something_else_is_refused_with_what_differs(change, words):
    options = dict(dataset=ARRAYS, batch_size=4, shuffle=True, augment=MIXED, num_classes=3, seed=0)
    with fa.loader(**options) as loader:
        state = loader.state_dict()
    with fa.loader(**{**options, **change}) as loader:
        with pytest.raises(ValueError, match=f"the state's {words}"):
            loader.load_state_dict(state)
        assert loader.state_dict()["consumed"] == 0


@pytest.mark.parametrize(("key", "value"), [("consumed", -1), ("consumed", "12"), ("epoch", None)])
def test_a_damaged_state_is_refused(key, value):
    with fa.loader(ARRAYS, 4, augment=[]) as loader:
        with pytest.raises(ValueError, match=f"the state's {key} is {value!r}.*damaged"):
            loader.load_state_dict({**loader.state_dict(), key: value})
        with pytest.raises(TypeError, match=r"state_dict\(\)"):
            loader.load_state_dict("checkpoint.pt")


def test_other_files_are_seen_and_a_move_is_not(photos, tmp_path):
    import shutil

    here, there = tmp_path / "here", tmp_path / "far" / "there"
    shutil.copytree(photos, here)
    shutil.copytree(photos, there)
    with fa.loader(here, 4, augment="standard") as loader, fa.loader(there, 4, augment="standard") as other:
        other.load_state_dict(loader.state_dict())
    first = sorted(there.glob("*/*.jpg"))[0]
    first.rename(first.with_name("other.jpg"))
    with fa.loader(there, 4, augment="standard") as other, pytest.raises(ValueError, match="file names"):
        other.load_state_dict(loader.state_dict())


@pytest.mark.release
def test_a_fresh_process_agrees_whatever_its_hash_seed(photos):
    code = (
        "import sys, json, fastaug; from fastaug.loader import Loader\n"
        f"print(json.dumps(Loader({photos!r}, 4, True, augment='gridmask', seed=0).state_dict()))"
    )
    with fa.loader(photos, 4, True, augment="gridmask", seed=0) as loader:
        mine = loader.state_dict()
    for seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        assert json.loads(out) == mine


def test_names_of_a_million_files_take_a_fraction_of_a_second():
    n = 1_000_000
    text = b"".join(b"/data/train/n%08d/n%08d_%06d.JPEG" % (i // 1300, i // 1300, i) for i in range(n))
    offsets = np.arange(n + 1, dtype=np.int64) * (len(text) // n)
    names = Names(np.frombuffer(text, np.uint8), offsets)
    begin = time.perf_counter()
    digest = names_digest(names)
    assert time.perf_counter() - begin < 1
    moved = np.frombuffer(text.replace(b"/data/", b"/mnt/x/y/"), np.uint8)
    assert names_digest(Names(moved, offsets + 3 * np.arange(n + 1))) == digest


class Interrupted(Exception):
    """What a watchdog or Ctrl-C raises in the thread that asks for batches."""


@pytest.fixture
def alarm():
    """Raises Interrupted at some moment within so many seconds, if that is within ``attempt``.

    A little later where Python's own pools and conditions are at work: their code keeps no promise there, but
    when it waits (https://docs.python.org/3/library/signal.html#handlers-and-exceptions).
    """
    moments = random.Random(7)

    def handler(_, frame):
        stack = [f for f, _ in traceback.walk_stack(frame)]
        files = {f.f_code.co_filename.rsplit("/", 1)[-1] for f in stack}
        if "attempt" not in {f.f_code.co_name for f in stack}:
            return
        waiting = frame.f_code is threading.Condition.wait.__code__ and "gotit" in frame.f_locals
        if "thread.py" in files or (not waiting and {"threading.py", "_base.py"} & files):
            signal.setitimer(signal.ITIMER_REAL, 3e-4)
            return
        raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda most: signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, most))
    signal.setitimer(signal.ITIMER_REAL, 0)
    torch.set_grad_enabled(True)  # raised inside torch.no_grad's own __exit__, it leaves gradients off
    signal.signal(signal.SIGALRM, before)


ORDERS = {
    "shuffled": lambda: dict(shuffle=True),
    "generator": lambda: dict(sampler=RandomSampler(range(23), generator=torch.Generator().manual_seed(3))),
    "one by one": lambda: dict(sampler=RandomSampler(range(23), True, 90)),
}


@pytest.mark.timeout(60, method="thread")  # the other method needs the same timer
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised in a finalizer
@pytest.mark.parametrize(("ahead", "workers"), [(1, 1), (2, 2), (3, 1), (4, 2)])
@pytest.mark.parametrize("order", ORDERS)
def test_an_exception_at_any_moment_loses_and_repeats_nothing(order, ahead, workers, alarm):
    def slow(images):
        time.sleep(2e-4)
        if len(errors) < 10 and moments.random() < 0.1:
            raise Interrupted
        return images.add_(1)

    moments = random.Random(ahead)
    options = dict(augment=[], seed=3, with_plan=True, num_workers=workers, prefetch_factor=ahead)
    torch.manual_seed(0)
    with fa.loader(ARRAYS, 3, **options, **ORDERS[order]()) as loader:
        start = loader.state_dict()
        images = {i: image for x, _, plan in loader for i, image in zip(plan["index"], x + 1, strict=True)}
        loader.load_state_dict(start)
        want = [i for _, _, plan in loader for i in plan["index"]]
    got, loaders, errors, counts = [], [], [], []

    def attempt():
        if len(errors) < 10:
            alarm(1e-2)
        if not loaders or moments.random() < 0.5:  # otherwise the same iterator is asked again
            made = fa.loader(ARRAYS, moments.randint(1, 5), **options, extra=slow, **ORDERS[order]())
            made.load_state_dict(loaders[-1][0].state_dict() if loaders else start)
            loaders.append((made, iter(made)))
        for batch in loaders[-1][1]:
            got[len(got) :] = (batch,)  # no call, so that no signal comes between the batch and this
            if len(errors) < 10 and moments.random() < 0.1:
                raise Interrupted

    while sum(counts) < 8:  # epochs with few interruptions are followed by more
        for past in (got, loaders, errors):
            past.clear()
        while not loaders or loaders[-1][0].state_dict()["epoch"] == start["epoch"]:
            try:
                attempt()
            except Interrupted as error:
                errors.append(error)
        for made, _ in loaders:
            made.close()
        assert [i for _, _, plan in got for i in plan["index"]] == want
        assert all(
            torch.equal(image, images[i])
            for x, _, plan in got
            for i, image in zip(plan["index"], x, strict=True)
        )
        counts.append(len(errors))


def test_a_batch_that_fails_in_extra_is_not_delivered_and_comes_again():
    calls = []

    def failing(images):
        calls.append(images.mul_(2))  # in place: the next try needs the images as they were
        if len(calls) in (1, 3, 4):
            raise OSError("theirs")
        return images

    with fa.loader(ARRAYS, 4, augment=[]) as loader:
        want = [x * 2 for x, _ in loader]
    with fa.loader(ARRAYS, 4, augment=[], extra=failing) as loader:
        batches, got = iter(loader), []
        for outcome in (False, True, False, False, True, True):
            if outcome:
                got.append(next(batches)[0])
            else:
                with pytest.raises(OSError, match="theirs"):
                    next(batches)
            assert loader.state_dict()["consumed"] == 4 * len(got)
        got += [x for x, _ in batches]
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("stage", ["_plan", "_decode", "_finish"])
def test_an_unexpected_error_of_a_stage_loses_no_batch(stage, monkeypatch):
    with fa.loader(ARRAYS, 4, True, augment=MIXED, num_classes=3, seed=0) as loader:
        want = list(loader)
    with fa.loader(ARRAYS, 4, True, augment=MIXED, num_classes=3, seed=0) as loader:
        run, fails = getattr(Engine, stage), [True, True]

        def failing(engine, pending):
            if fails and pending.ticket.step == 2:
                raise MemoryError(fails.pop())
            return run(engine, pending)

        monkeypatch.setattr(Engine, stage, failing)
        got, errors, batches = [], 0, iter(loader)
        while len(got) < len(want):
            try:
                got.append(next(batches))
            except MemoryError:
                errors += 1
            assert loader.state_dict()["consumed"] == min(4 * len(got), 23)
        assert errors == 2
        assert same(got, want)
        assert list(batches) == []


def test_a_batch_that_cannot_be_decoded_is_passed_over_and_counts_with_the_next(jpegs):
    with fa.loader(jpegs, 4, augment=MIXED, num_classes=3) as loader:
        consumed, batches = [], iter(loader)
        for bad in (False, True, True, False, False, False):  # samples 4, 5 and 11
            if bad:
                with pytest.raises(fa.DecodeError):
                    next(batches)
            else:
                next(batches)
            consumed.append(loader.state_dict()["consumed"])
        assert consumed == [4, 4, 4, 16, 20, 23]
        assert list(batches) == []
    with fa.loader(jpegs, 4, augment=MIXED, num_classes=3, on_error="skip", max_bad=2) as loader:
        batches, got = iter(loader), []
        with pytest.raises(fa.TooManyBadFiles):
            got += batches  # += keeps what came before
        assert list(batches) == []
        assert loader.state_dict()["consumed"] == sum(map(len, (x for x, _ in got)))


@pytest.mark.timeout(60, method="thread")
def test_a_handler_may_save_while_a_batch_is_waited_for(alarm):
    states = []
    with fa.loader(ARRAYS, 4, augment=[], extra=lambda x: time.sleep(0.01) or x) as loader:
        signal.signal(signal.SIGALRM, lambda *_: states.append(loader.state_dict()["consumed"]))
        for consumed in range(0, 23, 4):
            signal.setitimer(signal.ITIMER_REAL, 0.003)
            if consumed == 0:
                batches = iter(loader)
            next(batches)
            assert states[-1] == consumed
        assert len(states) == 6


@pytest.mark.release
@pytest.mark.timeout(120)
def test_kills_lose_nothing():
    script = Path(__file__).parent.parent / "benchmarks" / "kills.py"
    command = [sys.executable, script, "--kills", "6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical" in done.stdout


def test_names_digest_needs_no_common_folder():
    one, two = (as_listing([(p, 0) for p in paths]).paths for paths in (["a.jpg"], ["x/a.jpg", "y/b.jpg"]))
    assert names_digest(one) != names_digest(two)
