"""What training loops expect of a DataLoader's ``sampler`` and ``batch_sampler``, over a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch.utils.data import Sampler, SequentialSampler

from .epoch import Epoch, OwnOrder


class SampleNumbers(Sampler[int]):
    """The numbers of the samples that this rank visits in the epoch to come.

    ``set_epoch`` is the loader's, so that loops that call ``loader.sampler.set_epoch(epoch)``, as they would
    a DistributedSampler's, steer the loader. Iterating runs a user's own sampler once
    more, with the random numbers that it will draw and aside from them.

    Args:
        epoch: gives the epoch to come.
        length: samples of a whole epoch on this rank, repeats included.
        set_epoch: the loader's.
    """

    def __init__(self, epoch: Callable[[], Epoch], length: int, set_epoch: Callable[[int], None]) -> None:
        self.epoch, self._length, self.set_epoch = epoch, length, set_epoch

    def __iter__(self) -> Iterator[int]:
        for ticket, _ in self.epoch().begun().tickets(aside=True):
            yield from ticket.ids.tolist()

    def __len__(self) -> int:
        return self._length


class Ascending(SampleNumbers, SequentialSampler):
    """The order 0, 1, 2 … of an evaluation, which trainers recognise by torch's class."""


class BatchNumbers(Sampler[list[int]]):
    """The same in batches.

    Args:
        sampler: the samples.
        length: batches of a whole epoch.
        batch_size: samples a batch.
        drop_last: whether a last, shorter batch is left out.
    """

    def __init__(self, sampler: SampleNumbers, length: int, batch_size: int, drop_last: bool) -> None:
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last
        self._length = length

    def __iter__(self) -> Iterator[list[int]]:
        for ticket, _ in self.sampler.epoch().begun().tickets(aside=True):
            yield ticket.ids.tolist()

    def __len__(self) -> int:
        return self._length


def sample_numbers(
    order: object, epoch: Callable[[], Epoch], length: int, set_epoch: Callable[[int], None]
) -> SampleNumbers:
    """The samples of an order, of torch's class where they are all samples in ascending order."""
    ascending = isinstance(order, OwnOrder) and order.name == "ascending" and order.world_size == 1
    return (Ascending if ascending else SampleNumbers)(epoch, length, set_epoch)
