"""Which samples, in which order, in which batch, on which rank: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from .draws import Draws, Ints, Passes
from .philox import EPOCH_BITS, MOST_VISITS, OCCURRENCE_BITS, U32, Keys

_AGAIN = MOST_VISITS >> 1  # visits that pad the last batch


@dataclass(frozen=True, eq=False)
class Ticket:
    """What is asked for: one rank's part of one batch, and all that its random numbers depend on.

    Attributes:
        ids: int64 ``[B]``, sample numbers.
        occurrence: uint32 ``[B]``, how often the epoch visited the sample before.
        repeat: bool ``[B]``, rows that only pad the last batch.
        seed: 0 to 2**64 - 1.
        epoch: the epoch, 0 to 2**20 - 1.
        step: the batch's number in the epoch, counted over all ranks together.
        rank: this process's number.
        rank_keyed: under a user's own sampler ranks may visit a sample both: draws then depend on the rank.
        offset: of a part of several data sets: what random numbers are keyed with is so much larger.
        view: of the samples, where they are shown in several.
    """

    ids: Ints
    occurrence: npt.NDArray[np.uint32]
    repeat: npt.NDArray[np.bool_]
    seed: int
    epoch: int
    step: int
    rank: int = 0
    rank_keyed: bool = False
    offset: int = 0
    view: int = 0

    @classmethod
    def of(cls, ids: Ints, *, seed: int = 0, epoch: int = 0, step: int = 0) -> Ticket:
        """A ticket for samples that the epoch visits for the first time."""
        ids = np.asarray(ids, np.int64)
        return cls(ids, np.zeros(len(ids), U32), np.zeros(len(ids), bool), seed, epoch, step)

    def take(self, rows: npt.NDArray[np.intp]) -> Ticket:
        """The same for some of its rows."""
        return replace(self, ids=self.ids[rows], occurrence=self.occurrence[rows], repeat=self.repeat[rows])

    @property
    def word(self) -> int:
        """The epoch as random numbers are keyed with it: with the rank, where that counts."""
        return self.epoch | (self.rank << EPOCH_BITS if self.rank_keyed else 0)

    def keys(self) -> Keys:
        """What the samples' random numbers depend on."""
        return Keys(self.seed, (self.ids + self.offset).astype(U32), self.word, self.visit)

    @property
    def visit(self) -> npt.NDArray[np.uint32]:
        """uint32 ``[B]``, each sample's occurrence with the view above it."""
        return self.occurrence | U32(self.view << OCCURRENCE_BITS)


@dataclass(frozen=True)
class Begin:
    """What a user's sampler draws its order from, besides the epoch's number, at the epoch's start.

    Attributes:
        rank: the process that it is about.
        world_size: number of processes.
        seeds: what the global generators are keyed with.
        held: kind and state of each generator that the sampler holds; None: as it is when the epoch starts.
    """

    rank: int
    world_size: int
    seeds: tuple[int, ...]
    held: tuple[tuple[str, Any], ...] | None = None


@dataclass(frozen=True)
class Place:
    """A place between two batches.

    Attributes:
        epoch: the epoch's number.
        consumed: samples of it that all ranks together have visited.
        digest: under a user's sampler, a checksum of those that this rank has visited.
        begin: with what the epoch began under a user's sampler; None: not known before it starts.
    """

    epoch: int = 0
    consumed: int = 0
    digest: int = 0
    begin: Begin | None = None

    def anew(self, epoch: int) -> Place:
        """The start of another epoch."""
        return Place(epoch, begin=self.begin and replace(self.begin, held=None))


class Order(Protocol):
    """Which samples an epoch visits on this rank, in which order and batches."""

    @property
    def batch_size(self) -> int:
        """Samples a batch, where the order decides that."""

    @property
    def drop_last(self) -> bool:
        """Whether a last, shorter batch is left out."""

    @property
    def rank(self) -> int:
        """This process's number."""

    @property
    def world_size(self) -> int:
        """The number of processes."""

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""

    @property
    def name(self) -> str:
        """What states and messages call it."""

    @property
    def visits(self) -> int:
        """Samples of an epoch on this rank, repeats included."""

    def begun(self, place: Place) -> Place:
        """The place, with what its epoch begins with."""

    def tickets(self, seed: int, place: Place, aside: bool) -> Iterator[tuple[Ticket, Place]]:
        """The batches behind a begun place, each with the place behind it."""


@dataclass(frozen=True)
class Epoch:
    """A pass over the data, or what is left of one: a value, which reading does not change.

    Attributes:
        order: where samples come from.
        seed: keys the order and the augmentations.
        place: what is behind it was visited before.
    """

    order: Order
    seed: int
    place: Place

    def begun(self) -> Epoch:
        """The same with what a user's sampler begins it with, so that it can be run again."""
        return replace(self, place=self.order.begun(self.place))

    def tickets(self, aside: bool = False) -> Iterator[tuple[Ticket, Epoch]]:
        """Each batch, with what is left behind it.

        Args:
            aside: leave the random generators that a user's sampler holds as they are.
        """
        for ticket, place in self.order.tickets(self.seed, self.place, aside):
            yield ticket, replace(self, place=place)


@dataclass(frozen=True)
class OwnOrder:
    """fastaug's own order: what is drawn for an epoch, divided among the ranks.

    Global batch g holds positions [g * batch_size * world_size, ...) of the epoch; a rank takes
    every world_size-th of them. The last one is split evenly and padded with fewer than world_size
    repeats of the epoch's first samples, so that all ranks have batches of one length.

    Args:
        draws: the sample at each position.
        batch_size: samples a batch and rank.
        drop_last: leave out the last, shorter batch.
        rank: this process's number.
        world_size: number of processes.
    """

    draws: Draws
    batch_size: int
    drop_last: bool
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        span = self.batch_size * self.world_size
        return self._length // span if self.drop_last else -(-self._length // span)

    @property
    def _length(self) -> int:
        if self.draws.length is None:
            raise TypeError("an endless epoch has no length; give epoch_length a number of samples")
        return self.draws.length

    @property
    def name(self) -> str:
        return self.draws.name

    @property
    def visits(self) -> int:
        return len(self) * self.batch_size if self.drop_last else -(-self._length // self.world_size)

    def begun(self, place: Place) -> Place:
        return place

    def tickets(self, seed: int, place: Place, aside: bool = False) -> Iterator[tuple[Ticket, Place]]:
        span, epoch, consumed, n = (
            self.batch_size * self.world_size,
            place.epoch,
            place.consumed,
            self.draws.length,
        )
        while n is None or consumed + (span if self.drop_last else 1) <= n:
            count = span if n is None else min(span, n - consumed)
            each = -(-count // self.world_size)
            position = consumed + self.rank + self.world_size * np.arange(each)
            repeat = np.zeros(each, bool) if n is None else position >= n
            if n is not None:
                position = np.where(repeat, (position - n) % n, position)
            ids, visits = self.draws.at(position, seed, epoch)
            visits = np.where(
                repeat, visits + 1 if isinstance(self.draws, Passes) else visits | _AGAIN, visits
            )
            step, consumed = consumed // span, consumed + count
            ticket = Ticket(ids, visits.astype(U32), repeat, seed, epoch, step, self.rank)
            yield ticket, replace(place, consumed=consumed)


def ranks(rank: int | None, world_size: int | None, alone: tuple[int, int] = (0, 1)) -> tuple[int, int]:
    """(rank, world_size), where they are not given from torch.distributed, or ``alone`` without it."""
    running = torch.distributed.is_available() and torch.distributed.is_initialized()
    if world_size is None:
        world_size = torch.distributed.get_world_size() if running else alone[1]
    if rank is None:
        rank = torch.distributed.get_rank() if running else alone[0]
    if rank >= world_size:
        raise ValueError(f"rank must be at most {world_size - 1}, as world_size is {world_size}, not {rank}")
    return rank, world_size
