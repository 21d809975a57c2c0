"""Several processes as torchrun starts them: joining, sums over ranks, leaving."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Group:
    """This process among those of the run.

    Attributes:
        rank: its number, 0 for the one that writes.
        world_size: how many there are.
        device: what it trains on.
        own: whether the process group was made here, so that ``leave`` ends it.
    """

    rank: int
    world_size: int
    device: torch.device
    own: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over ranks, on every rank; the argument stays."""
        values = values.clone()
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def any(self, here: bool) -> bool:
        """Whether something is so on any rank, the same on every rank."""
        return bool(self.total(torch.tensor(int(here), device=self.device)).item())

    def together(self, work: Callable[[], None]) -> None:
        """Does work on every rank; where it fails on one, it fails on all.

        Raises:
            OSError, ValueError: what it raised here, or that it did elsewhere.
        """
        error: Exception | None = None
        try:
            work()
        except (OSError, ValueError) as failure:
            error = failure
        failed = self.any(error is not None)
        if error is not None:
            raise error
        if failed:
            raise ValueError("another rank cannot begin; see its message")

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world_size > 1:
            dist.barrier()

    def same_buffers(self, network: nn.Module) -> None:
        """Gives every rank rank 0's buffers (batch statistics), so that all test the same network."""
        if self.world_size > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, 0)


def join(device: str | None) -> Group:
    """Joins the processes that torchrun started; alone without it.

    Args:
        device: as the user names it; None: this process's GPU where there is one, else the CPU.
    """
    there = dist.is_available() and dist.is_initialized()
    size = dist.get_world_size() if there else int(os.environ.get("WORLD_SIZE", 1))
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if target.type == "cuda" and target.index is None:
        target = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if target.type == "cuda":
        use_gpu(target)
    if own := size > 1 and not there:
        dist.init_process_group("nccl" if target.type == "cuda" else "gloo")
    return Group(dist.get_rank() if size > 1 else 0, size, target, own)


def is_first() -> bool:
    """Whether this is rank 0, before or after the group is joined."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return int(os.environ.get("WORLD_SIZE", 1)) == 1 or int(os.environ.get("RANK", 0)) == 0


def use_gpu(device: torch.device) -> None:
    """Makes a GPU this process's current one, as NCCL wants it."""
    torch.cuda.set_device(device)


def leave(group: Group) -> None:
    """Ends the process group that ``join`` made; one that was there before stays."""
    if group.own and dist.is_initialized():
        dist.destroy_process_group()


def share_of_cores() -> int:
    """CPU cores of this process among those of its machine."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, len(os.sched_getaffinity(0)) // here)
