"""A user's own ``sampler`` or ``batch_sampler``: run here alone, and the same again on a resume."""

from __future__ import annotations

import base64
import operator
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

from .draws import Ints
from .epoch import Begin, Place, Ticket
from .philox import MOST_VISITS, U32, Keys, Stream

# What torch.manual_seed, random.seed and numpy.random.seed set.
GLOBAL: tuple[Any, ...] = (
    torch.default_generator,
    random.random.__self__,  # type: ignore[attr-defined]
    np.random.random.__self__,  # type: ignore[attr-defined]
)
_REMEDY = "or use shuffle=True, the loader's own; loader.set_epoch() begins an epoch anew"
Cut = Callable[[Iterator[Any]], Iterator[list[int]]]


class Given:
    """A user's sampler with the random numbers that it draws.

    torch's, Python's and NumPy's global generators are others' as well, so what a sampler draws of them is
    keyed: one number of each, drawn when the sampler is first needed, and the epoch say all. Generators that
    the sampler holds go on from epoch to epoch as they would without us.

    Args:
        sampler: iterable of sample numbers, or None.
        batch_sampler: iterable of lists of sample numbers, or None.

    Raises:
        TypeError: for what cannot be iterated over, or only once.
    """

    def __init__(self, sampler: object, batch_sampler: object) -> None:
        self.batched = batch_sampler is not None
        self.sampler: Any = batch_sampler if self.batched else sampler
        self.name = type(self.sampler).__name__
        self._seeds: tuple[int, ...] = ()
        self._last: object = None
        if isinstance(self.sampler, Iterator):
            raise self._once()
        if not hasattr(self.sampler, "__iter__") and not hasattr(self.sampler, "__getitem__"):
            raise TypeError(
                f"a {self.name} cannot be iterated over; give a list of sample numbers, or an "
                "object whose __iter__ begins anew each time"
            )

    def begin(self, rank: int, world_size: int) -> Begin:
        """What an epoch would begin with now."""
        self._seeds = self._seeds or _drawn()
        held = tuple((type(g).__name__, state_of(g)) for g in self._held())
        return Begin(rank, world_size, self._seeds, held)

    def run(
        self, cut: Cut, epoch: int | None, begin: Begin, *, aside: bool, times: int = 1
    ) -> Iterator[list[int]]:
        """Runs the sampler from its start.

        Args:
            cut: makes lists of what the sampler's iterator gives.
            epoch: told to its ``set_epoch``; None: the sampler stays as it is.
            begin: the random numbers that it draws.
            aside: leave the generators that it holds as they are; otherwise they go on.
            times: so often in a row.

        Raises:
            ValueError: when ``begin`` has states of other generators than the sampler holds.
        """
        held, states = self._held(), begin.held or ()
        kinds, expected = [type(g).__name__ for g in held], [kind for kind, _ in states]
        if kinds != expected:
            raise ValueError(
                f"the state's {self.name} held {expected or 'no generators'}, and the loader's "
                f"holds {kinds or 'none'}; make it as it was made then, {_REMEDY}"
            )
        keyed, own = _keyed(begin.seeds, epoch or 0), [state for _, state in states]
        pulled = self._cut(cut, epoch, times)
        if aside:
            return _apart(pulled, [*GLOBAL, *held], [*keyed, *own])
        self._seeds = begin.seeds
        for generator, state in zip(held, own, strict=True):
            put_state(generator, state)
        return _apart(pulled, GLOBAL, keyed)

    def _cut(self, cut: Cut, epoch: int | None, times: int) -> Iterator[list[int]]:
        for part in self._parts():
            if epoch is not None and hasattr(part, "set_epoch"):
                part.set_epoch(epoch)
        for _ in range(times):
            numbers = iter(self.sampler)
            if numbers is self._last:
                raise self._once()
            self._last = numbers
            yield from cut(numbers)

    def _parts(self) -> list[Any]:
        """The sampler and those within it."""
        found, todo = {}, [self.sampler]
        while todo:
            part = todo.pop()
            if id(part) not in found:
                found[id(part)] = part
                todo += [
                    value
                    for name, value in getattr(part, "__dict__", {}).items()
                    if name in ("sampler", "batch_sampler") or isinstance(value, Sampler)
                ]
        return list(found.values())

    def _held(self) -> list[Any]:
        """The generators that the sampler and those within it hold."""
        kinds = torch.Generator, random.Random, np.random.Generator, np.random.RandomState
        values = chain.from_iterable(getattr(part, "__dict__", {}).values() for part in self._parts())
        held = {id(v): v for v in values if isinstance(v, kinds) and not isinstance(v, random.SystemRandom)}
        return [v for v in held.values() if not any(v is g for g in GLOBAL)]

    def _once(self) -> TypeError:
        return TypeError(
            f"a {self.name} gives its order once, and every epoch needs one; give a list, or an "
            "object whose __iter__ begins anew each time"
        )


def _drawn() -> tuple[int, ...]:
    """A number of each global generator."""
    return (
        int(torch.empty((), dtype=torch.int64, device="cpu").random_()),
        random.getrandbits(63),
        int(np.random.randint(2**63 - 1, dtype=np.int64)),
    )


def _keyed(seeds: tuple[int, ...], epoch: int) -> list[Any]:
    """States of the global generators."""
    words = (Keys(s, np.zeros(1, U32), epoch).words(Stream.ORDER)[:2, 0].tolist() for s in seeds)
    (a, b), (c, d), both = words
    made = torch.Generator().manual_seed(b << 32 | a), random.Random(d << 32 | c), np.random.RandomState(both)
    return [state_of(generator) for generator in made]


def state_of(generator: Any) -> Any:
    """A generator's state: JSON-able where arrays become lists."""
    if isinstance(generator, torch.Generator):
        return base64.b64encode(generator.get_state().numpy().tobytes()).decode()
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state(legacy=False)


def put_state(generator: Any, state: Any) -> None:
    """Sets what ``state_of`` gave, JSON's lists too."""
    if isinstance(generator, torch.Generator):
        generator.set_state(torch.frombuffer(bytearray(base64.b64decode(state)), dtype=torch.uint8))
    elif isinstance(generator, random.Random):
        version, internal, normal = state
        generator.setstate((version, tuple(internal), normal))
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


@contextmanager
def preserved() -> Iterator[None]:
    """Afterwards the generators are as they were."""
    states = states_now()
    try:
        yield
    finally:
        restore(states)


def states_now() -> list[Any]:
    """States of Python's, NumPy's and torch's generators."""
    return [state_of(generator) for generator in GLOBAL]


def restore(states: list[Any]) -> None:
    """Sets them as they were."""
    for generator, state in zip(GLOBAL, states, strict=True):
        put_state(generator, state)


def _apart(pulled: Iterator[list[int]], generators: Sequence[Any], states: list[Any]) -> Iterator[list[int]]:
    """Iterates; meanwhile the generators go on from the states, and otherwise they are as they were."""
    while True:
        outside = [state_of(generator) for generator in generators]
        try:
            for generator, state in zip(generators, states, strict=True):
                put_state(generator, state)
            batch = next(pulled, None)
            states = [state_of(generator) for generator in generators]
        finally:
            for generator, state in zip(generators, outside, strict=True):
                put_state(generator, state)
        if batch is None:
            return
        yield batch


@dataclass(frozen=True)
class GivenOrder:
    """The order of a user's sampler, which replaces ours on every rank.

    Args:
        n: number of samples; indices must be below it.
        given: the sampler.
        batch_size: samples a batch, where the sampler gives no batches.
        drop_last: leave out the last, shorter batch, likewise.
        rank: this process's number.
        world_size: number of processes, to count consumed samples.
    """

    n: int
    given: Given
    batch_size: int
    drop_last: bool
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        """Batches of an epoch; a TypeError when the sampler has no length."""
        count = len(self.given.sampler)
        if self.given.batched:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    @property
    def name(self) -> str:
        return f"of a {self.given.name}"

    @property
    def visits(self) -> int:
        """Samples of an epoch; a batch sampler is run once to count them."""
        if self.given.batched:
            begin = self.given.begin(self.rank, self.world_size)
            return sum(map(len, self.given.run(self._cut(0), None, begin, aside=True)))
        count = len(self.given.sampler)
        return count - count % self.batch_size if self.drop_last else count

    def begun(self, place: Place) -> Place:
        """The place with what its epoch begins with on this rank.

        Another rank's place is taken where the sampler gives the same again though its random numbers differ.

        Raises:
            ValueError: when this rank's place cannot be known from the other's.
        """
        begin, own = place.begin, self.given.begin(self.rank, self.world_size)
        known = begin is not None and (begin.rank, begin.world_size) == (self.rank, self.world_size)
        if begin is None or not (known or place.consumed):
            return replace(place, begin=own)
        if known:
            return place if begin.held is not None else replace(place, begin=replace(begin, held=own.held))
        name = self.given.name
        if begin.world_size != self.world_size:
            raise ValueError(
                f"the state was taken by {begin.world_size} ranks within an epoch, and here are "
                f"{self.world_size}; a {name} has its own way to divide samples among them, so "
                f"go on with as many, {_REMEDY}"
            )
        skip = place.consumed // self.world_size
        first, second = self.given.run(self._prefix(skip), place.epoch, own, aside=True, times=2)
        if first != second or len(first) != skip:
            raise ValueError(
                f"the state is that of rank {begin.rank}, and a {name} gives another order each "
                f"time, so rank {self.rank}'s place is not known; save and load each rank's own "
                f"state, let set_epoch() alone decide the order, {_REMEDY}"
            )
        return replace(place, digest=_digest(self._checked(first, {})[0]), begin=own)

    def tickets(self, seed: int, place: Place, aside: bool = False) -> Iterator[tuple[Ticket, Place]]:
        """The batches behind a begun place, each with the place behind it. The sampler is run again from its
        start to resume.

        Raises:
            IndexError: when the sampler gives what is no sample's number.
            ValueError: when it does not give again what it gave up to the place.
        """
        assert place.begin is not None
        skip = place.consumed // self.world_size
        visited = digest = 0
        seen: dict[int, int] = {}
        lists = self.given.run(self._cut(skip), place.epoch, place.begin, aside=aside)
        first = 0 if self.given.batched or not skip else skip // self.batch_size - 1
        for step, batch in enumerate(lists, first):
            done = batch[: max(0, skip - visited)]
            left = batch[len(done) :]
            if done:
                index, _ = self._checked(done, seen)
                visited, digest = visited + len(done), _digest(index, digest)
                if visited == skip and digest != place.digest:
                    raise self._other(place, skip)
            if visited < skip or (done and not left):
                continue
            index, occurrence = self._checked(left, seen)
            visited, digest = visited + len(left), _digest(index, digest)
            none = np.zeros(len(left), bool)
            ticket = Ticket(index, occurrence, none, seed, place.epoch, step, self.rank, rank_keyed=True)
            yield ticket, replace(place, consumed=visited * self.world_size, digest=digest)
        if visited < skip:
            raise self._other(place, skip)

    def _cut(self, skip: int) -> Cut:
        """Batches of what the sampler gives; where it gives none itself, what is skipped is the first."""

        def batches(numbers: Iterator[Any]) -> Iterator[list[int]]:
            if self.given.batched:
                yield from ([operator.index(i) for i in batch] for batch in numbers)
                return
            if skip:
                yield [operator.index(i) for i in islice(numbers, skip)]
            while batch := [operator.index(i) for i in islice(numbers, self.batch_size)]:
                if len(batch) == self.batch_size or not self.drop_last:
                    yield batch

        return batches

    def _prefix(self, skip: int) -> Cut:
        """The first numbers, as one list."""

        def prefix(numbers: Iterator[Any]) -> Iterator[list[int]]:
            flat = chain.from_iterable(numbers) if self.given.batched else numbers
            yield [operator.index(i) for i in islice(flat, skip)]

        return prefix

    def _checked(self, batch: list[int], seen: dict[int, int]) -> tuple[Ints, npt.NDArray[np.uint32]]:
        """Sample numbers as an array, and how often each was seen before; counts on."""
        occurrence = np.empty(len(batch), U32)
        for k, i in enumerate(batch):
            if not 0 <= i < self.n:
                raise IndexError(
                    f"the sampler gave sample {i}; the data set has {self.n}, numbered 0 to {self.n - 1}"
                )
            visits = seen.get(i, 0)
            if visits == MOST_VISITS:
                raise ValueError(
                    f"the sampler gave sample {i} more than {MOST_VISITS} times in an epoch: no more have "
                    "random numbers of their own; end the epoch earlier"
                )
            occurrence[k], seen[i] = visits, visits + 1
        return np.array(batch, np.int64), occurrence

    def _other(self, place: Place, skip: int) -> ValueError:
        return ValueError(
            f"run again, a {self.given.name} gave other samples than the first {skip} of epoch {place.epoch} "
            "were, so what is left of it is not known; let its order depend on set_epoch(), global random "
            "numbers, or a torch.Generator, random.Random or NumPy generator that is an attribute of it, and "
            f"let it keep no place of its own, {_REMEDY}"
        )


def _digest(index: Ints, before: int = 0) -> int:
    """A checksum of sample numbers behind those of another."""
    return zlib.crc32(index.astype("<i8").tobytes(), before)
