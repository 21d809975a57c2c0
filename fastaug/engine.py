"""The line from samples to a finished batch, and the threads that walk it ahead of the user."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from .badfiles import BadFiles, StandIns
from .batch import Executor
from .decode import Crops, Decoder
from .device import Device, Mark
from .draw import Planner
from .errors import DecodeError
from .index import Index
from .plan import BatchPlan
from .sampler import Ticket
from .targets import hard_targets, soft_targets


@dataclass(frozen=True)
class Batch:
    """A finished batch: images and targets on the device, and the plan that made them.

    On a GPU they may still be under way: ``mark`` is what a stream has to wait for.
    """

    images: torch.Tensor
    targets: torch.Tensor
    plan: BatchPlan
    mark: Mark


class Engine:
    """Plans on one thread, decodes on one or two more, resamples and mixes on the last, in order.

    Decoding and finishing spread their work over threads of their own (DALI's and the executor's) or
    over the GPU, on a stream of the engine's own there, so consecutive batches overlap. It knows nothing
    of the Loader, which can therefore be collected while threads are idle.
    """

    def __init__(
        self,
        index: Index,
        planner: Planner,
        decoder: Decoder,
        executor: Executor,
        device: Device,
        *,
        soft_classes: int | None,
        label_smoothing: float,
        on_error: str,
        max_bad: int | None,
    ) -> None:
        self.index, self.planner, self.decoder = index, planner, decoder
        self.executor, self.device = executor, device
        self.bad = BadFiles(index, None if on_error == "raise" else max_bad)
        self._stand_ins = StandIns(index, planner)
        self._soft_classes, self._label_smoothing = soft_classes, label_smoothing
        self._on_error = on_error
        self._read: deque[tuple[Mark, torch.Tensor]] = deque()  # what the device may still be reading
        self._closed = False
        self._planning = ThreadPoolExecutor(1, "fastaug-plan")
        self._decoding = ThreadPoolExecutor(decoder.lanes, "fastaug-decode")
        self._finishing = ThreadPoolExecutor(1, "fastaug-finish")

    def submit(self, ticket: Ticket) -> Future[Batch]:
        """Starts a batch; they are carried out in the order of the calls."""
        planned = self._planning.submit(self._plan, ticket)
        decoded = self._decoding.submit(lambda: self._decode(planned.result(), self._on_error))
        return self._finishing.submit(lambda: self._finish(*decoded.result()))

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
        decoded = self._decoding.submit(lambda: self._decode(plan, "raise"))
        return self._finishing.submit(lambda: self._finish(*decoded.result())).result()

    def receive(self, batch: Batch) -> None:
        """Makes a batch ready for use on the caller's current stream."""
        self.device.receive(batch.mark, (batch.images, batch.targets))

    def close(self, wait: bool = False) -> None:
        """Ends the threads; what has not begun is dropped. What the device still reads is kept until then."""
        self._closed = True
        for stage in (self._planning, self._decoding, self._finishing):
            stage.shutdown(wait, cancel_futures=True)
        self._let_go()
        self.executor.close()
        self.decoder.close()

    def _let_go(self) -> None:
        """Drops the pixels that the device has read, when closing after waiting for it: DALI may use their
        memory again as soon as nobody holds it, whatever the stream still reads."""
        with suppress(IndexError):  # none is left; closing and the last batch's end may meet here
            while self._closed or self._read[0][0].query():
                mark, _held = self._read.popleft()
                mark.synchronize()

    def _plan(self, ticket: Ticket) -> BatchPlan:
        index = self.index
        index.refresh(ticket.ids)
        return self.planner.plan(ticket, *index.sizes(ticket.ids))

    def _decode(self, plan: BatchPlan, on_error: str) -> tuple[BatchPlan, Crops | torch.Tensor]:
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

    def _finish(self, plan: BatchPlan, decoded: Crops | torch.Tensor) -> Batch:
        labels = self.index.source.labels[plan["index"]]
        if self._soft_classes is None:
            targets = hard_targets(labels)
        else:
            targets = soft_targets(labels, plan, self._soft_classes, self._label_smoothing)
        with self.device.working():
            pixels = self.executor.resample(plan, decoded) if isinstance(decoded, Crops) else decoded
            images = self.executor.run(plan, pixels)
            targets = self.device.upload(targets)
            mark = self.device.mark()
        self._read.append((mark, pixels))
        self._let_go()
        return Batch(images, targets, plan, mark)
