"""The line from samples to a finished batch, and the two threads that walk it ahead of the user."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from .batch import Executor
from .decode import Crops, Decoder
from .draw import Planner
from .errors import DecodeError
from .index import Index
from .plan import BatchPlan
from .sampler import Samples
from .targets import hard_targets, soft_targets

log = logging.getLogger("fastaug")


@dataclass(frozen=True)
class Batch:
    """A finished batch: images on the device, targets, and the plan that made them."""

    images: torch.Tensor
    targets: torch.Tensor
    plan: BatchPlan


class Engine:
    """Plans and decodes on one thread, resamples and mixes on another, batch after batch.

    Both stages spread their work over ``threads`` threads of their own (DALI's and the executor's),
    so two consecutive batches overlap. It knows nothing of the Loader, which can therefore be
    collected while threads are idle.
    """

    def __init__(
        self, index: Index, planner: Planner, executor: Executor, *, batch_size: int, threads: int,
        soft_classes: int | None, label_smoothing: float, rank: int, rank_keyed: bool,
        skip_bad: bool, device: torch.device,
    ) -> None:  # fmt: skip
        self.index, self.planner, self.executor = index, planner, executor
        self.decoder = Decoder(index, batch_size, threads)
        self.bad_files = {int(i): "no readable image header" for i in index.bad}
        self._soft_classes, self._label_smoothing = soft_classes, label_smoothing
        self._rank, self._rank_keyed, self._skip_bad = rank, rank_keyed, skip_bad
        self._device = device
        self._decoding = ThreadPoolExecutor(1, "fastaug-decode")
        self._finishing = ThreadPoolExecutor(1, "fastaug-finish")

    def submit(self, epoch: int, samples: Samples) -> Future[Batch]:
        """Starts a batch; they are carried out in the order of the calls."""
        decoded = self._decoding.submit(lambda: self._decode(self._plan(epoch, samples)))
        return self._finishing.submit(lambda: self._finish(*decoded.result()))

    def replay(self, plan: BatchPlan) -> Batch:
        """Carries out a plan again."""
        decoded = self._decoding.submit(lambda: (plan, self.decoder.decode(plan)))
        return self._finishing.submit(lambda: self._finish(*decoded.result())).result()

    def close(self, wait: bool = False) -> None:
        """Ends the threads; what has not begun is dropped."""
        self._decoding.shutdown(wait, cancel_futures=True)
        self._finishing.shutdown(wait, cancel_futures=True)
        self.executor.close()
        self.decoder.close()

    def _plan(self, epoch: int, samples: Samples) -> BatchPlan:
        index, where = self.index, samples.index
        index.refresh(where)
        return self.planner.plan(
            where, samples.occurrence, samples.repeat, index.source.labels[where],
            index.height[where].astype("i8").clip(1), index.width[where].astype("i8").clip(1),
            epoch=epoch, step=samples.step, rank=self._rank, rank_keyed=self._rank_keyed,
        )  # fmt: skip

    def _decode(self, plan: BatchPlan) -> tuple[BatchPlan, Crops]:
        try:
            return plan, self.decoder.decode(plan)
        except DecodeError as error:
            for i, name, reason in error.bad:
                if self.bad_files.setdefault(i, reason) is reason:
                    log.warning("fastaug: %s cannot be decoded: %s", name, reason)
            bad = {i for i, _, _ in error.bad}
            keep = [k for k, i in enumerate(plan["index"]) if int(i) not in bad]
            if not self._skip_bad or not keep:
                raise
            shorter = plan.take(keep)
            return shorter, self.decoder.decode(shorter)

    def _finish(self, plan: BatchPlan, crops: Crops) -> Batch:
        images = self.executor.run(plan, self.executor.resample(plan, crops))
        if self._soft_classes is None:
            targets = hard_targets(plan)
        else:
            targets = soft_targets(plan, self._soft_classes, self._label_smoothing)
        return Batch(images, targets.to(self._device), plan)
