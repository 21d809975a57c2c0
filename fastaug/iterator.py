"""One pass over a loader's data, a few batches ahead of its user."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .engine import Closed, Pending
from .errors import DecodeError, TooManyBadFiles
from .sampling.epoch import Epoch, Place, Ticket

if TYPE_CHECKING:
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
        pending.wait(loader.timeout)
        if self.finished:  # by a signal's handler
            raise StopIteration
        ahead[0] = ticket, behind, None  # made anew if it fails now: ``extra`` may change it in place
        try:
            packed = loader._pack(pending.result())
        except Closed:
            self.finished = True
            raise StopIteration from None
        except TooManyBadFiles:
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
