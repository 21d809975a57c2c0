"""What training loops expect of a DataLoader's ``sampler`` and ``batch_sampler``, over a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch.utils.data import Sampler, SequentialSampler

from .given import GivenSampler
from .sampler import EpochSampler, Place, Ticket


class Order(Sampler[int]):
    """The numbers of the samples that this rank visits in the epoch to come.

    ``set_epoch`` is the loader's, so that loops that call ``loader.sampler.set_epoch(epoch)``, as they would
    a DistributedSampler's, steer the loader. Iterating runs a user's own sampler once
    more, with the random numbers that it will draw and aside from them.
    """

    def __init__(
        self,
        samples: EpochSampler | GivenSampler,
        batches: Callable[[], Iterator[tuple[Ticket, Place]]],
        set_epoch: Callable[[int], None],
    ) -> None:
        self._samples, self._batches, self.set_epoch = samples, batches, set_epoch

    def __iter__(self) -> Iterator[int]:
        for ticket, _ in self._batches():
            yield from ticket.ids.tolist()

    def __len__(self) -> int:
        """Samples of a whole epoch on this rank, repeats included."""
        return self._samples.visits


class Ascending(Order, SequentialSampler):
    """The order 0, 1, 2 … of an evaluation, which trainers recognise by torch's class."""


class Batches(Sampler[list[int]]):
    """The same in batches.

    Args:
        sampler: the order.
        batch_size: samples a batch.
        drop_last: whether a last, shorter batch is left out.
    """

    def __init__(self, sampler: Order, batch_size: int, drop_last: bool) -> None:
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        for ticket, _ in self.sampler._batches():
            yield ticket.ids.tolist()

    def __len__(self) -> int:
        return len(self.sampler._samples)


def make_order(
    samples: EpochSampler | GivenSampler,
    batches: Callable[[], Iterator[tuple[Ticket, Place]]],
    set_epoch: Callable[[int], None],
) -> Order:
    """The order as a sampler."""
    ascending = isinstance(samples, EpochSampler) and not samples.shuffle and samples.world_size == 1
    return (Ascending if ascending else Order)(samples, batches, set_epoch)
