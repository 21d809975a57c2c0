"""Loader: what stands in for torch's DataLoader."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, cast

import numpy as np
import torch

from .augment import Augmentation
from .batch import make_executor
from .batch.output import Output
from .checks import number, one_of, whole
from .decode import Decoder
from .device import Device, GpuDevice, make_device
from .draw import Planner
from .engine import Batch, Engine
from .graphs import PLACES, Decode
from .index import read_index
from .plan import BatchPlan
from .recipes import recipe
from .sampler import EpochSampler, GivenSampler, Samples
from .sources import Source, as_source

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)
_STATE_VERSION = 1
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
        dataset: a folder root/class/image.jpg; a torchvision ImageFolder or DatasetFolder; a
            sequence of (path or bytes, label); uint8 images [N, H, W, 3] with labels, as a pair or
            a data set's ``.data`` and ``.targets``.
        augment: list of augmentations in the order geometry and flip, policy, masks, mixing,
            Normalize; or a recipe's name (see ``fastaug.recipes``); None: none, for images of one size.
        num_classes: C of soft targets; a folder's own number when not given.
        label_smoothing: in [0, 1).
        device: where batches are delivered; None: the GPU if there is one, else the CPU.
        dtype: torch.float32, float16, bfloat16, or uint8 (raw pixels, without Normalize). Without
            Normalize floats are in [0, 1].
        memory_format: torch.contiguous_format or torch.channels_last.
        seed: 0 to 2**64 - 1. A sample's crop, flip, policy and masks depend on (seed, epoch, sample)
            alone.
        on_error: "raise" a DecodeError for a batch with files that cannot be decoded, or "skip"
            those files, which shortens the batch. ``bad_files`` lists them.
        decode: "cpu", "gpu" or "gpu-roi", where images are decoded, or a ``Decode`` with more options;
            None: "gpu" where batches are delivered on a CUDA device, else "cpu".
        executor: "native" (the compiled kernels on the CPU), "cuda" (the same on an NVIDIA GPU),
            "kornia" (tensor operations on any device); None: the first of them that is possible.
        rank: this process's number; from torch.distributed when that is initialised.
        world_size: number of processes; likewise.
        with_plan: yield (images, targets, plan).

    Yields:
        images ``[B, 3, H, W]`` and targets: int64 ids ``[B]``, or float32 ``[B, C]`` when labels are
        mixed or smoothed.

    Raises:
        TypeError, ValueError, FileNotFoundError: on construction, naming the value and the remedy.
        DecodeError: while iterating; the next batch can be asked for all the same.
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
        augment: Sequence[Augmentation] | str | None = None,
        num_classes: int | None = None,
        label_smoothing: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
        seed: int = 0,
        on_error: str = "raise",
        decode: Decode | str | None = None,
        executor: str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        with_plan: bool = False,
    ) -> None:
        for name, value in (("collate_fn", collate_fn), ("worker_init_fn", worker_init_fn),
                            ("generator", generator)):  # fmt: skip
            if value is not None:
                raise ValueError(f"{name} has no meaning here: {_REFUSED[name]}; leave it out")
        whole("batch_size", batch_size, 1)
        threads = max(1, whole("num_workers", num_workers, 0, 1024))
        self._ahead = whole("prefetch_factor", 2 if prefetch_factor is None else prefetch_factor, 1, 64)
        whole("seed", seed, 0, 2**64 - 1)
        number("label_smoothing", label_smoothing, 0, 1 - 1e-9)
        one_of("dtype", dtype, _DTYPES)
        one_of("memory_format", memory_format, (torch.contiguous_format, torch.channels_last))
        one_of("on_error", on_error, ("raise", "skip"))
        check_samplers(batch_size, shuffle, sampler, batch_sampler, drop_last)
        rank, world_size = _ranks(rank, world_size)
        target = make_device(device)
        how = _decode(decode, target)

        self.dataset, self.batch_size = dataset, batch_size
        self.with_plan, self.seed = with_plan, seed
        ops = _augmentations(dataset, augment)
        source = as_source(dataset)
        index = read_index(source)
        planner = Planner(ops, index.one_size(), seed)
        readable = np.flatnonzero(index.height > 0)
        planner.geometry.check(index.height[readable].astype("i8"), index.width[readable].astype("i8"),
                               lambda k: source.name(int(readable[k])))
        if dtype == torch.uint8 and (planner.normalize or planner.blends):
            raise ValueError("dtype=torch.uint8 gives raw pixels, so augment may hold neither "
                             "Normalize nor MixUp; take them out or choose a float dtype")
        soft = planner.mixes or label_smoothing > 0
        classes = _classes(source, num_classes, soft)
        self.sampler = _sampler(len(source), batch_size, bool(shuffle), sampler, batch_sampler,
                                drop_last, seed, rank, world_size)  # fmt: skip
        output = Output(dtype, memory_format == torch.channels_last, planner.normalize)
        decoder = Decoder(index, _largest_batch(batch_size, batch_sampler, source), threads, how,
                          None if how.place == "cpu" else cast(GpuDevice, target))
        # Scaling and mixing take a fifth of decoding's time: all together, about ``threads`` are busy.
        finishing = threads if source.arrays is not None else max(1, threads // 2)
        self._engine = Engine(
            index, planner, decoder, make_executor(executor, output, target, finishing), target,
            soft_classes=classes if soft else None, label_smoothing=label_smoothing, rank=rank,
            rank_keyed=isinstance(self.sampler, GivenSampler), skip_bad=on_error == "skip",
        )  # fmt: skip
        self._close = weakref.finalize(self, self._engine.close)
        self.classes, self.normalize = source.classes, planner.normalize
        self._now = self._next = (0, 0)  # (epoch, samples consumed): delivered; next iter()'s
        self._current: weakref.ref[_Epoch] | None = None

    def __len__(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        """Starts the next epoch; an epoch under way is abandoned."""
        if not self._close.alive:
            raise RuntimeError("the loader is closed; make a new one")
        if self._current is not None and (previous := self._current()) is not None:
            previous.stop()
        epoch, consumed = self._now = self._next
        self._next = (epoch + 1, 0)
        current = _Epoch(self, self.sampler.batches(epoch, consumed), epoch)
        self._current = weakref.ref(current)
        return current

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next ``iter()``. After ``load_state_dict`` the same epoch keeps its place."""
        whole("epoch", epoch, 0, (1 << 20) - 1)
        if epoch != self._next[0]:
            self._now = self._next = (epoch, 0)

    def state_dict(self) -> dict[str, int]:
        """Where the loader is, as small JSON-able data: exact with batches being prepared ahead."""
        epoch, consumed = self._now
        return {"version": _STATE_VERSION, "seed": self.seed, "epoch": epoch, "consumed": consumed,
                "samples": len(self._engine.index.source)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next ``iter()`` goes on where ``state_dict()`` was taken, at any batch size."""
        mine = self.state_dict()
        for key, what in {"version": "format", "seed": "seed", "samples": "number of samples"}.items():
            if state.get(key) != mine[key]:
                raise ValueError(f"the state's {what} is {state.get(key)!r}, the loader's {mine[key]!r}"
                                 "; load it into a loader with the same data set and seed")
        self._now = self._next = (int(state["epoch"]), int(state["consumed"]))

    def replay(self, plan: BatchPlan) -> Any:
        """The batch of a plan again, byte for byte: what iterating yielded with it."""
        made = self._engine.planner.size
        if plan.size != made:
            raise ValueError(f"the plan is for {plan.size[0]}x{plan.size[1]} pixels, the loader makes "
                             f"{made[0]}x{made[1]}; replay it with the augment it was drawn from")
        if len(plan) and int(plan["index"].max()) >= len(self._engine.index.source):
            raise ValueError(f"the plan holds sample {plan['index'].max()}, the data set has "
                             f"{len(self._engine.index.source)}; replay it with its own data set")
        return self._pack(self._engine.replay(plan))

    @property
    def bad_files(self) -> list[str]:
        """Names of the files that could not be read so far."""
        return [self._engine.index.source.name(i) for i in sorted(self._engine.bad_files)]

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
        pair = (batch.images, batch.targets)
        return (*pair, batch.plan) if self.with_plan else pair


class _Epoch(Iterator[Any]):
    """One pass over the data, a few batches ahead of its user."""

    def __init__(self, loader: Loader, batches: Iterator[Samples], epoch: int) -> None:
        self._loader, self._batches, self._epoch = loader, batches, epoch
        self._ahead: deque[tuple[Samples, Future[Batch]]] = deque()
        self._stopped = False

    def __next__(self) -> Any:
        loader = self._loader
        if not loader._close.alive:
            self._stopped = True
        while not self._stopped and len(self._ahead) <= loader._ahead:
            samples = next(self._batches, None)
            if samples is None:
                break
            self._ahead.append((samples, loader._engine.submit(self._epoch, samples)))
        if self._stopped:
            raise StopIteration
        if not self._ahead:
            self._stopped = True
            loader._now = loader._next
            raise StopIteration
        samples, future = self._ahead.popleft()
        loader._now = (self._epoch, samples.consumed)
        return loader._pack(future.result())

    def stop(self) -> None:
        """Drops what is prepared; the iterator is at its end."""
        self._stopped = True
        for _, future in self._ahead:
            future.cancel()
        self._ahead.clear()

    def __del__(self) -> None:
        self.stop()


# ---- reading the arguments ----


def check_samplers(
    batch_size: int, shuffle: bool | None, sampler: object, batch_sampler: object, drop_last: bool
) -> None:
    """DataLoader's rules on which of these exclude each other."""
    if sampler is not None and shuffle:
        raise ValueError("sampler decides the order, so shuffle must not be given with it")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError("batch_sampler decides the batches, so batch_size, shuffle, sampler and "
                         "drop_last must not be given with it")


def _augmentations(
    dataset: object, augment: Sequence[Augmentation] | str | None
) -> Sequence[Augmentation]:
    if isinstance(augment, str):
        return recipe(augment)
    if augment is not None:
        if not isinstance(augment, (list, tuple)):
            raise TypeError(f"augment must be a list of augmentations or a recipe's name, not {augment!r}")
        return augment
    if getattr(dataset, "transform", None) is not None:
        raise ValueError("the data set has a torchvision transform, which fastaug does not run; say "
                         "the same with augment=[...] (augment=[] for none)")
    return []


def _decode(decode: Decode | str | None, device: Device) -> Decode:
    gpu = device.target.type == "cuda"
    if not isinstance(decode, Decode):
        one_of("decode", decode, (None, *PLACES))
        decode = Decode(decode or ("gpu" if gpu else "cpu"))
    if decode.place != "cpu" and not gpu:
        raise ValueError(f"decode={decode.place!r} needs a CUDA device, and batches are delivered on "
                         f"{device.target}; use decode='cpu' or device='cuda'")
    return decode


def _classes(source: Source, num_classes: int | None, soft: bool) -> int | None:
    if num_classes is not None:
        whole("num_classes", num_classes, 1)
    elif source.classes is not None:
        num_classes = len(source.classes)
    if num_classes is None:
        if soft:
            raise ValueError("mixing and label smoothing give soft targets, which need "
                             f"num_classes=...; the largest label is {source.labels.max()}")
        return None
    worst = int(source.labels.argmax())
    if source.labels[worst] >= num_classes:
        raise ValueError(f"{source.name(worst)} has label {source.labels[worst]}, out of range for "
                         f"num_classes={num_classes}; labels count from 0 to {num_classes - 1}")
    return num_classes


def _ranks(rank: int | None, world_size: int | None) -> tuple[int, int]:
    running = torch.distributed.is_available() and torch.distributed.is_initialized()
    if world_size is None:
        world_size = torch.distributed.get_world_size() if running else 1
    if rank is None:
        rank = torch.distributed.get_rank() if running else 0
    whole("world_size", world_size, 1, 4096)
    return whole("rank", rank, 0, world_size - 1), world_size


def _sampler(n: int, batch_size: int, shuffle: bool, sampler: object, batch_sampler: object,
             drop_last: bool, seed: int, rank: int, world_size: int,
             ) -> EpochSampler | GivenSampler:  # fmt: skip
    if sampler is not None or batch_sampler is not None:
        return GivenSampler(n, sampler, batch_sampler, batch_size, drop_last, world_size)
    if drop_last and n < batch_size * world_size:
        raise ValueError(f"drop_last=True leaves no batch: {n} samples are fewer than batch_size "
                         f"{batch_size} x {world_size} ranks; take a smaller batch_size")
    return EpochSampler(n, batch_size, shuffle, drop_last, seed, rank, world_size)


def _largest_batch(batch_size: int, batch_sampler: object, source: Source) -> int:
    """DALI wants to know the largest batch beforehand; a batch_sampler's is read off it."""
    if batch_sampler is None:
        return batch_size
    return int(getattr(batch_sampler, "batch_size", 0) or min(len(source), 4096))
