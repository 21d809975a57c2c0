"""Loader: what stands in for torch's DataLoader."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import cache, partial
from typing import Any, cast

import numpy as np
import torch

from . import state as states
from .arguments import (
    augmentations,
    bad_limit,
    check_samplers,
    class_count,
    decoding,
    make_sampler,
    ranks,
    usual_batch,
)
from .badfiles import MODES
from .batch import make_executor
from .batch.output import Output
from .checks import number, one_of, whole
from .datasets import as_source, watch
from .decode import Decoder
from .device import GpuDevice, make_device
from .draw import Planner
from .engine import Batch, Engine
from .errors import DecodeError, TooManyBadFiles
from .extra import check_extra, run_extra
from .given import Given, GivenSampler
from .graphs import Decode
from .index import MAX_PIXELS, read_index
from .order import Batches, Order, make_order
from .plan import BatchPlan
from .sampler import EpochSampler, Place, Ticket

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)
_REFUSED = {
    "collate_fn": "batches are made by the kernels; do what it does with the batch in the loop",
    "worker_init_fn": "there are no worker processes to set up",
    "generator": "all randomness comes from seed=",
}


class Loader:
    """Batches of augmented images, as torch's ``DataLoader`` gives them, on threads inside.

    DataLoader's parameters come first, in its order and meaning. What differs:

    - ``num_workers`` is the number of threads for decoding and for the kernels; 0 means one.
    - ``prefetch_factor`` counts batches ahead (default 2).
    - ``pin_memory``, ``timeout``, ``multiprocessing_context``, ``persistent_workers``,
      ``pin_memory_device`` and ``in_order`` are accepted and change nothing: there are no worker
      processes, and batches always come in order.
    - ``collate_fn``, ``worker_init_fn`` and ``generator`` are refused.

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
            alone.
        on_error: "raise" a DecodeError for a batch with files that cannot be read; "skip" those files, which
            shortens the batch; or "replace" each by another sample, drawn by (seed, epoch, sample). All
            ranks keep the same number of batches: one with nothing else left is one replaced sample.
            What was to be mixed with a skipped sample is mixed with nothing.
        max_bad: with "skip" and "replace", how many of the data set's files may be bad: a share (0.1, rounded
            up), a number (100), or None, any. Past it TooManyBadFiles ends the epoch. Each process counts
            those it met, and from the start those whose header cannot be read.
        max_pixels: images with more pixels are bad files, by their header alone, before memory is taken
            for them; None: no limit. The default is Pillow's, half a gigabyte of RGB.
        decode: "cpu" or "gpu", where images are decoded, or a ``Decode`` with more options; None: "gpu"
            where batches are delivered on a CUDA device, else "cpu".
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

    After any other exception while iterating, Ctrl-C's or one of ``extra``, the same batch comes next.
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
        seed: int = 0,
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
        for name, value in (
            ("collate_fn", collate_fn),
            ("worker_init_fn", worker_init_fn),
            ("generator", generator),
        ):
            if value is not None:
                raise ValueError(f"{name} has no meaning here: {_REFUSED[name]}; leave it out")
        whole("batch_size", batch_size, 1)
        threads = max(1, whole("num_workers", num_workers, 0, 1024))
        self._ahead = whole("prefetch_factor", 2 if prefetch_factor is None else prefetch_factor, 1, 64)
        whole("seed", seed, 0, 2**64 - 1)
        number("label_smoothing", label_smoothing, 0, 1 - 1e-9)
        one_of("dtype", dtype, (None, *_DTYPES))
        one_of("memory_format", memory_format, (torch.contiguous_format, torch.channels_last))
        one_of("on_error", on_error, MODES)
        if max_pixels is not None:
            whole("max_pixels", max_pixels, 1)
        check_samplers(batch_size, shuffle, sampler, batch_sampler, drop_last)
        given = None if sampler is None is batch_sampler else Given(sampler, batch_sampler)
        self._given = (rank, world_size)
        self._ranks = ranks(rank, world_size)
        target = make_device(device)
        how = decoding(decode, target)

        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.with_plan, self.seed = with_plan, seed
        said = augmentations(dataset, augment, dtype)
        dtype = dtype or said.dtype or torch.float32
        self._extra = check_extra(extra, dtype, target)
        source = as_source(dataset)
        self._check_unchanged = watch(dataset, own=augment is None)
        limit = bad_limit(max_bad, len(source))
        index = read_index(source, max_pixels)
        planner = Planner(said.augment, index.one_size())
        readable = np.flatnonzero(index.usable())
        planner.geometry.check(
            index.height[readable].astype("i8"),
            index.width[readable].astype("i8"),
            lambda k: source.name(int(readable[k])),
        )
        index.fits = planner.geometry.fits
        if dtype == torch.uint8 and (planner.normalize or planner.blends):
            raise ValueError(
                "dtype=torch.uint8 gives raw pixels, so augment may hold neither "
                "Normalize nor MixUp; take them out or choose a float dtype"
            )
        soft = planner.mixes or label_smoothing > 0
        classes = class_count(source, num_classes, said.num_classes, soft)
        self._make_order = partial(
            make_sampler, len(source), batch_size, bool(shuffle), given, drop_last, seed
        )
        self._order = self._make_order(*self._ranks)
        self._output = output = Output(dtype, memory_format == torch.channels_last, planner.normalize)
        decoder = Decoder(
            index,
            usual_batch(batch_size, batch_sampler),
            threads,
            how,
            None if how.place == "cpu" else cast(GpuDevice, target),
        )
        # Scaling and mixing take a fifth of decoding's time: all together, about ``threads`` are busy.
        finishing = threads if source.arrays is not None else max(1, threads // 2)
        self._engine = Engine(
            index,
            planner,
            decoder,
            make_executor(executor, output, target, finishing),
            target,
            soft_classes=classes if soft else None,
            label_smoothing=label_smoothing,
            on_error=on_error,
            max_bad=limit,
        )
        self._close = weakref.finalize(self, self._engine.close)
        self.classes, self.normalize = source.classes, planner.normalize
        self._now = self._next = Place()  # behind what was delivered; where the next iter() starts
        self._current: weakref.ref[_Epoch] | None = None
        self._identity = cache(partial(states.identity, source, self._order, said.augment, seed))

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return len(self._joined())

    @property
    def sampler(self) -> Order:
        """Sample numbers of the epoch to come on this rank; its ``set_epoch`` is the loader's."""

        def batches() -> Iterator[tuple[Ticket, Place]]:
            order = self._joined()
            return order.after(order.begun(self._next), aside=True)

        return make_order(self._joined(), batches, self.set_epoch)

    @property
    def batch_sampler(self) -> Batches:
        """The same in batches."""
        return Batches(self.sampler, self.batch_size, self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """The next epoch; an epoch under way is abandoned. It starts with its first batch: until then
        ``set_epoch`` and ``load_state_dict`` still decide which, and another ``iter()`` gives the same."""
        if not self._close.alive:
            raise RuntimeError("the loader is closed; make a new one")
        self._check_unchanged()
        if self._current is not None and (previous := self._current()) is not None:
            previous.stop()
        self._now = self._next
        current = _Epoch(self)
        self._current = weakref.ref(current)
        return current

    def _joined(self) -> EpochSampler | GivenSampler:
        """The order on this rank. torch.distributed may have been initialised after the loader was made."""
        now = ranks(*self._given, self._ranks)
        if now != self._ranks:
            self._order, self._ranks = self._make_order(*now), now
        return self._order

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next ``iter()``. After ``load_state_dict`` the same epoch keeps its place."""
        whole("epoch", epoch, 0, (1 << 20) - 1)
        if epoch != self._next.epoch:
            self._now = self._next = self._next.anew(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, as small JSON-able data: exact with batches being prepared ahead.

        A batch counts when ``next()`` has given it, and not when an exception kept it from doing so. After an
        epoch's last batch it is that epoch's end, where the next ``iter()`` finds nothing; once the loop has
        ended, the next epoch's beginning. Under a user's own sampler it holds what this rank's order is drawn
        from, so each rank keeps its own, but where ``set_epoch`` alone decides the order.
        """
        place = self._now if self._now.consumed else self._joined().begun(self._now)
        return {**self._identity(), **states.saved(place)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next ``iter()`` goes on where ``state_dict()`` was taken, at any batch size and world_size
        (within an epoch of a user's own sampler, at the same world_size).

        Raises:
            ValueError: names what differs: data set, seed, order, drop_last or augment. The first batch
                raises one where a user's sampler does not give its order again.
        """
        self._now = self._next = states.place(state, self._identity())

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
        return self._engine.bad.named()

    def close(self) -> None:
        """Ends all threads. Garbage collection does the same."""
        if self._close.detach():
            if self._current is not None and (current := self._current()) is not None:
                current.stop()
            self._engine.close(wait=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pack(self, batch: Batch) -> tuple[Any, ...]:
        self._engine.receive(batch)
        images, plan = batch.images, batch.plan
        if self._extra is not None:
            images = run_extra(self._extra, plan, images, self._output, self._engine.device)
        return (images, batch.targets, plan) if self.with_plan else (images, batch.targets)


class _Epoch(Iterator[Any]):
    """One pass over the data, a few batches ahead of its user.

    A batch stays at the head of the queue until it is delivered: an exception on the way, a signal's at any
    moment, leaves it to the next call. Python runs signals' handlers where something is called or a loop goes
    round, so what belongs together is done without calls between.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._order = loader._order
        self._left: Place | None = None  # behind what has left the queue; None until a batch is asked for
        self._ahead: deque[tuple[Ticket, Place, Future[Batch] | None]] = deque()
        self._batches: Iterator[tuple[Ticket, Place]] | None = None  # behind the queue
        self._stopped = False

    def __next__(self) -> Any:
        loader, ahead = self._loader, self._ahead
        if not loader._close.alive:
            self._stopped = True
        if self._stopped:
            raise StopIteration
        left = self._left or self._start()
        self._fill(left)
        if not ahead:
            self._stopped = True
            loader._now = loader._next
            raise StopIteration
        ticket, behind, future = ahead[0]
        if future is None:
            future = loader._engine.submit(ticket)
            ahead[0] = ticket, behind, future
        wait((future,))
        if self._stopped:  # by a signal's handler
            raise StopIteration
        ahead[0] = ticket, behind, None  # made anew if it fails now: ``extra`` may change it in place
        try:
            batch = future.result()
        except TooManyBadFiles:
            self.stop()
            raise
        except DecodeError:
            self._left = behind
            del ahead[0]
            raise
        packed = loader._pack(batch)
        loader._now = self._left = behind
        del ahead[0]
        return packed

    def _start(self) -> Place:
        """Starts the epoch: where it goes on."""
        loader = self._loader
        order = loader._joined()
        place = order.begun(loader._next)
        following = Place(place.epoch + 1)
        self._order, self._left = order, place
        loader._now, loader._next = place, following
        return place

    def _fill(self, left: Place) -> None:
        """Starts batches until enough are ahead."""
        ahead = self._ahead
        while len(ahead) <= self._loader._ahead:
            batches, self._batches = self._batches, None  # an exception ends it
            if batches is None:
                batches = self._order.after(ahead[-1][1] if ahead else left)
            following = next(batches, None)
            if following is not None:
                ahead.append((*following, self._loader._engine.submit(following[0])))
            self._batches = batches
            if following is None:
                break

    def stop(self) -> None:
        """Drops what is prepared; the iterator is at its end."""
        self._stopped = True
        ahead, self._ahead = self._ahead, deque()
        for *_, future in ahead:
            if future is not None:
                future.cancel()

    def __del__(self) -> None:
        self.stop()
