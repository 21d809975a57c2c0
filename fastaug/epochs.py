"""The epochs of a loader: which iterator is where, and what is kept to go on from there."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from . import state as states
from .call.calls import wait
from .checks import whole
from .engine import Closed, Pending
from .errors import DecodeError, TooManyBadFiles, WorkerError
from .sampling.epoch import Epoch, Order, Place, Ticket, ranks
from .sampling.numbers import BatchNumbers, SampleNumbers, sample_numbers
from .sampling.philox import EPOCH_BITS

if TYPE_CHECKING:
    from .build import Pipeline
    from .loader import Loader


class EpochIterator(Iterator[Any]):
    """What ``iter(loader)`` gives: independent of the loader's other iterators.

    A batch stays at the head of the queue until it is delivered: an exception on the way, a signal's at any
    moment, leaves it to the next call. Python runs signals' handlers where something is called or a loop goes
    round, so what belongs together is done without calls between. There is no ``__del__``, in which an
    exception would be lost: batches that were made for an iterator that is gone are dropped by the engine.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.place: Place | None = None  # behind the last batch that was delivered; None: it has not begun
        self.left: Epoch | None = None  # what is left of the epoch, without batches that cannot be read
        self.finished = False  # at its end
        self.complete = False  # all batches are delivered
        self._ahead: deque[tuple[Ticket, Epoch, Pending | None]] = deque()
        self._tickets: Iterator[tuple[Ticket, Epoch]] | None = None  # behind the queue
        self._exhausted = False  # no more tickets
        self._process = os.getpid()

    def __next__(self) -> Any:
        loader, ahead = self._loader, self._ahead
        if loader.closed:
            self.finished = True
        if self.finished:
            raise StopIteration
        left = self.left or self._loader._begin(self)
        if self._process != os.getpid():
            self._forked()
        self._fill(left)
        if not ahead:
            self.finished = True
            loader._finished(self)
            raise StopIteration
        ticket, behind, pending = ahead[0]
        if pending is None:
            pending = loader._engine.submit(ticket, self)
            ahead[0] = ticket, behind, pending
        calls = loader._engine.calls
        if calls is None:
            pending.wait(loader.timeout)
        else:
            wait(calls, pending, ticket, self, loader.timeout)
        if self.finished:  # by a signal's handler
            raise StopIteration
        ahead[0] = ticket, behind, None  # made anew if it fails now: ``extra`` may change it in place
        try:
            packed = loader._pack(pending.result())
        except Closed:
            self.finished = True
            raise StopIteration from None
        except (TooManyBadFiles, WorkerError):
            self.stop()
            raise
        except DecodeError:
            self.left = behind
            del ahead[0]
            raise
        last = self._exhausted and len(ahead) == 1
        place, oldest = behind.place, loader._delivered(self, behind.place, last)
        self.left, self.place, self.complete = behind, place, last
        if oldest:
            loader._now = place
        del ahead[0]
        return packed

    def _forked(self) -> None:
        """In a process that was forked off, the batches ahead are made anew: their threads are not here."""
        for k, (ticket, behind, _) in enumerate(self._ahead):
            self._ahead[k] = ticket, behind, None
        self._process = os.getpid()

    def _fill(self, left: Epoch) -> None:
        """Starts batches until enough are ahead."""
        ahead, engine = self._ahead, self._loader._engine
        while len(ahead) <= self._loader._batches_ahead and not self._exhausted:
            tickets, self._tickets = self._tickets, None  # an exception ends it
            if tickets is None:
                tickets = (ahead[-1][1] if ahead else left).tickets()
            following = next(tickets, None)
            if following is None:
                self._exhausted = True
            else:
                ahead.append((*following, engine.submit(following[0], self)))
            self._tickets = tickets

    def stop(self) -> None:
        """Drops what is prepared; the iterator is at its end."""
        self.finished = True
        for _, _, pending in self._ahead:
            if pending is not None:
                pending.cancel()
        self._ahead = deque()
        self._loader._let_go(self)


class Epochs:
    """The part of a Loader that numbers epochs, hands out iterators, and saves and loads their places."""

    seed: int | None
    closed: bool
    generator: torch.Generator | None
    _arguments: dict[str, Any]
    _pipeline: Pipeline
    _identity: Callable[[], dict[str, Any]]
    _given_ranks: tuple[int | None, int | None]

    def _let_go(self, iterator: object) -> None:
        """An iterator wants no more."""

    def _at_the_start(self) -> None:
        """No epoch has begun."""
        self._ranks = ranks(*self._given_ranks)
        self._order = self._pipeline.order(*self._ranks)
        self._now = self._next = Place()  # behind what was delivered; where the next iterator begins
        self._decided = False  # whether the user said where that is
        self._iterators: list[weakref.ref[EpochIterator]] = []  # in the order of iter()

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return len(self._joined())

    @property
    def sampler(self) -> SampleNumbers:
        """Sample numbers of the epoch to come on this rank; its ``set_epoch`` is the loader's."""
        order = self._joined()

        def epoch() -> Epoch:
            return Epoch(self._joined(), self._seeded(), self._next)

        return sample_numbers(order, epoch, order.visits, self.set_epoch)

    @property
    def batch_sampler(self) -> BatchNumbers:
        """The same in batches."""
        order = self._joined()
        return BatchNumbers(self.sampler, len(order), order.batch_size, order.drop_last)

    def __iter__(self) -> EpochIterator:
        """The next epoch. It begins with its first batch: until then ``set_epoch`` and ``load_state_dict``
        still decide which."""
        if self.closed:
            raise RuntimeError("the loader is closed; make a new one")
        self._pipeline.unchanged()
        iterator = EpochIterator(self)  # type: ignore[arg-type]
        self._iterators = [weakref.ref(it) for it in (*self._unfinished(), iterator)]
        return iterator

    def _unfinished(self) -> list[EpochIterator]:
        """The iterators that somebody holds and that are not at their end, the oldest first."""
        held = (reference() for reference in self._iterators)
        return [iterator for iterator in held if iterator is not None and not iterator.finished]

    def _begin(self, iterator: EpochIterator) -> Epoch:
        """The epoch that an iterator begins with."""
        under_way = {it.place.epoch for it in self._unfinished() if it.place}
        place, spent = self._next, self._decided or not under_way
        while not spent and place.epoch in under_way:
            place = place.anew(place.epoch + 1)
        epoch = Epoch(self._joined(), self._seeded(), place).begun()
        place, following = epoch.place, Place(place.epoch + 1)
        oldest = self._unfinished()[:1] == [iterator]
        iterator.left, iterator.place = epoch, place  # from here on without calls
        if spent:
            self._next, self._decided = following, False
        if oldest:
            self._now = place
        return epoch

    def _delivered(self, iterator: EpochIterator, place: Place, last: bool) -> bool:
        """Whether the loader's place is that of the iterator, which is about to deliver a batch."""
        if last and place.epoch >= self._next.epoch and not self._decided:
            self._next = Place(place.epoch + 1)
        return self._unfinished()[:1] == [iterator]

    def _finished(self, iterator: EpochIterator) -> None:
        """An iterator came to its end. Older ones that have given all their batches count no more."""
        self._let_go(iterator)
        others = [other for other in self._unfinished() if not other.complete]
        if not others and iterator.place and iterator.place.epoch >= self._now.epoch:
            self._now = self._next
        self._iterators = [weakref.ref(other) for other in others]

    def _place(self) -> Place:
        """The place of the oldest iterator under way, or else of the last one that was."""
        oldest = min(self._unfinished(), key=lambda iterator: iterator.complete, default=None)
        return self._now if oldest is None else oldest.place or self._next

    def _joined(self) -> Order:
        """The order on this rank. torch.distributed may have been initialised after the loader was made."""
        now = ranks(*self._given_ranks, self._ranks)
        if now != self._ranks:
            self._order, self._ranks = self._pipeline.order(*now), now
        return self._order

    def _seeded(self) -> int:
        """The seed, drawn from torch's default generator where none was given and something is random."""
        if self.seed is None and (self._pipeline.random or self._order.name == "shuffled"):
            self.seed = agreed_seed(self._ranks[1], self.generator)
        return self.seed or 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iterator. After ``load_state_dict`` the same epoch keeps its place."""
        epoch = whole("epoch", epoch, 0, (1 << EPOCH_BITS) - 1)
        if epoch != self._next.epoch:
            self._now = self._next = self._next.anew(epoch)
        self._decided = True

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, as small JSON-able data: exact with batches being prepared ahead.

        It is the place of the oldest iterator that somebody still holds, or else of the last one there was. A
        batch counts when ``next()`` has given it, and not when an exception kept it from doing so. After an
        epoch's last batch it is that epoch's end, where the next ``iter()`` finds nothing; once the loop has
        ended, the next epoch's beginning. Under a user's own sampler it holds what this rank's order is drawn
        from, so each rank keeps its own, but where ``set_epoch`` alone decides the order.
        """
        place, seed = self._place(), self._seeded()
        place = place if place.consumed else self._joined().begun(place)
        return {**self._identity(), "order": self._order.name, "seed": seed, **states.saved(place)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next ``iter()`` goes on where ``state_dict()`` was taken, at any batch size and world_size
        (within an epoch of a user's own sampler, at the same world_size). Its seed is taken where the loader
        was given none. Iterators under way go on, and count no more for ``state_dict()``.

        Raises:
            ValueError: names what differs: data set, seed, order, drop_last or augment. The first batch
                raises one where a user's sampler does not give its order again.
        """
        expected = {**self._identity(), "order": self._order.name}
        if self._arguments["seed"] is not None:
            expected["seed"] = self.seed
        place, seed = states.place(state, expected)
        self._now = self._next = place
        self.seed, self._decided, self._iterators = seed, True, []


def agreed_seed(world_size: int, generator: torch.Generator | None) -> int:
    """A number from a generator, torch's default one or the user's, as DataLoader draws its own; of several
    ranks, rank 0's.

    Raises:
        ValueError: when ranks cannot tell each other.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator))
    if world_size == 1:
        return seed
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise ValueError(
            f"seed=None with world_size={world_size}, given by hand: ranks that torch.distributed does not "
            "join cannot agree on a seed; give all of them the same seed=..."
        )
    shared = [seed]
    torch.distributed.broadcast_object_list(shared, src=0)
    return shared[0]
