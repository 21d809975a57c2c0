"""Memory that worker processes and the process that asks share: a batch's pixels, and what each worker does.

It lies in a file without a name (``memfd_create``), not in /dev/shm, so the size of that, 64 MB in a Docker
container, is no limit. Processes that were not forked off open it as a file of the process that made it.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np
import numpy.typing as npt

IDLE = -1


class Shared:
    """Slots of uint8, one for a batch that is under way each, and a note for each worker.

    Args:
        slots: how many.
        size: bytes of each.
        workers: number of workers.

    Attributes:
        doing: int64 ``[workers]``, the sample that each worker calls; ``IDLE`` between batches.
        pids: int64 ``[workers]``, their processes.
    """

    def __init__(self, slots: int, size: int, workers: int) -> None:
        self.slots, self.size, self.workers = slots, size, workers
        self._file, self._home = os.memfd_create("fastaug"), os.getpid()
        os.ftruncate(self._file, self._notes + slots * size)
        self._map()
        self.doing[:] = IDLE

    @property
    def _notes(self) -> int:
        return -(-16 * self.workers // mmap.PAGESIZE) * mmap.PAGESIZE

    def _map(self) -> None:
        self._memory = np.frombuffer(mmap.mmap(self._file, self._notes + self.slots * self.size), np.uint8)
        notes = self._memory[: 16 * self.workers].view(np.int64)
        self.doing, self.pids = notes[: self.workers], notes[self.workers :]

    def slot(self, number: int) -> npt.NDArray[np.uint8]:
        """The memory of a slot."""
        begin = self._notes + number * self.size
        return self._memory[begin : begin + self.size]

    def close(self) -> None:
        """Closes the file; the memory goes when no process maps it any more."""
        os.close(self._file)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_memory", "doing", "pids")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._file = os.open(f"/proc/{self._home}/fd/{self._file}", os.O_RDWR | os.O_CLOEXEC)
        self._map()
