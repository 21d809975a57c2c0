"""Loader: what stands in for torch's DataLoader."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from functools import cache, partial
from inspect import signature
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import IterableDataset, default_collate

from . import state as states
from .augment import Stream
from .badfiles import BadFiles
from .build import build
from .checks import plain
from .data.scanned import MAX_PIXELS
from .decode.graphs import Decode
from .engine import Batch, Engine
from .epochs import Epochs
from .extra import run_extra
from .ops.schedule import Schedule
from .ops.views import Views
from .plan.views_plan import Plan
from .sampling.epoch import Place


class Loader(Epochs):
    """Batches of augmented images, as torch's ``DataLoader`` gives them, on threads inside.

    DataLoader's parameters come first, in its order and meaning. What differs:

    - Of data sets whose bytes it knows by number (``source``), ``num_workers`` is the number of threads for
      decoding and for the kernels, 0 meaning one; ``prefetch_factor`` counts batches ahead (default 2);
      ``multiprocessing_context``, ``worker_init_fn`` and ``persistent_workers`` change nothing. Any other
      data set is called by so many worker processes, as DataLoader does, and all of these mean what they mean
      there.
    - ``pin_memory``, ``pin_memory_device`` and ``in_order`` are accepted and change nothing: batches always
      come in order.
    - ``collate_fn`` gets finished images: a list of samples as the data set gives them, with a tensor [3, H,
      W] for each image. It is called on the thread that asks for the batch.
    - ``generator`` is where ``seed`` is drawn from when none is given.

    As with a DataLoader, iterators are independent of each other: nested loops, ``zip(loader, loader)``, a
    look at a batch inside a loop. Each is an epoch of its own number. The number is spent by an iterator that
    is the only one when it begins, or that delivers its last batch; so a look inside a loop changes nothing.
    A loader can be copied, pickled, and used after ``os.fork`` (on the CPU): threads start when the first
    batch is asked for, in each process its own.

    Args:
        dataset: a folder root/class/image.jpg; a torchvision data set for classification, or a Subset or
            ConcatDataset of them; a Hugging Face Dataset with an image and a label; a sequence of (path or
            bytes, target, ...); uint8 images [N, H, W, 3] with targets, as a pair or a data set's ``.data``
            and ``.targets``. All of this is read once, here, a ``target_transform`` applied too; after a
            change ``iter()`` raises a RuntimeError. Any other map-style data set, whose ``__getitem__`` gives
            (image, target, ...), a dict or an image, is called for its samples: PIL images, arrays or tensors
            (uint8, uint16, float; gray or RGB, [H, W], [H, W, C] or [C, H, W]), or the bytes of a file. Of an
            IterableDataset a ``fastaug.augment.Stream`` comes back instead of a Loader.
        augment: list of augmentations in the order geometry and flip, policy, masks, mixing,
            Normalize; torchvision's transforms may stand in it too (see ``from_torchvision``), MixUp
            and CutMix among them, which torch's loader has in ``collate_fn``. Or a recipe's name (see
            ``fastaug.recipes``), a ``fastaug.schedule`` of lists, which follows the epoch, or
            ``fastaug.Views`` of several: then a batch's images are a list of tensors. None: the data
            set's own torchvision transform; where it has none, nothing, for images of one size. A list
            replaces the data set's transform. A transform that cannot be said stays in ``__getitem__``, with
            a warning that names it.
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

        source: "files": the data set's images are read by number, or it is refused; "call": it is called;
            None: the first where that is possible.
        workers: who calls a data set, ``num_workers`` of them: "process", or "thread" for one that waits for
            a disk or a server and draws no random numbers. With ``num_workers=0`` it is the thread that asks.
        keyed: seed ``random``, NumPy and torch from (seed, epoch, sample) before each call, so that random
            code in ``__getitem__`` gives a sample the same pixels at any batch size, number of workers and
            ranks, and after a resume. None: True but with threads, where that is not possible.
        batch: "tuple", "dict", or a name for each part of a dict; None: a dict where samples are dicts.
        mix_targets: False: targets are not mixed; (targets, partners' targets, lam) takes their place.
        channels: 1: the first of three equal ones, for gray images; 2 to 16 for arrays and called data sets
            with so many; None: three, gray repeated and alpha dropped.
        weights: one for each sample, at least 0: samples are drawn with replacement, in proportion, as by
            torch's WeightedRandomSampler; keyed, and right under any number of ranks.
        balance: "class": the same with weights that make all classes come equally often.
        epoch_length: samples of an epoch over all ranks, "N batches" of them, or ``math.inf`` for an epoch
            without end. Without ``weights`` epochs go on through the data where the one before stopped. None:
            as many as there are samples.
        targets: "mask": they are label maps, for segmentation: paths or bytes of images with one number a
            pixel, PIL images, or arrays [H, W], as large as their images. They go through the same geometry,
            by nearest: int64 ``[B, H, W]``, 0 where there is nothing. One that cannot be read is a bad file.

    Yields:
        images ``[B, 3, H, W]``, a list of them for ``Views``, and targets: int64 ids ``[B]``, or float32
        ``[B, C]`` when labels are mixed or smoothed.

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

    def __new__(cls, dataset: object, *given: Any, **named: Any) -> Any:
        """Of an IterableDataset a ``Stream``: its samples have no numbers."""
        if not isinstance(dataset, IterableDataset):
            return super().__new__(cls)
        bound = signature(cls.__init__).bind(None, dataset, *given, **named)
        bound.apply_defaults()
        return Stream(dataset, bound.arguments)

    def __init__(
        self,
        dataset: object,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: object = None,
        batch_sampler: object = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: object = None,
        multiprocessing_context: object = None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        augment: Sequence[object] | str | Schedule | Views | None = None,
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
        source: str | None = None,
        workers: str = "process",
        keyed: bool | None = None,
        batch: str | Sequence[str] | None = None,
        mix_targets: bool = True,
        channels: int | None = None,
        weights: Sequence[float] | None = None,
        balance: str | None = None,
        epoch_length: float | str | None = None,
        targets: str | None = None,
    ) -> None:
        batch_size, num_workers = plain((batch_size, num_workers))
        seed, rank, world_size = plain((seed, rank, world_size))
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self._arguments, self._pipeline = arguments, build(SimpleNamespace(**arguments))
        self._given_ranks = (rank, world_size)
        self._at_the_start()
        self._identity = cache(partial(states.identity, self._pipeline))
        self._bad = BadFiles(self._pipeline.source, None if on_error == "raise" else self._pipeline.max_bad)
        self._batches_ahead, self._process = self._pipeline.ahead(prefetch_factor), os.getpid()
        self._running: Engine | None = None
        self._finalizer: weakref.finalize[..., Loader] | None = None
        self.seed, self.with_plan, self.closed = seed, with_plan, False
        self.classes, self.normalize = self._pipeline.source.classes, self._pipeline.planner.normalize
        # DataLoader's attributes, with its values.
        self.dataset, self.drop_last, self.timeout = dataset, drop_last, timeout
        self.batch_size = batch_size if batch_sampler is None else None
        self.num_workers, self.pin_memory, self.pin_memory_device = num_workers, pin_memory, pin_memory_device
        self.prefetch_factor = prefetch_factor if prefetch_factor or not num_workers else 2
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self.multiprocessing_context, self.generator = multiprocessing_context, generator
        self.worker_init_fn = worker_init_fn
        self.collate_fn = collate_fn or default_collate

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are loaders of their own, at the same place; each starts its own threads."""
        return _rebuilt, (self._arguments, self.seed, self.with_plan, self._place())

    def __repr__(self) -> str:
        order = self._order
        rank = f", rank {order.rank} of {order.world_size}" if order.world_size > 1 else ""
        own = "in batches of its own" if self._arguments["batch_sampler"] is not None else "one by one"
        batches = f"{order.batch_size} a batch" if self.batch_size else own
        seed = self.seed if self.seed is not None else "None: drawn when the first epoch begins"
        lines = self._pipeline.lines()
        lines.insert(1, ("order", f"{order.name}, {batches}{rank}; seed {seed}"))
        return "\n".join(["fastaug.Loader(", *(f"  {name:9} {text}" for name, text in lines), ")"])

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

    def _let_go(self, iterator: object) -> None:
        """An iterator wants no more: workers that are its own end."""
        engine = self._running
        if engine is not None and engine.calls is not None and engine.process == os.getpid():
            engine.calls.end(iterator)

    def replay(self, plan: Plan) -> Any:
        """The batch of a plan again, byte for byte: what iterating yielded with it.

        The plan may come from a file or have been edited: before anything is done, ``BatchPlan.check`` looks
        at all of it, and at whether it is for this data set and size.

        Raises:
            TypeError: when it is no plan.
            ValueError: names the field of the plan that is out of bounds, its row and its value.
            DecodeError: when files cannot be read.
        """
        if not isinstance(plan, Plan):
            raise TypeError(
                f"replay takes a BatchPlan or ViewsPlan, not a {type(plan).__name__}; their load() reads a "
                "saved one"
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

    def _pack(self, batch: Batch) -> Any:
        self._engine.receive(batch)
        images, plan = batch.images, batch.plan
        pipeline = self._pipeline
        if pipeline.extra is not None:
            several = isinstance(images, list)
            each = zip(plan.views, images if several else [images], strict=True)
            made = [run_extra(pipeline.extra, *pair, pipeline.output, pipeline.device) for pair in each]
            images = made if several else made[0]
        return pipeline.batches.packed(images, batch.fields, plan if self.with_plan else None)


def _rebuilt(arguments: dict[str, Any], seed: int | None, with_plan: bool, place: Place) -> Loader:
    """A loader like another: what copies and pickles become."""
    loader = Loader(**arguments)
    loader.seed, loader.with_plan, loader._decided = seed, with_plan, True
    loader._now = loader._next = place
    return loader
