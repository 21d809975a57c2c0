"""Worker processes of torch's own DataLoader, which call a data set and make the crops of what it gives."""

from __future__ import annotations

import pickle
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ..data.form import portable, restored
from ..data.source import Cropped, Fault
from ..errors import WorkerError
from ..machine.device import Pool
from ..plan.planner import AnyPlanner
from ..sampling.epoch import Ticket
from .rows import Rows
from .samples import Answer, Calling, cropped
from .shared import IDLE, Shared
from .workers import Workers


@dataclass(frozen=True)
class Work:
    """What torch's workers take for the data set: they ask it for batches, by request.

    Attributes:
        calling: the data set.
        planner: draws the crops.
        shared: where pixels go.
    """

    calling: Calling
    planner: AnyPlanner
    shared: Shared

    def __len__(self) -> int:
        return 1 << 62

    def __getitem__(self, request: tuple[int, Ticket] | None) -> bytes | None:
        """A request's answer, packed; the pixels go into its slot."""
        if request is None:
            return None
        slot, ticket = request
        info = torch.utils.data.get_worker_info()
        planner = self.planner.at(ticket.epoch)
        number = 0 if info is None else info.id
        out = Rows(self.shared.slot(slot), len(ticket.ids), planner.sizes, self.calling.raster)
        telling = _Note(self.shared, number)
        try:
            answer: Answer | Exception = cropped(self.calling, planner, ticket, out, telling)
        except Exception as error:  # the machine's
            answer = error
        self.shared.doing[number] = IDLE
        if isinstance(answer, Answer):
            answer.fields = [None if fields is None else portable(fields) for fields in answer.fields]
        return _packed(answer, self.calling.name)


@dataclass(frozen=True)
class _Note:
    shared: Shared
    number: int

    def __call__(self, sample: int) -> None:
        self.shared.doing[self.number] = sample


def _packed(answer: Answer | Exception, name: str) -> bytes:
    try:
        return pickle.dumps(answer, 5)
    except Exception as error:
        what = answer if isinstance(answer, Exception) else "what it gives"
        message = f"{name}: {what} cannot be sent between processes ({error}); let it give plain data"
        return pickle.dumps(TypeError(message), 5)


class Ended(RuntimeError):
    """The workers were ended. Made anew each time: a kept one would keep its frames, and those the memory."""

    def __init__(self) -> None:
        super().__init__("the workers were ended")


class Processes:
    """Worker processes of torch's DataLoader, which answer in the order of asking.

    torch asks for as many requests as its workers hold, at the start and for each that was answered; where
    there is no ticket yet, it gets one that is answered at once.

    Args:
        calling: the data set.
        planner: draws the crops.
        workers: how many, and how they start.
        batch: samples of a usual batch, whose pixels a slot holds.
    """

    def __init__(self, calling: Calling, planner: AnyPlanner, workers: Workers, batch: int) -> None:
        self._calling, self._planner, self._workers = calling, planner, workers
        slots = workers.number * workers.prefetch + 1
        self._shared = Shared(slots, batch * planner.pixels * calling.raster.bytes, workers.number)
        self._free, self._memory = deque(range(slots)), Pool()
        self._waiting: deque[Ticket] = deque()
        self._sent: deque[tuple[Ticket, int] | None] = deque()
        self._found: WeakKeyDictionary[Ticket, Answer | Exception] = WeakKeyDictionary()
        self._begun, self._lock, self._closed = threading.Event(), threading.Lock(), False
        self._error: Exception | None = None
        self._iterator: Any = None

    @property
    def broken(self) -> bool:
        return self._closed or self._error is not None

    def ask(self, ticket: Ticket) -> None:
        self._waiting.append(ticket)

    def begin(self) -> None:
        if self._begun.is_set() or self._closed:
            return
        work = Work(self._calling, self._planner, self._shared)
        try:
            generator = torch.Generator().manual_seed(0)  # or torch would draw from the user's
            with warnings.catch_warnings():  # said when the loader was made
                warnings.simplefilter("ignore")
                self._iterator = iter(self._workers.loader(work, _Requests(self._requests), generator))
            _apart(self._iterator)
        except Exception as error:
            self._error = error
            raise
        finally:
            self._begun.set()

    def _requests(self) -> Iterator[tuple[int, Ticket] | None]:
        while True:
            if self._waiting and self._free:
                ticket, slot = self._waiting.popleft(), self._free.popleft()
                self._sent.append((ticket, slot))
                yield slot, ticket
            else:
                self._sent.append(None)
                yield None

    def answer(self, ticket: Ticket) -> Answer:
        self._begun.wait()
        with self._lock:
            while ticket not in self._found:
                if self._closed:
                    raise Ended()
                if self._error is not None:
                    raise self._error
                self._take()
            found = self._found.pop(ticket)
        if isinstance(found, Exception):
            raise found
        return found

    def _take(self) -> None:
        """Takes the next answer."""
        try:
            data = next(self._iterator)
        except Exception as error:
            if self._closed:
                raise Ended() from None
            self._error = WorkerError(self._lost()) if self._dead() else error
            raise self._error from error
        sent = self._sent.popleft()
        if sent is None or data is None:
            return
        ticket, slot = sent
        answer = pickle.loads(data)
        if isinstance(answer, Answer):
            self._unpack(answer, slot, self._planner.at(ticket.epoch).sizes)
        self._free.append(slot)
        self._found[ticket] = answer

    def _unpack(self, answer: Answer, slot: int, sizes: Sequence[tuple[int, int]]) -> None:
        """Takes the pixels out of their slot, which is free then."""
        room, raster, most = self._shared.slot(slot), self._calling.raster, len(answer.items)
        out = Rows(room, most, sizes, raster).bytes
        pixels = Rows(self._memory.take(out.shape, np.uint8).reshape(-1), len(out), sizes, raster)
        pixels.bytes[:] = out
        for k, item in enumerate(answer.items):
            if item is None:
                answer.items[k] = (
                    Cropped(pixels.images(k)) if k < len(out) else Fault("its size does not fit")
                )
        answer.fields = [None if fields is None else restored(fields) for fields in answer.fields]

    def _dead(self) -> list[tuple[int, Any]]:
        """The workers that have ended, with their numbers."""
        processes = getattr(self._iterator, "_workers", [])
        return [(k, p) for k, p in enumerate(processes) if not p.is_alive()]

    def _lost(self) -> str:
        said = []
        for number, process in self._dead():
            code = process.exitcode
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            said.append(f"worker {number} (pid {process.pid}) {how}{self._while(number)}")
        return (
            f"{'; '.join(said)}, calling {self._calling.name}. The epoch ends here, and the next one has new "
            "workers. SIGKILL is often the machine's answer to too little memory: take a smaller num_workers"
        )

    def _while(self, number: int) -> str:
        sample = int(self._shared.doing[number])
        return "" if sample == IDLE else f" at sample {sample}"

    def doing(self, ticket: Ticket) -> str:
        numbers = [n for n in range(self._workers.number) if int(self._shared.doing[n]) in ticket.ids]
        pids = self._shared.pids
        said = [f"worker {n} (pid {pids[n]}) is calling sample {self._shared.doing[n]}" for n in numbers]
        return " and ".join(said)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._begun.set()
        if self._iterator is not None:
            _ended(self._iterator)
            self._iterator = None  # or its pipes would stay open until a collection
        self._shared.close()


@dataclass(frozen=True)
class _Requests:
    """torch's sampler: what each worker is to do next."""

    requests: Callable[[], Iterator[Any]]

    def __iter__(self) -> Iterator[Any]:
        return self.requests()

    def __len__(self) -> int:
        return 1 << 62


def _apart(iterator: Any) -> None:
    """Keeps torch's handler of SIGCHLD from raising in whatever the main thread does when a worker ends: it
    is noticed when its answer is waited for, and said with worker and sample."""
    if getattr(iterator, "_worker_pids_set", False):
        torch._C._remove_worker_pids(id(iterator))
        iterator._worker_pids_set = False


def _ended(iterator: Any) -> None:
    """Ends torch's workers; those that are in the middle of a batch for longer than a second are
    terminated."""
    processes = getattr(iterator, "_workers", [])
    done = getattr(iterator, "_workers_done_event", None)
    if done is not None:
        done.set()
    for queue in getattr(iterator, "_index_queues", []):
        queue.put(None)  # or an idle worker would wait for five seconds
    for process in processes:
        process.join(_PATIENCE / max(1, len(processes)))
    for process in processes:
        if process.is_alive():
            process.terminate()
    results = getattr(iterator, "_worker_result_queue", None)
    if results is not None:  # a thread that waits for an answer would look in five seconds only
        results.cancel_join_thread()
        results.put((iterator._rcvd_idx, None))
        results.close()  # and with it the thread that puts
    end = getattr(iterator, "_shutdown_workers", None)
    if end is not None:
        end()


_PATIENCE = 1.0  # seconds
