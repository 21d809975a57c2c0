"""DALI decoding the boxes and nothing else: what no loader that decodes on these cores can pass."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from fastaug.decode.decoder import Decoder
from workloads import Job, Unsupported

from fastaug.data.datasets import as_source
from fastaug.data.index import read_index
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

from . import ours

TITLE = "decoding alone (DALI, ROI)"


def make(job: Job):
    """Plans of three epochs are drawn beforehand."""
    if job.device != "cpu":
        raise Unsupported("a ceiling of the CPU")
    augment = ours.augmentations("eval" if job.workload == "eval" else "crop")
    index = read_index(as_source(job.data))
    planner, n = Planner(augment), len(index.height)
    decoder = Decoder(index, job.batch, job.threads)

    def epoch(number: int):
        order = np.random.default_rng(number).permutation(n)
        for first in range(0, n, job.batch):
            which = order[first : first + job.batch]
            yield planner.plan(Ticket.of(which, epoch=number), *index.sizes(which))

    epochs = [list(epoch(number)) for number in range(3)]

    class Ceiling:
        turn = 0

        def __iter__(self):
            self.turn += 1
            plans = epochs[self.turn % 3]
            with ThreadPoolExecutor(decoder.lanes) as pool:  # as many batches at once as the loader has
                ahead = deque(pool.submit(decoder.decode, plan) for plan in plans[: 2 * decoder.lanes])
                for k, plan in enumerate(plans):
                    ahead.popleft().result()
                    if k + 2 * decoder.lanes < len(plans):
                        ahead.append(pool.submit(decoder.decode, plans[k + 2 * decoder.lanes]))
                    yield plan, None

    return Ceiling()
