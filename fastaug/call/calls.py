"""A data set at work that is called for its samples: who calls it for which batch."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..data.source import Described, Fault, Fetched, Ids
from ..errors import WorkerError
from ..sampling.epoch import Ticket
from .called import Called
from .processes import Processes
from .samples import Answer, Picture
from .workers import Here, Team, Threads, called_here

if TYPE_CHECKING:
    from ..build import Pipeline


class Asked(Protocol):
    """What is asked for batches ahead, each for an owner."""

    def ask(self, ticket: Ticket, owner: object) -> None:
        """A ticket that will be described: the calls may begin now."""

    def begin(self, owner: object) -> None:
        """An owner's first tickets are asked for."""

    def doing(self, ticket: Ticket) -> str:
        """Who is at work for a ticket, and on which sample; "" where nobody is."""

    def end(self, owner: object) -> None:
        """An owner wants no more."""

    def failed(self, owner: object) -> None:
        """Ends what serves an owner: it does not answer any more."""

    def close(self) -> None:
        """Ends all."""


def wait(asked: Asked, pending: Any, ticket: Ticket, owner: Any, timeout: float) -> None:
    """Waits for a batch; workers that do not answer within so many seconds are ended.

    Raises:
        WorkerError: names the worker and the sample.
    """
    asked.begin(owner)
    try:
        pending.wait(timeout)
    except RuntimeError as error:
        who = asked.doing(ticket)
        if not who:
            raise
        asked.failed(owner)
        owner.stop()
        raise WorkerError(f"{error}: {who}. The epoch ends here; the next has new workers") from error


class Calls:
    """The same at work, in one process.

    Args:
        called: the data set.
        pipeline: the loader's.
    """

    def __init__(self, called: Called, pipeline: Pipeline) -> None:
        self._called, self._pipeline = called, pipeline
        self._teams: weakref.WeakKeyDictionary[Any, Team] = weakref.WeakKeyDictionary()
        self._of: weakref.WeakKeyDictionary[Ticket, Team] = weakref.WeakKeyDictionary()
        self._shared: Team | None = None  # serves all owners
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._called)

    def name(self, i: int) -> str:
        return self._called.name(i)

    def _team(self, owner: object) -> Team:
        with self._lock:
            if self._shared is not None and not self._shared.broken:
                return self._shared
            if owner not in self._teams:
                team = self._made()
                workers = self._called.workers
                if workers.kind == "process" and workers.number and not workers.persistent:
                    self._teams[owner] = team
                    weakref.finalize(owner, team.close)
                else:
                    if self._shared is not None:
                        self._shared.close()
                    self._shared = team
                return team
            return self._teams[owner]

    def _made(self) -> Team:
        calling, workers = self._called.calling, self._called.workers
        if not workers.number:
            return Here(calling)
        if workers.kind == "thread":
            return Threads(calling, workers.number)
        return Processes(calling, self._pipeline.planner, workers, self._pipeline.usual_batch)

    def ask(self, ticket: Ticket, owner: object) -> None:
        team = self._of[ticket] = self._team(owner)
        team.ask(ticket)

    def end(self, owner: object) -> None:
        team = self._teams.pop(owner, None)
        if team is not None:
            team.close()

    def failed(self, owner: object) -> None:
        self.end(owner)
        with self._lock:
            team, self._shared = self._shared, None
        if team is not None:
            team.close()

    def begin(self, owner: object) -> None:
        self._team(owner).begin()

    def doing(self, ticket: Ticket) -> str:
        team = self._of.get(ticket)
        return team.doing(ticket) if team is not None else ""

    def describe(self, ticket: Ticket) -> Described:
        """What the data set gave; what was not asked for ahead is asked for here and now."""
        team = self._of.get(ticket)
        if team is not None:
            return described(ticket, team.answer(ticket))
        return described(ticket, called_here(self._called.calling, ticket))

    def fetch(self, described: Described, which: Ids, boxes: npt.NDArray[np.int32]) -> Fetched:
        """Hands over."""
        assert described.items is not None
        return [described.items[k] for k in which.tolist()]

    def close(self) -> None:
        for team in [*self._teams.values(), self._shared]:
            if team is not None:
                team.close()


def described(ticket: Ticket, answer: Answer) -> Described:
    """An answer as the line takes it."""
    fields = np.empty(len(ticket.ids), object)
    faults, items = dict[int, str](), []
    for k, (item, field) in enumerate(zip(answer.items, answer.fields, strict=True)):
        fields[k] = field
        item = Fault("no image") if item is None or isinstance(item, Picture) else item
        items.append(item)
        if isinstance(item, Fault):
            faults[k] = item.reason
    return Described(ticket.ids, answer.height, answer.width, answer.kind, fields, faults, items)
