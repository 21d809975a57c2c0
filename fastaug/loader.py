"""Loader: what stands in for torch's DataLoader."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import default_collate

from . import state as states
from .badfiles import BadFiles
from .build import build
from .checks import plain, whole
from .data.scanned import MAX_PIXELS
from .decode.graphs import Decode
from .engine import Batch, Engine
from .extra import run_extra
from .iterator import EpochIterator
from .philox import EPOCH_BITS
from .plan.batch_plan import BatchPlan
from .sampling.epoch import Epoch, Order, Place, ranks
from .sampling.numbers import BatchNumbers, SampleNumbers, sample_numbers


class Loader:
    """Batches of augmented images, as torch's ``DataLoader`` gives them, on threads inside.

    DataLoader's parameters come first, in its order and meaning. What differs:

    - ``num_workers`` is the number of threads for decoding and for the kernels; 0 means one.
    - ``prefetch_factor`` counts batches ahead (default 2).
    - ``pin_memory``, ``multiprocessing_context``, ``persistent_workers``, ``pin_memory_device`` and
      ``in_order`` are accepted and change nothing: there are no worker processes, and batches always come in
      order.
    - ``collate_fn``, ``worker_init_fn`` and ``generator`` are refused.

    As with a DataLoader, iterators are independent of each other: nested loops, ``zip(loader, loader)``, a
    look at a batch inside a loop. Each is an epoch of its own number. The number is spent by an iterator that
    is the only one when it begins, or that delivers its last batch; so a look inside a loop changes nothing.
    A loader can be copied, pickled, and used after ``os.fork`` (on the CPU): threads start when the first
    batch is asked for, in each process its own.

    Args:
        dataset: a folder root/class/image.jpg; a torchvision data set for classification (its files and
            labels are read; one with a ``loader`` or ``__getitem__`` of the user's own is refused), or a
            Subset or ConcatDataset of them; a Hugging Face Dataset; a sequence of (path or bytes, label);
            uint8 images [N, H, W, 3] with labels, as a pair or a data set's ``.data`` and ``.targets``.
            All is read once, here, a ``target_transform`` applied too; after a change ``iter()`` raises a
            RuntimeError.
        augment: list of augmentations in the order geometry and flip, policy, masks, mixing,
            Normalize; torchvision's transforms may stand in it too (see ``from_torchvision``), MixUp
            and CutMix among them, which torch's loader has in ``collate_fn``. Or a recipe's name (see
            ``fastaug.recipes``). None: the data set's own torchvision transform; where it has none,
            nothing, for images of one size. A list replaces the data set's transform.
        num_classes: C of soft targets; when not given, what a torchvision MixUp or CutMix says, or the
            data set's own number.
        label_smoothing: in [0, 1).
        device: where batches are delivered; None: the GPU if there is one, else the CPU.
        dtype: torch.float32, float16, bfloat16, or uint8 (raw pixels, without Normalize). Without
            Normalize floats are in [0, 1]. None: what torchvision's transforms imply (uint8 with
            ToImage or PILToTensor alone), else float32.
        memory_format: torch.contiguous_format or torch.channels_last.
        seed: 0 to 2**64 - 1. A sample's crop, flip, policy and masks depend on (seed, epoch, sample)
            alone. None: a number from torch's default generator, so that ``torch.manual_seed`` decides it;
            drawn once, when the first epoch begins, rank 0's for all ranks; where nothing is random, nothing
            is drawn.
        on_error: "raise" a DecodeError for a batch with files that cannot be read; "skip" those files, which
            shortens the batch; or "replace" each by another sample, drawn by (seed, epoch, sample). All
            ranks keep the same number of batches: one with nothing else left is one replaced sample.
            What was to be mixed with a skipped sample is mixed with nothing.
        max_bad: with "skip" and "replace", how many of the data set's files may be bad: a share (0.1, rounded
            up), a number (100), or None, any. Past it TooManyBadFiles ends the epoch. Each process counts
            those it met, and from the start those whose header cannot be read.
        max_pixels: images with more pixels are bad files, by their header alone, before memory is taken
            for them; None: no limit. The default is Pillow's, half a gigabyte of RGB.
        decode: "auto", "cpu", "dali" or "gpu", where and by what images are decoded, or a ``Decode``, which
            explains them and has more options; None: "auto".
        executor: "native" (the compiled kernels on the CPU), "cuda" (the same on an NVIDIA GPU),
            "kornia" (tensor operations on any device); None: the first of them that is possible.
        rank: this process's number; from torch.distributed when that is initialised, if need be after the
            loader was made, by the start of an epoch.
        world_size: number of processes; likewise.
        with_plan: yield (images, targets, plan).
        extra: a ``torch.nn.Module`` or function that is called on every batch of images [B, 3, H, W] after
            all of ours, such as a ``kornia.augmentation.AugmentationSequential``. It sees what the loader
            would deliver: ``dtype``, on ``device``, normalized where augment says so and otherwise in
            [0, 1]. It runs without gradients, in the mode (``train()`` or ``eval()``) it is in, on the
            thread and CUDA stream that ask for the batch; its parameters have to be on ``device``. torch's
            random numbers inside are keyed by (seed, epoch, batch, rank), so resuming and ``replay`` give
            the same again, and outside nothing is drawn from. Labels and plan do not know of it, so no
            mixing belongs here. It returns a tensor with one image for each; that is delivered in
            ``dtype`` and ``memory_format``. Not with uint8: it takes floats.

    Yields:
        images ``[B, 3, H, W]`` and targets: int64 ids ``[B]``, or float32 ``[B, C]`` when labels are
        mixed or smoothed.

    Raises:
        TypeError, ValueError, FileNotFoundError: on construction, naming the value and the remedy.
        DecodeError: while iterating; the next batch can be asked for all the same.
        TooManyBadFiles: while iterating; the epoch ends.
        RuntimeError: while iterating: no batch came within ``timeout`` seconds; after a fork with CUDA.

    After any other exception while iterating, Ctrl-C's or one of ``extra``, the same batch comes next.

    Example:
        >>> import fastaug
        >>> import numpy as np
        >>> data = np.zeros((8, 32, 32, 3), np.uint8), np.arange(8)
        >>> augment = [fastaug.RandomHorizontalFlip(), fastaug.Normalize()]
        >>> with fastaug.loader(data, batch_size=4, shuffle=True, augment=augment, seed=0) as loader:
        ...     for images, targets in loader:
        ...         print(images.dtype, list(images.shape), len(targets))
        torch.float32 [4, 3, 32, 32] 4
        torch.float32 [4, 3, 32, 32] 4
    """

    def __init__(
        self,
        dataset: object,
        batch_size: int = 1,
        shuffle: bool | None = None,
        sampler: object = None,
        batch_sampler: object = None,
        num_workers: int = 0,
        collate_fn: object = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: object = None,
        multiprocessing_context: object = None,
        generator: object = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        augment: Sequence[object] | str | None = None,
        num_classes: int | None = None,
        label_smoothing: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
        seed: int | None = None,
        on_error: str = "raise",
        max_bad: float | None = 0.1,
        max_pixels: int | None = MAX_PIXELS,
        decode: Decode | str | None = None,
        executor: str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        with_plan: bool = False,
        extra: object = None,
    ) -> None:
        batch_size, num_workers = plain((batch_size, num_workers))
        seed, rank, world_size = plain((seed, rank, world_size))
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self._arguments, self._pipeline = arguments, build(SimpleNamespace(**arguments))
        self._given_ranks, self._ranks = (rank, world_size), ranks(rank, world_size)
        self._order = self._pipeline.order(*self._ranks)
        self._identity = cache(partial(states.identity, self._pipeline))
        self._bad = BadFiles(self._pipeline.source, None if on_error == "raise" else self._pipeline.max_bad)
        self._batches_ahead, self._process = 2 if prefetch_factor is None else prefetch_factor, os.getpid()
        self._running: Engine | None = None
        self._finalizer: weakref.finalize[..., Loader] | None = None
        self.seed, self.with_plan, self.closed = seed, with_plan, False
        self.classes, self.normalize = self._pipeline.source.classes, self._pipeline.planner.normalize
        self._now = self._next = Place()  # behind what was delivered; where the next iterator begins
        self._decided = False  # whether the user said where that is
        self._iterators: list[weakref.ref[EpochIterator]] = []  # in the order of iter()
        # DataLoader's attributes, with its values.
        self.dataset, self.drop_last, self.timeout = dataset, drop_last, timeout
        self.batch_size = batch_size if batch_sampler is None else None
        self.num_workers, self.pin_memory, self.pin_memory_device = num_workers, pin_memory, pin_memory_device
        self.prefetch_factor = prefetch_factor if prefetch_factor or not num_workers else 2
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self.multiprocessing_context, self.generator = multiprocessing_context, generator
        self.worker_init_fn, self.collate_fn = worker_init_fn, default_collate

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are loaders of their own, at the same place; each starts its own threads."""
        return _rebuilt, (self._arguments, self.seed, self.with_plan, self._place())

    def __repr__(self) -> str:
        order = self._order
        rank = f", rank {order.rank} of {order.world_size}" if order.world_size > 1 else ""
        batches = f"{order.batch_size} a batch" if self.batch_size else "in batches of its own"
        seed = self.seed if self.seed is not None else "None: drawn when the first epoch begins"
        lines = self._pipeline.lines()
        lines.insert(1, ("order", f"{order.name}, {batches}{rank}; seed {seed}"))
        return "\n".join(["fastaug.Loader(", *(f"  {name:9} {text}" for name, text in lines), ")"])

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return len(self._joined())

    @property
    def sampler(self) -> SampleNumbers:
        """Sample numbers of the epoch to come on this rank; its ``set_epoch`` is the loader's."""
        order = self._joined()

        def epoch() -> Epoch:
            return Epoch(self._joined(), self._seeded(), self._next)

        return sample_numbers(order, epoch, order.visits, self.set_epoch)

    @property
    def batch_sampler(self) -> BatchNumbers:
        """The same in batches."""
        order = self._joined()
        return BatchNumbers(self.sampler, len(order), order.batch_size, order.drop_last)

    def __iter__(self) -> EpochIterator:
        """The next epoch. It begins with its first batch: until then ``set_epoch`` and ``load_state_dict``
        still decide which."""
        if self.closed:
            raise RuntimeError("the loader is closed; make a new one")
        self._pipeline.unchanged()
        iterator = EpochIterator(self)
        self._iterators = [weakref.ref(it) for it in (*self._unfinished(), iterator)]
        return iterator

    def _unfinished(self) -> list[EpochIterator]:
        """The iterators that somebody holds and that are not at their end, the oldest first."""
        held = (reference() for reference in self._iterators)
        return [iterator for iterator in held if iterator is not None and not iterator.finished]

    def _begin(self, iterator: EpochIterator) -> Epoch:
        """The epoch that an iterator begins with."""
        under_way = {it.place.epoch for it in self._unfinished() if it.place}
        place, spent = self._next, self._decided or not under_way
        while not spent and place.epoch in under_way:
            place = place.anew(place.epoch + 1)
        epoch = Epoch(self._joined(), self._seeded(), place).begun()
        place, following = epoch.place, Place(place.epoch + 1)
        oldest = self._unfinished()[:1] == [iterator]
        iterator.left, iterator.place = epoch, place  # from here on without calls
        if spent:
            self._next, self._decided = following, False
        if oldest:
            self._now = place
        return epoch

    def _delivered(self, iterator: EpochIterator, place: Place, last: bool) -> bool:
        """Whether the loader's place is that of the iterator, which is about to deliver a batch."""
        if last and place.epoch >= self._next.epoch and not self._decided:
            self._next = Place(place.epoch + 1)
        return self._unfinished()[:1] == [iterator]

    def _finished(self, iterator: EpochIterator) -> None:
        """An iterator came to its end. Older ones that have given all their batches count no more."""
        others = [other for other in self._unfinished() if not other.complete]
        if not others and iterator.place and iterator.place.epoch >= self._now.epoch:
            self._now = self._next
        self._iterators = [weakref.ref(other) for other in others]

    def _place(self) -> Place:
        """The place of the oldest iterator under way, or else of the last one that was."""
        oldest = min(self._unfinished(), key=lambda iterator: iterator.complete, default=None)
        return self._now if oldest is None else oldest.place or self._next

    def _joined(self) -> Order:
        """The order on this rank. torch.distributed may have been initialised after the loader was made."""
        now = ranks(*self._given_ranks, self._ranks)
        if now != self._ranks:
            self._order, self._ranks = self._pipeline.order(*now), now
        return self._order

    def _seeded(self) -> int:
        """The seed, drawn from torch's default generator where none was given and something is random."""
        if self.seed is None and (self._pipeline.random or self._order.name == "shuffled"):
            self.seed = agreed_seed(self._ranks[1])
        return self.seed or 0

    @property
    def _engine(self) -> Engine:
        """The engine of this process, started when it is first needed."""
        if self._running is None or self._running.process != os.getpid():
            if self.closed:
                raise RuntimeError("the loader is closed; make a new one")
            if self._process != os.getpid() and self._pipeline.device.target.type == "cuda":
                raise RuntimeError(
                    "the loader was made before os.fork(), and CUDA cannot be used in a process that was "
                    "forked off; make it there, or start processes with the method 'spawn'"
                )
            self._running = Engine(self._pipeline, self._bad)
            self._finalizer = weakref.finalize(self, self._running.close)
        return self._running

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iterator. After ``load_state_dict`` the same epoch keeps its place."""
        epoch = whole("epoch", epoch, 0, (1 << EPOCH_BITS) - 1)
        if epoch != self._next.epoch:
            self._now = self._next = self._next.anew(epoch)
        self._decided = True

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, as small JSON-able data: exact with batches being prepared ahead.

        It is the place of the oldest iterator that somebody still holds, or else of the last one there was. A
        batch counts when ``next()`` has given it, and not when an exception kept it from doing so. After an
        epoch's last batch it is that epoch's end, where the next ``iter()`` finds nothing; once the loop has
        ended, the next epoch's beginning. Under a user's own sampler it holds what this rank's order is drawn
        from, so each rank keeps its own, but where ``set_epoch`` alone decides the order.
        """
        place, seed = self._place(), self._seeded()
        place = place if place.consumed else self._joined().begun(place)
        return {**self._identity(), "order": self._order.name, "seed": seed, **states.saved(place)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next ``iter()`` goes on where ``state_dict()`` was taken, at any batch size and world_size
        (within an epoch of a user's own sampler, at the same world_size). Its seed is taken where the loader
        was given none. Iterators under way go on, and count no more for ``state_dict()``.

        Raises:
            ValueError: names what differs: data set, seed, order, drop_last or augment. The first batch
                raises one where a user's sampler does not give its order again.
        """
        expected = {**self._identity(), "order": self._order.name}
        if self._arguments["seed"] is not None:
            expected["seed"] = self.seed
        place, seed = states.place(state, expected)
        self._now = self._next = place
        self.seed, self._decided, self._iterators = seed, True, []

    def replay(self, plan: BatchPlan) -> Any:
        """The batch of a plan again, byte for byte: what iterating yielded with it.

        The plan may come from a file or have been edited: before anything is done, ``BatchPlan.check`` looks
        at all of it, and at whether it is for this data set and size.

        Raises:
            TypeError: when it is no BatchPlan.
            ValueError: names the field of the plan that is out of bounds, its row and its value.
            DecodeError: when files cannot be read.
        """
        if not isinstance(plan, BatchPlan):
            raise TypeError(
                f"replay takes a BatchPlan, not a {type(plan).__name__}; BatchPlan.load reads a saved one"
            )
        return self._pack(self._engine.replay(plan))

    @property
    def bad_files(self) -> dict[str, str]:
        """Name and reason of each file that could not be read so far."""
        return self._bad.named()

    def close(self) -> None:
        """Ends all threads. Garbage collection and the end of the process do the same."""
        self.closed = True
        for iterator in self._unfinished():
            iterator.stop()
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pack(self, batch: Batch) -> tuple[Any, ...]:
        self._engine.receive(batch)
        images, plan = batch.images, batch.plan
        pipeline = self._pipeline
        if pipeline.extra is not None:
            images = run_extra(pipeline.extra, plan, images, pipeline.output, pipeline.device)
        return (images, batch.targets, plan) if self.with_plan else (images, batch.targets)


def _rebuilt(arguments: dict[str, Any], seed: int | None, with_plan: bool, place: Place) -> Loader:
    """A loader like another: what copies and pickles become."""
    loader = Loader(**arguments)
    loader.seed, loader.with_plan, loader._decided = seed, with_plan, True
    loader._now = loader._next = place
    return loader


def agreed_seed(world_size: int) -> int:
    """A number from torch's default generator, as DataLoader draws its own; of several ranks, rank 0's.

    Raises:
        ValueError: when ranks cannot tell each other.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_())
    if world_size == 1:
        return seed
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise ValueError(
            f"seed=None with world_size={world_size}, given by hand: ranks that torch.distributed does not "
            "join cannot agree on a seed; give all of them the same seed=..."
        )
    shared = [seed]
    torch.distributed.broadcast_object_list(shared, src=0)
    return shared[0]
