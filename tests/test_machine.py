"""Any interleaving of what can be done with a loader: each sample exactly once an epoch, always the same."""

from __future__ import annotations

import copy
import json
import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import fastaug as fa

N = 11
PIXELS = np.arange(N, dtype=np.uint8)[:, None, None, None].repeat(6, 1).repeat(6, 2).repeat(3, 3)
AUGMENT = [fa.RandomResizedCrop(4), fa.HideAndSeek((0, 2), fill=1.0)]


class Loaders(RuleBasedStateMachine):
    """Loaders with iterators, some of them dropped, copied, resumed or continued in a forked process.

    ``seen`` holds, for each iterator, its epoch and the samples that were visited from the epoch's start on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loader: fa.Loader | None = None
        self.iterators: list[tuple[object, dict]] = []
        self.images: dict[tuple[int, int], torch.Tensor] = {}  # by epoch and sample
        self.visited: dict[int, dict] = {}  # of the iterators that states are taken of, by consumed samples

    @initialize(batch_size=st.integers(1, 5), ahead=st.integers(1, 4), drop_last=st.booleans())
    def make(self, batch_size: int, ahead: int, drop_last: bool) -> None:
        self.drop_last = drop_last
        self.loader = fa.loader(
            (PIXELS, [0] * N),
            batch_size,
            True,
            augment=AUGMENT,
            prefetch_factor=ahead,
            seed=1,
            with_plan=True,
            drop_last=drop_last,
        )
        self.next_visited: set[int] = set()  # what the next iterator's epoch has visited before

    def teardown(self) -> None:
        if self.loader is not None:
            self.loader.close()

    def look(self, batch, seen: dict) -> None:
        images, _, plan = batch
        assert seen["epoch"] in (None, plan.epoch)
        seen["epoch"] = plan.epoch
        for sample, image in zip(plan["index"].tolist(), images, strict=True):
            assert sample not in seen["samples"], "a sample twice in an epoch"
            seen["samples"].add(sample)
            assert torch.equal(self.images.setdefault((plan.epoch, sample), image.clone()), image)

    def ended(self, seen: dict) -> None:
        if seen["samples"]:
            left = N - len(seen["samples"])
            assert left < (self.loader.batch_size if self.drop_last else 1)

    @rule()
    def iterate(self) -> None:
        # What an iterator begins with is decided by its first batch, so it is asked for here.
        iterator, seen = iter(self.loader), {"epoch": None, "samples": set(self.next_visited)}
        begun = self.loader._next
        try:
            batch = next(iterator)
        except StopIteration:
            assert len(self.next_visited) > N - self.loader.batch_size
        else:
            if batch[2].epoch != begun.epoch:
                seen["samples"] = set()  # another iterator has the number: a later epoch, from its start
            self.look(batch, seen)
            self.iterators.append((iterator, seen))
        if self.loader._next != begun:
            self.next_visited = set()

    @precondition(lambda self: self.iterators)
    @rule(which=st.integers(0, 99), count=st.integers(1, 4))
    def go_on(self, which: int, count: int) -> None:
        iterator, seen = self.iterators[which % len(self.iterators)]
        for _ in range(count):
            try:
                self.look(next(iterator), seen)
            except StopIteration:
                self.ended(seen)
                self.iterators.remove((iterator, seen))
                break
        self.forget()

    def forget(self) -> None:
        if not self.loader._next.consumed:
            self.next_visited = set()

    @precondition(lambda self: self.iterators)
    @rule(which=st.integers(0, 99))
    def drop(self, which: int) -> None:
        del self.iterators[which % len(self.iterators)]

    @rule(epoch=st.integers(0, 5))
    def set_epoch(self, epoch: int) -> None:
        self.loader.set_epoch(epoch)
        self.forget()

    @precondition(lambda self: self.iterators)
    @rule(how=st.sampled_from(["state", "copy", "pickle", "other batch size"]))
    def resume(self, how: str) -> None:
        """The oldest iterator's place is saved, and all goes on from there in another loader."""
        unfinished = [(it, seen) for it, seen in self.iterators if not it.complete]
        iterator, seen = (unfinished or self.iterators)[0]
        place = self.loader._place()
        if place != iterator.place:  # set_epoch or an end came since
            return
        state = json.loads(json.dumps(self.loader.state_dict()))
        assert (state["epoch"], state["consumed"]) == (place.epoch, len(seen["samples"]))
        if how == "copy":
            other = copy.deepcopy(self.loader)
        elif how == "pickle":
            other = pickle.loads(pickle.dumps(self.loader))
        else:
            size = 3 if how == "other batch size" else self.loader.batch_size
            other = fa.loader(
                (PIXELS, [0] * N),
                size,
                True,
                augment=AUGMENT,
                seed=1,
                with_plan=True,
                drop_last=self.drop_last,
            )
            other.load_state_dict(state)
        self.loader.close()
        self.loader, self.iterators, self.next_visited = other, [], set(seen["samples"])

    @precondition(lambda self: self.iterators)
    @rule(which=st.integers(0, 99))
    def fork(self, which: int) -> None:
        """What a forked process gets of an iterator is what this one gets."""
        iterator, seen = self.iterators[which % len(self.iterators)]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                rest = [plan["index"].tolist() for _, _, plan in iterator]
                os.write(writing, json.dumps(rest).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            told = json.loads(file.read())
        os.waitpid(child, 0)
        got = []
        for batch in iterator:
            self.look(batch, seen)
            got.append(batch[2]["index"].tolist())
        assert told == got
        self.ended(seen)
        self.iterators.remove((iterator, seen))
        self.forget()


TestLoaders = Loaders.TestCase
TestLoaders.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLoaders = pytest.mark.timeout(120)(pytest.mark.filterwarnings("ignore::DeprecationWarning")(TestLoaders))
