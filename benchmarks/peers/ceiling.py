"""DALI decoding the boxes and nothing else: what no loader that decodes on these cores can pass."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from workloads import Job, Unsupported

from fastaug.data.opening import open_source
from fastaug.decode.canvas import Canvas
from fastaug.decode.decoders import Router
from fastaug.decode.graphs import Decode
from fastaug.decode.jobs import boxes_of, jobs_of
from fastaug.machine.device import PlainDevice, Pool
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

from . import ours

TITLE = "decoding alone (DALI, ROI)"


def make(job: Job):
    """Plans of three epochs are drawn beforehand."""
    if job.device != "cpu":
        raise Unsupported("a ceiling of the CPU")
    augment = ours.augmentations("eval" if job.workload == "eval" else "crop")
    source = open_source(job.data)
    planner, n = Planner(augment), len(source)
    size = (1, 1)  # of the output: nothing but decoding takes time
    router = Router(Decode("dali"), job.batch, job.threads, None)
    device, memory = PlainDevice(torch.device("cpu")), Pool()

    def epoch(number: int):
        order = np.random.default_rng(number).permutation(n)
        for first in range(0, n, job.batch):
            which = order[first : first + job.batch]
            sizes = source.describe(Ticket.of(which))
            yield planner.plan(Ticket.of(which, epoch=number), sizes.height, sizes.width), sizes

    def decode(plan, described):
        rows = np.arange(len(plan))
        jobs = jobs_of(plan, rows, source.fetch(described, rows, boxes_of(plan, rows)), described.kind)
        jobs.views["filter"], jobs.views["size"] = 0, size  # nearest, to one pixel
        faults = router.run(jobs, Canvas(device, memory, len(plan), [size]))
        assert not faults

    epochs = [list(epoch(number)) for number in range(3)]

    class Ceiling:
        turn = 0

        def __iter__(self):
            self.turn += 1
            plans = epochs[self.turn % 3]
            with ThreadPoolExecutor(router.lanes) as pool:  # as many batches at once as the loader has
                ahead = deque(pool.submit(decode, *plan) for plan in plans[: 2 * router.lanes])
                for k, (plan, _) in enumerate(plans):
                    ahead.popleft().result()
                    if k + 2 * router.lanes < len(plans):
                        ahead.append(pool.submit(decode, *plans[k + 2 * router.lanes]))
                    yield plan, None

    return Ceiling()
