"""The line from a ticket to a finished batch, and the threads that walk it ahead of the user."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from .badfiles import BadFiles, StandIns
from .call.called import Called
from .call.calls import Asked, Calls
from .call.mixture import OpenParts, Parts
from .data.source import Described, Fault, Item, Opened, Stack
from .decode.canvas import Canvas
from .decode.decoders import Router, close_at_exit
from .decode.jobs import boxes_of, jobs_of
from .decode.scale import lent
from .errors import DecodeError
from .execute.batches import mapped
from .execute.label_maps import LabelMaps
from .machine.device import GpuDevice, Mark, Pool
from .machine.limits import with_remedy
from .plan.check import check_views
from .plan.planner import usable
from .plan.views_plan import Plan, ViewsPlan
from .sampling.epoch import Ticket

if TYPE_CHECKING:
    from .build import Pipeline

_DOING = "being planned", "being decoded", "being mixed"
_JOIN = 5.0  # seconds that closing waits for a thread: one that a broken disk holds is left behind


@dataclass(frozen=True)
class Batch:
    """A finished batch: images on the device, or a list of them where there are views, with what comes with
    them, and the plan that made them.

    On a GPU they may still be under way: ``mark`` is what a stream has to wait for.
    """

    images: torch.Tensor | list[torch.Tensor]
    fields: tuple[Any, ...]
    plan: Plan
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
        self.plan: Plan | None = None
        self.described: Described | None = None
        self.fields: npt.NDArray[Any] = np.zeros(0, np.int64)  # what comes with the plan's rows
        self.replayed = False  # its plan came from the user
        self.canvas: Canvas | None = None
        self.keep: list[int] | None = None  # rows of the canvas that are the plan's; None: all
        self.owner = weakref.ref(owner)
        self._cancelled = self._done = False
        self._batch: Batch | None = None
        self._error: BaseException | None = None
        self._latch = threading.Lock()  # open once the batch is there
        self._latch.acquire()

    def dropped(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._cancelled or self.owner() is None

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


def opened(pipeline: Pipeline) -> tuple[Opened, Asked | None]:
    """The source at work; and what is asked for batches ahead, where a data set is called."""
    source = pipeline.source
    if isinstance(source, Called):
        calls = Calls(source, pipeline)
        return calls, calls
    if isinstance(source, Parts):
        parts = OpenParts(source, pipeline)
        return parts, parts
    return cast(Opened, source), None


class Engine:
    """Plans on one thread, decodes and scales on one or two more, and mixes on the last.

    Decoding and finishing spread their work over threads of their own (DALI's, the scaler's, the executor's)
    or over the GPU, on a stream of the engine's own there, so consecutive batches overlap. An engine belongs
    to the process that made it. It knows nothing of the Loader, which can therefore be collected while
    threads are idle.
    """

    def __init__(self, pipeline: Pipeline, bad: BadFiles) -> None:
        self.source, self.calls = opened(pipeline)
        self.planner, self.device = pipeline.planner, pipeline.device
        self.pipeline, self.bad, self.process = pipeline, bad, os.getpid()
        gpu = cast(GpuDevice, self.device) if pipeline.decode.place == "gpu" else None
        threads = pipeline.threads
        # Finishing takes a tenth of decoding's time: all together, about ``threads`` are busy.
        in_memory = pipeline.source.in_memory
        finishing = threads if in_memory else max(1, threads // 2)
        self.decoder = Router(pipeline.decode, pipeline.usual_batch, threads, gpu)
        self.executor = pipeline.make_executor(pipeline.output, finishing)
        maps, target = pipeline.batches.maps, pipeline.batches.form.target or 0
        self.maps = LabelMaps(threads, target) if maps else None
        self._memory = Pool()
        self._read: deque[tuple[Mark, Canvas, Any]] = deque()  # what the device may still read
        self._closed = False
        self._queues = [SimpleQueue[Pending | None]() for _ in range(3)]
        lanes = 1 if in_memory else self.decoder.lanes
        stages = ("plan", self._plan), ("decode", self._decode), ("finish", self._finish)  # names of threads
        self._threads = [
            Thread(target=self._walk, args=(k, step), name=f"fastaug-{name}", daemon=True)
            for k, (name, step) in enumerate(stages)
            for _ in range(lanes if name == "decode" else 1)
        ]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError as error:
            self.close()
            raise with_remedy(error) from error
        close_at_exit(self.close)

    def submit(self, ticket: Ticket, owner: object) -> Pending:
        """Starts a batch for ``owner``."""
        self._ask(ticket, owner)
        return self._started(Pending(ticket, owner), 0)

    def _ask(self, ticket: Ticket, owner: object) -> None:
        if self.calls is not None:
            self.calls.ask(ticket, owner)

    def _started(self, pending: Pending, stage: int) -> Pending:
        if self._closed:
            raise Closed("the loader is closed; make a new one")
        self._queues[stage].put(pending)
        return pending

    def replay(self, plan: Plan) -> Batch:
        """Carries out a plan again.

        Raises:
            ValueError: when it is out of bounds, or not for this data or size.
        """
        planner = self.planner.at(plan.epoch)
        described = check_views(plan.views, self.source, planner.sizes)
        assert described is not None
        pending = Pending(plan.ticket(), plan)
        pending.plan, pending.replayed = plan, True
        pending.described = usable(planner, described)
        self._started(pending, 1).wait()
        return pending.result()

    def receive(self, batch: Batch) -> None:
        """Makes a batch ready for use on the caller's current stream."""
        tensors = list[torch.Tensor]()
        mapped(tensors.append, (batch.images, batch.fields))
        self.device.receive(batch.mark, tensors)

    def close(self) -> None:
        """Ends the threads after what each is doing; all else is dropped. What the device still reads is kept
        until then. Nothing happens in a process that was forked off: there are no threads there."""
        if self._closed or os.getpid() != self.process:
            return
        self._closed = True
        if self.calls is not None:
            self.calls.close()  # so that no thread waits for what it would give
        for queue in self._queues:
            for _ in self._threads:
                queue.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(_JOIN)
        self._let_go()
        self.executor.close()
        self.decoder.close()
        if self.maps is not None:
            self.maps.close()

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
                    pending.finish(None, with_remedy(error))
            del pending  # and with it a batch's memory, while this thread waits

    def _let_go(self) -> None:
        """Drops the pixels that the device has read, when closing after waiting for it: DALI may use their
        memory again as soon as nobody holds it, whatever the stream still reads."""
        with suppress(IndexError):  # none is left; closing and the last batch's end may meet here
            while self._closed or self._read[0][0].query():
                mark, *_held = self._read.popleft()
                mark.synchronize()

    def _plan(self, pending: Pending) -> None:
        ticket = pending.ticket
        planner = self.planner.at(ticket.epoch)
        described = usable(planner, self.source.describe(ticket))
        pending.plan = planner.plan(ticket, described.height, described.width)
        pending.described = described

    def _decode(self, pending: Pending) -> None:
        with self.device.working():
            plan, canvas, pending.keep = self._decoded(pending)
        rows = pending.keep if pending.keep is not None else range(len(plan))
        pending.plan, pending.canvas = plan.decoded([canvas.decoders[k] for k in rows]), canvas

    def _decoded(self, pending: Pending) -> tuple[Plan, Canvas, list[int] | None]:
        """The plan that is carried out, with other samples or without where files are bad; the canvas, and
        which of its rows are the plan's."""
        plan, described = pending.plan, pending.described
        assert plan is not None
        assert described is not None
        on_error = "raise" if pending.replayed else self.pipeline.on_error
        if self.bad.reasons:
            self.bad.check()
        n = len(plan)
        lends = self.executor.takes_unscaled and not any(len(view.ops) for view in plan.views)
        sizes = [view.size for view in plan.views]
        canvas = Canvas(self.device, self._memory, n, sizes, self.pipeline.raster, lends=lends)
        faults = self._fill(canvas, plan, described, np.arange(n), pending)
        pending.fields = described.fields
        if not faults:
            return plan, canvas, None
        self._note(plan, faults)
        if on_error == "raise":
            raise self._error(plan, faults)
        keep = [k for k in range(n) if k not in faults]
        if on_error == "skip" and keep:
            pending.fields = pending.fields[keep]
            return plan.take(keep), canvas, keep
        if on_error == "skip":  # a rank without a batch would leave the others waiting
            faults = {0: faults[0]}
        asked, draws, owner = plan, dict[int, int](), pending.owner()
        stand_ins = StandIns(
            self.source, self.planner.at(plan.epoch), lambda ticket: self._ask(ticket, owner)
        )
        while faults and not pending.dropped():
            rows = sorted(faults)
            plan, described = stand_ins.replace(asked, plan, rows, draws)
            faults = self._fill(canvas, plan, described, np.array(rows), pending)
            pending.fields[rows] = described.fields
            self._note(plan, faults)
        if on_error == "skip":
            pending.fields = pending.fields[:1]
            return plan.take([0]), canvas, [0]
        return plan, canvas, None

    def _fill(
        self,
        canvas: Canvas,
        plan: Plan,
        described: Described,
        rows: npt.NDArray[np.intp],
        pending: Pending,
    ) -> dict[int, str]:
        """Decodes some rows of a plan onto the canvas.

        Args:
            canvas: has a row for each of the plan's.
            plan: the batch.
            described: the images of these rows.
            rows: which, ascending.
            pending: for whom.

        Returns:
            For each row whose image cannot be read, why.
        """
        asked, faults = rows, {int(rows[k]): why for k, why in described.faults.items()}
        sound = np.array([k for k in range(len(rows)) if k not in described.faults], np.intp)
        rows, kinds = rows[sound], described.kind[sound]
        if not len(rows):
            return faults
        fetched = self.source.fetch(described, sound, boxes_of(plan, rows))
        items: Sequence[Item]
        if isinstance(fetched, Stack):
            items = [] if lent(plan, rows, fetched, canvas) else fetched
        else:
            faults |= {int(rows[k]): item.reason for k, item in enumerate(fetched) if isinstance(item, Fault)}
            read = np.array([k for k, item in enumerate(fetched) if not isinstance(item, Fault)], np.intp)
            rows, kinds = rows[read], kinds[read]
            items = [item for item in fetched if not isinstance(item, Fault)]
        found = self.decoder.run(jobs_of(plan, rows, items, kinds), canvas, pending.dropped) if items else {}
        faults |= {int(rows[k]): why for k, why in found.items()}
        return faults if self.maps is None else faults | self.maps.follow(plan, described, asked, faults)

    def _note(self, plan: Plan, faults: dict[int, str]) -> None:
        """Remembers bad files, and raises when they are too many."""
        if faults:
            self.bad.note(self._error(plan, faults))
            if self.pipeline.on_error != "raise":
                self.bad.check()

    def _error(self, plan: Plan, faults: dict[int, str]) -> DecodeError:
        index = {k: int(plan.views[0]["index"][k]) for k in sorted(faults)}
        name = self.pipeline.source.name
        return DecodeError([(i, name(i), faults[k]) for k, i in index.items()], list(index))

    def _finish(self, pending: Pending) -> None:
        plan, canvas = pending.plan, pending.canvas
        assert plan is not None
        assert canvas is not None
        fields = self.pipeline.batches.fields(pending.fields, plan)
        with self.device.working():
            pixels = [canvas.pixels(k, pending.keep) for k in range(len(plan.views))]
            made = [self.executor.run(view, each) for view, each in zip(plan.views, pixels, strict=True)]
            delivered = [self.pipeline.output.delivered(images) for images in made]
            fields = mapped(self.device.upload, fields)
            mark = self.device.mark()
        self._read.append((mark, canvas, pixels))
        self._let_go()
        images = delivered if isinstance(plan, ViewsPlan) else delivered[0]
        pending.finish(Batch(images, fields, plan, mark))
