"""The line from a ticket to a finished batch, and the threads that walk it ahead of the user."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch

from .badfiles import BadFiles, StandIns
from .decode.decoder import Crops, Decoder
from .decode.nvidia import close_at_exit
from .device import GpuDevice, Mark
from .errors import DecodeError
from .execute import make_executor
from .plan.batch_plan import BatchPlan
from .plan.targets import hard_targets, soft_targets
from .sampling.epoch import Ticket

if TYPE_CHECKING:
    from .build import Pipeline

_DOING = "being planned", "being decoded", "being mixed"
_JOIN = 5.0  # seconds that closing waits for a thread: one that a broken disk holds is left behind


@dataclass(frozen=True)
class Batch:
    """A finished batch: images and targets on the device, and the plan that made them.

    On a GPU they may still be under way: ``mark`` is what a stream has to wait for.
    """

    images: torch.Tensor
    targets: torch.Tensor
    plan: BatchPlan
    mark: Mark


class Closed(RuntimeError):
    """The engine was closed before the batch was made."""


class Pending:
    """A batch that is being made for somebody: where nobody holds that owner any more, every stage drops it.

    Nothing here runs Python code on the waiting thread but a lock's own: a signal's handler may raise at any
    moment, and the batch can be waited for again.

    Args:
        ticket: what is asked for.
        owner: for whom it is made.
    """

    def __init__(self, ticket: Ticket, owner: object) -> None:
        self.ticket, self.stage = ticket, "waiting"
        self.plan: BatchPlan | None = None
        self.replayed = False  # its plan came from the user
        self.decoded: Crops | torch.Tensor | None = None
        self._owner = weakref.ref(owner)
        self._cancelled = self._done = False
        self._batch: Batch | None = None
        self._error: BaseException | None = None
        self._latch = threading.Lock()  # open once the batch is there
        self._latch.acquire()

    def dropped(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._cancelled or self._owner() is None

    def cancel(self) -> None:
        """Makes every stage drop it."""
        self._cancelled = True

    def finish(self, batch: Batch | None, error: BaseException | None = None) -> None:
        """Hands over what ``result`` gives or raises."""
        if not self._done:
            self._batch, self._error, self._done = batch, error, True
            self._latch.release()

    def wait(self, timeout: float = 0) -> None:
        """Waits until the batch is made, or failed.

        Args:
            timeout: seconds after which to give up; 0: never.

        Raises:
            RuntimeError: after that time, with what is waited for; the batch can be waited for again.
        """
        end = time.monotonic() + timeout
        while not self._done:
            left = end - time.monotonic() if timeout else -1.0
            if timeout and left <= 0:
                raise RuntimeError(
                    f"no batch came within timeout={timeout:g} seconds: batch {self.ticket.step} of epoch "
                    f"{self.ticket.epoch} (samples {self.ticket.ids[:3].tolist()} …) is still {self.stage}; "
                    "look at the disk that the files lie on, or give more time"
                )
            self._latch.acquire(timeout=left)

    def result(self) -> Batch:
        """The batch that was waited for; raises what went wrong while it was made."""
        if self._error is not None:
            raise self._error
        assert self._batch is not None
        return self._batch


class Engine:
    """Plans on one thread, decodes on one or two more, resamples and mixes on the last.

    Decoding and finishing spread their work over threads of their own (DALI's and the executor's) or
    over the GPU, on a stream of the engine's own there, so consecutive batches overlap. An engine belongs to
    the process that made it. It knows nothing of the Loader, which can therefore be collected while threads
    are idle.
    """

    def __init__(self, pipeline: Pipeline, bad: BadFiles) -> None:
        self.index, self.planner, self.device = pipeline.index, pipeline.planner, pipeline.device
        self.pipeline, self.bad, self.process = pipeline, bad, os.getpid()
        gpu = None if pipeline.decode.place == "cpu" else cast(GpuDevice, self.device)
        threads = pipeline.threads
        self.decoder = Decoder(self.index, pipeline.usual_batch, threads, pipeline.decode, gpu)
        # Scaling and mixing take a fifth of decoding's time: all together, about ``threads`` are busy.
        finishing = threads if self.index.source.arrays is not None else max(1, threads // 2)
        self.executor = make_executor(pipeline.executor, pipeline.output, self.device, finishing)
        self._stand_ins = StandIns(self.index, self.planner)
        self._read: deque[tuple[Mark, torch.Tensor]] = deque()  # what the device may still be reading
        self._closed = False
        self._queues = [SimpleQueue[Pending | None]() for _ in range(3)]
        stages = ("plan", self._plan), ("decode", self._decode), ("finish", self._finish)  # names of threads
        self._threads = [
            Thread(target=self._walk, args=(k, step), name=f"fastaug-{name}", daemon=True)
            for k, (name, step) in enumerate(stages)
            for _ in range(self.decoder.lanes if name == "decode" else 1)
        ]
        for thread in self._threads:
            thread.start()
        close_at_exit(self.close)

    def submit(self, ticket: Ticket, owner: object) -> Pending:
        """Starts a batch for ``owner``."""
        return self._started(Pending(ticket, owner), 0)

    def _started(self, pending: Pending, stage: int) -> Pending:
        if self._closed:
            raise Closed("the loader is closed; make a new one")
        self._queues[stage].put(pending)
        return pending

    def replay(self, plan: BatchPlan) -> Batch:
        """Carries out a plan again.

        Raises:
            ValueError: when it is out of bounds, or not for this data, size or GPU graph.
        """
        geometry = self.planner.geometry
        plan.check(
            self.index,
            size=geometry.size,
            interpolation=geometry.interpolation if self.decoder.scales else None,
        )
        ticket = Ticket.of(plan["index"], seed=plan.seed, epoch=plan.epoch, step=plan.step)
        pending = Pending(ticket, plan)
        pending.plan, pending.replayed = plan, True
        self._started(pending, 1).wait()
        return pending.result()

    def receive(self, batch: Batch) -> None:
        """Makes a batch ready for use on the caller's current stream."""
        self.device.receive(batch.mark, (batch.images, batch.targets))

    def close(self) -> None:
        """Ends the threads after what each is doing; all else is dropped. What the device still reads is kept
        until then. Nothing happens in a process that was forked off: there are no threads there."""
        if self._closed or os.getpid() != self.process:
            return
        self._closed = True
        for queue in self._queues:
            for _ in self._threads:
                queue.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN)
        self._let_go()
        self.executor.close()
        self.decoder.close()

    def _walk(self, number: int, step: Callable[[Pending], None]) -> None:
        """A stage's thread: takes what the stage before has done, and hands it on."""
        queue, following = self._queues[number], self._queues[number + 1 :][:1]
        while (pending := queue.get()) is not None:
            if self._closed:
                pending.finish(None, Closed("the loader was closed"))
            elif not pending.dropped():
                pending.stage = _DOING[number]
                try:
                    step(pending)
                    for after in following:
                        after.put(pending)
                except BaseException as error:  # the waiting thread raises it
                    pending.finish(None, error)
            del pending  # and with it a batch's memory, while this thread waits

    def _let_go(self) -> None:
        """Drops the pixels that the device has read, when closing after waiting for it: DALI may use their
        memory again as soon as nobody holds it, whatever the stream still reads."""
        with suppress(IndexError):  # none is left; closing and the last batch's end may meet here
            while self._closed or self._read[0][0].query():
                mark, _held = self._read.popleft()
                mark.synchronize()

    def _plan(self, pending: Pending) -> None:
        ticket = pending.ticket
        self.index.refresh(ticket.ids)
        pending.plan = self.planner.plan(ticket, *self.index.sizes(ticket.ids))

    def _decode(self, pending: Pending) -> None:
        assert pending.plan is not None
        on_error = "raise" if pending.replayed else self.pipeline.on_error
        pending.plan, pending.decoded = self._decoded(pending.plan, on_error)

    def _decoded(self, plan: BatchPlan, on_error: str) -> tuple[BatchPlan, Crops | torch.Tensor]:
        first = asked = plan
        draws: dict[int, int] = {}
        with self.device.working():
            while True:
                self.bad.check()
                try:
                    if on_error != "raise":  # what failed before is tried alone, and not all with it
                        self.decoder.try_alone(plan, self._doubtful(plan))
                    return plan, self.decoder.decode(plan)
                except DecodeError as error:
                    self.bad.note(error)
                    if on_error == "raise":
                        raise
                    self.bad.check()
                    keep = [k for k in range(len(plan)) if k not in error.rows]
                    if on_error == "skip" and keep:
                        asked, plan = asked.take(keep), plan.take(keep)
                        continue
                    if on_error == "skip":  # a rank without a batch would leave the others waiting
                        asked = first.take([0])
                        plan, error.rows = asked, [0]
                    plan = self._stand_ins.replace(asked, plan, error.rows, draws)

    def _doubtful(self, plan: BatchPlan) -> npt.NDArray[np.intp]:
        """Rows that cannot be read, or could not once."""
        failed = [int(i) in self.bad for i in plan["index"]]
        return np.flatnonzero(np.array(failed, bool) | ~self.index.usable(plan["index"]))

    def _finish(self, pending: Pending) -> None:
        plan, decoded = pending.plan, pending.decoded
        assert plan is not None
        assert decoded is not None
        labels = self.index.source.labels[plan["index"]]
        if self.pipeline.classes is None:
            targets = hard_targets(labels)
        else:
            targets = soft_targets(labels, plan, self.pipeline.classes, self.pipeline.label_smoothing)
        with self.device.working():
            pixels = self.executor.resample(plan, decoded) if isinstance(decoded, Crops) else decoded
            images = self.executor.run(plan, pixels)
            targets = self.device.upload(targets)
            mark = self.device.mark()
        self._read.append((mark, pixels))
        self._let_go()
        pending.finish(Batch(images, targets, plan, mark))
