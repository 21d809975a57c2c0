"""Several processes as torchrun starts them: joining, sums over ranks, leaving."""

from __future__ import annotations

import os
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
    """

    rank: int
    world_size: int
    device: torch.device

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
    size = int(os.environ.get("WORLD_SIZE", 1))
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if target.type == "cuda" and target.index is None:
        target = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if target.type == "cuda":
        use_gpu(target)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if target.type == "cuda" else "gloo")
    return Group(dist.get_rank() if size > 1 else 0, size, target)


def use_gpu(device: torch.device) -> None:
    """Makes a GPU this process's current one, as NCCL wants it."""
    torch.cuda.set_device(device)


def leave() -> None:
    """Ends the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def share_of_cores() -> int:
    """CPU cores of this process among those of its machine."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, len(os.sched_getaffinity(0)) // here)
