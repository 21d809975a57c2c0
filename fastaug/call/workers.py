"""Who calls a data set: worker processes of torch's own DataLoader, threads, or the thread that asks for a
batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data._utils import worker as torch_worker

from ..sampling.epoch import Ticket
from ..sampling.given import preserved
from .aside import aside
from .samples import Answer, Calling, answered
from .transforms import take_out, taken_out


@dataclass(frozen=True)
class Workers:
    """Who calls a data set; DataLoader's arguments.

    Attributes:
        number: how many; 0: the thread that asks for a batch.
        kind: "process" or "thread".
        init_fn: called in each process at its start.
        context: the processes' start method.
        persistent: keep them from epoch to epoch.
        prefetch: batches ahead for each.
    """

    number: int
    kind: str = "process"
    init_fn: Callable[[int], None] | None = None
    context: Any = None
    persistent: bool = False
    prefetch: int = 2

    def loader(self, dataset: Any, requests: Any = None, generator: torch.Generator | None = None) -> Any:
        """torch's loader with these workers; it raises for what torch does not accept."""
        options: dict[str, Any] = {}
        if self.kind == "process":
            options.update(num_workers=self.number, persistent_workers=self.persistent)
            options.update(multiprocessing_context=self.context, worker_init_fn=_Started(self.init_fn))
            options.update(prefetch_factor=self.prefetch if self.number else None)
        return DataLoader(
            dataset, batch_size=None, sampler=requests, collate_fn=_as_it_is, generator=generator, **options
        )


class Team(Protocol):
    """Those who call a data set for one owner, or for all."""

    @property
    def broken(self) -> bool:
        """It gives no answers any more."""

    def ask(self, ticket: Ticket) -> None:
        """Puts a ticket behind the others."""

    def begin(self) -> None:
        """The first tickets are asked for."""

    def answer(self, ticket: Ticket) -> Answer:
        """What was found for a ticket; waits for it, and raises what kept it from being found."""

    def doing(self, ticket: Ticket) -> str:
        """Who is at work for it, and on which sample."""

    def close(self) -> None:
        """Ends the work."""


class Here:
    """The thread that asks."""

    broken = False

    def __init__(self, calling: Calling) -> None:
        self._calling = calling
        self._found: WeakKeyDictionary[Ticket, Answer | BaseException] = WeakKeyDictionary()

    def ask(self, ticket: Ticket) -> None:
        try:
            self._found[ticket] = called_here(self._calling, ticket)
        except Exception as error:
            self._found[ticket] = error

    def begin(self) -> None:
        """Nothing is ahead."""

    def answer(self, ticket: Ticket) -> Answer:
        if ticket not in self._found:
            self.ask(ticket)
        found = self._found.pop(ticket)
        if isinstance(found, BaseException):
            raise found
        return found

    def doing(self, ticket: Ticket) -> str:
        return ""

    def close(self) -> None:
        """Nothing to end."""


def called_here(calling: Calling, ticket: Ticket) -> Answer:
    """Calls on this thread, whose random numbers go on afterwards as if nothing had been."""
    with preserved(), taken_out(calling.dataset) if calling.stripped else nullcontext():
        return answered(calling, ticket)


class Threads:
    """Threads: for data sets that spend their time outside of Python. Global random numbers are theirs
    together, so what is drawn of them is not keyed."""

    broken = False

    def __init__(self, calling: Calling, number: int) -> None:
        if calling.stripped:
            calling = replace(calling, dataset=aside(calling.dataset))
            take_out(calling.dataset)
        self._calling, self._pool = calling, ThreadPoolExecutor(number, "fastaug-call")
        self._asked: WeakKeyDictionary[Ticket, list[Future[Answer]]] = WeakKeyDictionary()

    def ask(self, ticket: Ticket) -> None:
        parts = [ticket.take(np.array([k])) for k in range(len(ticket.ids))]
        self._asked[ticket] = [self._pool.submit(answered, self._calling, part) for part in parts]

    def begin(self) -> None:
        """Threads start when there is work."""

    def answer(self, ticket: Ticket) -> Answer:
        parts = [future.result() for future in self._asked.pop(ticket)]
        height, width, kind = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("height", "width", "kind")
        )
        return Answer(height, width, kind, [p.items[0] for p in parts], [p.fields[0] for p in parts])

    def doing(self, ticket: Ticket) -> str:
        parts = self._asked.get(ticket, [])
        left = [int(i) for i, part in zip(ticket.ids, parts, strict=False) if part.running()]
        return f"a thread is calling sample {left[0]}" if left else ""

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Started:
    """Runs in a worker at its start: ``get_worker_info().dataset`` is the user's, as in a DataLoader."""

    init_fn: Callable[[int], None] | None

    def __call__(self, number: int) -> None:
        info = torch.utils.data.get_worker_info()
        if info is not None:
            work: Any = info.dataset
            if work.calling.stripped:
                take_out(work.calling.dataset)
            work.shared.pids[number] = os.getpid()
            torch_worker._worker_info = torch_worker.WorkerInfo(
                id=info.id, num_workers=info.num_workers, seed=info.seed, dataset=work.calling.dataset
            )
        if self.init_fn is not None:
            self.init_fn(number)


def _as_it_is(data: Any) -> Any:
    return data
