"""The line from samples to a finished batch, and the threads that walk it ahead of the user."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from .batch import Executor
from .decode import Crops, Decoder
from .device import Device, Mark
from .draw import Planner
from .errors import DecodeError
from .index import Index
from .plan import BatchPlan
from .sampler import Samples
from .targets import hard_targets, soft_targets

log = logging.getLogger("fastaug")


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
        self, index: Index, planner: Planner, decoder: Decoder, executor: Executor, device: Device, *,
        soft_classes: int | None, label_smoothing: float, rank: int, rank_keyed: bool, skip_bad: bool,
    ) -> None:  # fmt: skip
        self.index, self.planner, self.decoder = index, planner, decoder
        self.executor, self.device = executor, device
        self.bad_files = {int(i): "no readable image header" for i in index.bad}
        self._soft_classes, self._label_smoothing = soft_classes, label_smoothing
        self.rank, self._rank_keyed, self._skip_bad = rank, rank_keyed, skip_bad
        self._read: deque[tuple[Mark, torch.Tensor]] = deque()
        self._planning = ThreadPoolExecutor(1, "fastaug-plan")
        self._decoding = ThreadPoolExecutor(decoder.lanes, "fastaug-decode")
        self._finishing = ThreadPoolExecutor(1, "fastaug-finish")

    def submit(self, epoch: int, samples: Samples) -> Future[Batch]:
        """Starts a batch; they are carried out in the order of the calls."""
        planned = self._planning.submit(self._plan, epoch, samples)
        decoded = self._decoding.submit(lambda: self._decode(planned.result(), self._skip_bad))
        return self._finishing.submit(lambda: self._finish(*decoded.result()))

    def replay(self, plan: BatchPlan) -> Batch:
        """Carries out a plan again."""
        decoded = self._decoding.submit(lambda: self._decode(plan, skip_bad=False))
        return self._finishing.submit(lambda: self._finish(*decoded.result())).result()

    def receive(self, batch: Batch) -> None:
        """Makes a batch ready for use on the caller's current stream."""
        self.device.receive(batch.mark, (batch.images, batch.targets))

    def close(self, wait: bool = False) -> None:
        """Ends the threads; what has not begun is dropped."""
        for stage in (self._planning, self._decoding, self._finishing):
            stage.shutdown(wait, cancel_futures=True)
        self.executor.close()
        self.decoder.close()

    def _plan(self, epoch: int, samples: Samples) -> BatchPlan:
        index, where = self.index, samples.index
        index.refresh(where)
        return self.planner.plan(
            where, samples.occurrence, samples.repeat, index.source.labels[where],
            index.height[where].astype("i8").clip(1), index.width[where].astype("i8").clip(1),
            epoch=epoch, step=samples.step, rank=self.rank, rank_keyed=self._rank_keyed,
        )  # fmt: skip

    def _decode(self, plan: BatchPlan, skip_bad: bool) -> tuple[BatchPlan, Crops | torch.Tensor]:
        with self.device.working():
            try:
                return plan, self.decoder.decode(plan)
            except DecodeError as error:
                for i, name, reason in error.bad:
                    if self.bad_files.setdefault(i, reason) is reason:
                        log.warning("fastaug: %s cannot be decoded: %s", name, reason)
                bad = {i for i, _, _ in error.bad}
                keep = [k for k, i in enumerate(plan["index"]) if int(i) not in bad]
                if not skip_bad or not keep:
                    raise
                shorter = plan.take(keep)
                return shorter, self.decoder.decode(shorter)

    def _finish(self, plan: BatchPlan, decoded: Crops | torch.Tensor) -> Batch:
        if self._soft_classes is None:
            targets = hard_targets(plan)
        else:
            targets = soft_targets(plan, self._soft_classes, self._label_smoothing)
        with self.device.working():
            pixels = self.executor.resample(plan, decoded) if isinstance(decoded, Crops) else decoded
            images = self.executor.run(plan, pixels)
            targets = self.device.upload(targets)
            mark = self.device.mark()
        # DALI may use its memory again as soon as nobody holds it, whatever the stream still reads.
        self._read.append((mark, pixels))
        while self._read and self._read[0][0].query():
            self._read.popleft()
        return Batch(images, targets, plan, mark)
