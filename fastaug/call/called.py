"""A data set that is called for its samples, as a source."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..checks import IN_MEMORY
from ..data.form import Form
from ..data.source import Described, Fault, Fetched, Ids
from ..errors import WorkerError
from ..sampling.epoch import Ticket
from .processes import Processes
from .samples import Answer, Calling, answered
from .workers import Here, Team, Threads, Workers, called_here

if TYPE_CHECKING:
    from ..build import Pipeline

BARE = Form("bare", None, (), None)


class Called:
    """A map-style data set, whose ``__getitem__`` is called as torch's DataLoader calls it.

    Args:
        calling: the data set, and how it is called.
        n: its number of samples.
        workers: who calls it.
        first: sample 0's image, or what its transform is given where that is taken out.
        why: which way was taken and why, for people.

    Raises:
        ValueError: when the image is none that the line takes.
    """

    in_memory = False

    def __init__(self, calling: Calling, n: int, workers: Workers, first: Any, why: str) -> None:
        self.calling, self.workers, self._n = calling, workers, n
        self.names = calling.form.names
        self.classes: list[str] | None = named_classes(calling.dataset)
        alone = replace(calling, dataset=[first], form=BARE, keyed=False)
        found = answered(alone, Ticket.of(np.zeros(1, np.int64)))
        if isinstance(found.items[0], Fault):
            raise ValueError(f"sample 0 of {calling.name}: {found.items[0].reason}")
        self._size = found.height, found.width
        by = f"{workers.number} {'worker processes' if workers.kind == 'process' else 'threads'}"
        self.summary = (
            f"{n:,} samples of {calling.name}, called by {by if workers.number else 'this process'}"
        )
        self.summary += f"{', keyed by sample' if calling.keyed else ', not keyed'}; {why}"

    def __len__(self) -> int:
        return self._n

    def sizes(self) -> tuple[Ids, Ids, Ids]:
        return np.zeros(1, np.int64), *self._size

    def bad(self) -> Ids:
        return np.zeros(0, np.int64)

    def largest_label(self) -> tuple[int, int] | None:
        return None

    def name(self, i: int) -> str:
        return f"sample {i} of {self.calling.name}{IN_MEMORY}"

    def reason(self, i: int) -> str:
        return ""

    def identity(self) -> dict[str, Any]:
        return {"samples": self._n, "names": self.calling.name, "labels": ""}


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
        """Ends what serves an owner: it does not answer any more."""
        self.end(owner)
        with self._lock:
            team, self._shared = self._shared, None
        if team is not None:
            team.close()

    def wait(self, pending: Any, ticket: Ticket, owner: Any, timeout: float) -> None:
        """Waits for a batch; workers that do not answer within so many seconds are ended.

        Raises:
            WorkerError: names the worker and the sample.
        """
        self._team(owner).begin()
        try:
            pending.wait(timeout)
        except RuntimeError as error:
            team = self._of.get(ticket)
            who = team.doing(ticket) if team is not None else ""
            if not who:
                raise
            self.failed(owner)
            owner.stop()
            raise WorkerError(f"{error}: {who}. The epoch ends here; the next has new workers") from error

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
        item = item if item is not None else Fault("no image")
        items.append(item)
        if isinstance(item, Fault):
            faults[k] = item.reason
    return Described(ticket.ids, answer.height, answer.width, answer.kind, fields, faults, items)


def length_of(dataset: Any) -> int:
    """The number of samples.

    Raises:
        TypeError, ValueError: when there is none.
    """
    name = type(dataset).__name__
    try:
        n = len(dataset)
    except (TypeError, NotImplementedError) as error:
        raise TypeError(
            f"{name} has no length ({error}); give it a __len__, from which samples are drawn"
        ) from None
    if not n:
        raise ValueError(f"{name} is empty; give at least one sample")
    return n


def named_classes(dataset: Any) -> list[str] | None:
    """Its class names, where it or what it wraps has some."""
    for _ in range(16):
        classes = getattr(dataset, "classes", None)
        if isinstance(classes, (list, tuple)) and classes and all(isinstance(c, str) for c in classes):
            return list(classes)
        dataset = getattr(dataset, "dataset", None)
        if dataset is None:
            return None
    return None
