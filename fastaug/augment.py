"""Augment: the same plan and kernels on a batch that the user has already, without a loader; and streams,
whose batches go through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from .arguments import DTYPES, augmentations, batch_kind
from .call.choose import raster_of
from .checks import number, one_of, shown, whole
from .data.form import Form, Raster, form_of, pixels_of, tensor_last
from .data.source import Kind, Pixels
from .decode.canvas import Canvas
from .decode.jobs import boxes_of, jobs_of
from .decode.scale import PixelDecoder, Scaler, resample_all
from .epochs import agreed_seed
from .execute import Executor, choose_executor, maker
from .execute.batches import Batches, mapped
from .execute.effects import check_effects
from .execute.label_maps import check_label_maps, shown_map
from .execute.output import Output
from .machine.device import Device, Pool, make_device
from .ops.base import Stage
from .ops.normalize import Normalize
from .ops.schedule import Schedule
from .ops.views import Views
from .plan.batch_plan import BatchPlan
from .plan.planner import AnyPlanner, Planner, ViewsPlanner, one_size, planner_of
from .plan.views_plan import Plan, ViewsPlan
from .sampling.epoch import Ticket, ranks
from .sampling.philox import EPOCH_BITS, U32, Keys
from .sampling.philox import Stream as Purpose

_TARGET = Form("tuple", 0, (1,), 0)


class Augment:
    """Augmentations of batches that are there already: from a stream, a simulation, WebDataset, a loader of
    one's own, on the CPU or a GPU.

    Everything random is keyed by (seed, epoch, key), so a sample with the same key gets the same, whatever
    else is in its batch; mixing by (seed, epoch, call). Without ``keys`` samples are counted, in each
    worker process and rank by itself: by (seed, epoch, worker, position). That is the same again at the same
    number of workers and ranks, and not at another.

    Args:
        augment: a list as ``fastaug.loader`` takes it, a recipe's name, ``Views``, or a schedule.
        dtype: torch.float32, float16, bfloat16, or uint8; None: what torchvision's transforms imply, else
            float32.
        memory_format: torch.contiguous_format or torch.channels_last.
        num_classes: C of soft targets.
        label_smoothing: in [0, 1).
        mix_targets: as in ``fastaug.loader``.
        channels: 2 to 16, for images with so many; None: three.
        seed: 0 to 2**64 - 1.
        executor: as in ``fastaug.loader``.
        threads: on the CPU, 1 to 1024.

    Raises:
        TypeError, ValueError: naming the value and the remedy.

    Example:
        >>> import fastaug
        >>> import torch
        >>> augment = fastaug.Augment([fastaug.RandomResizedCrop(24), fastaug.MixUp(0.2)], num_classes=10)
        >>> images, targets = augment(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.arange(4))
        >>> list(images.shape), list(targets.shape)
        ([4, 3, 24, 24], [4, 10])
    """

    def __init__(
        self,
        augment: Sequence[object] | str | Schedule | Views,
        *,
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
        num_classes: int | None = None,
        label_smoothing: float = 0.0,
        mix_targets: bool = True,
        channels: int | None = None,
        seed: int = 0,
        executor: str | None = None,
        threads: int = 1,
    ) -> None:
        one_of("dtype", dtype, (None, *DTYPES))
        one_of("memory_format", memory_format, (torch.contiguous_format, torch.channels_last))
        self.seed, self._threads = whole("seed", seed, 0, 2**64 - 1), whole("threads", threads, 1, 1024)
        self._smoothing = number("label_smoothing", label_smoothing, 0, 1, below=True)
        self._translation = augmentations(augment, dtype)
        self._dtype = dtype or self._translation.dtype or torch.float32
        self._classes = (
            self._translation.num_classes if num_classes is None else whole("num_classes", num_classes, 1)
        )
        self._last, self._channels = memory_format == torch.channels_last, channels
        self._mix_targets, self._executor = mix_targets, executor
        self._ops = self._translation.ops
        self._scaler, self._memory = Scaler(threads), Pool()
        self._made: dict[Any, tuple[Device, Executor]] = {}
        self._planners: dict[tuple[int, int] | None, AnyPlanner] = {}
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Begins an epoch: samples are counted from 0."""
        self.epoch = whole("epoch", epoch, 0, (1 << EPOCH_BITS) - 1)
        self._next = self._step = 0

    def __call__(
        self,
        images: Any,
        targets: Any = None,
        *,
        keys: Any = None,
        masks: Any = None,
        with_plan: bool = False,
    ) -> Any:
        """Augments a batch.

        Args:
            images: uint8 ``[B, C, H, W]`` (tensors) or ``[B, H, W, C]``, or a list of images of any sizes;
                floats in [0, 1], and others where nothing but masks, mixing and Normalize is to be done.
            targets: of the batch, as a loader would give them before mixing; None: there are none.
            keys: a whole number for each image, 0 to 2**32 - 1.
            masks: label maps ``[B, H, W]`` or a list of ``[H, W]``, which go through the same geometry, by
                nearest; 0 where there is nothing.
            with_plan: give the plan too.

        Returns:
            images ``[B, C, H, W]`` on the device of those given, a list of them for ``Views``; or a tuple of
            these, targets, masks (int or whatever they were, ``[B, H, W]``, likewise) and the plan, as far as
            they are asked for.

        Raises:
            TypeError, ValueError: naming what does not fit.
        """
        if not len(images):
            raise ValueError("the batch is empty; give at least one image")
        ticket = self._ticket(len(images), keys)
        raster = raster_of(images[0], self._channels, self._ops)
        device, executor = self._at(images, raster)
        crops, plan = self._cropped(images, ticket, raster, device)
        with device.working():
            made = [executor.run(view, each) for view, each in zip(plan.views, crops, strict=True)]
        several = isinstance(plan, ViewsPlan)
        out: list[Any] = [made if several else made[0]]
        if targets is not None:
            out.append(mapped(lambda t: t.to(made[0].device), self.targets(targets, plan)))
        if masks is not None:
            maps = [self._label_maps(masks, view) for view in plan.views]
            out.append(maps if several else maps[0])
        if with_plan:
            out.append(plan)
        return out[0] if len(out) == 1 else tuple(out)

    def _ticket(self, n: int, keys: Any) -> Ticket:
        info = get_worker_info()
        rank, _ = ranks(None, None)
        worker = rank * info.num_workers + info.id if info is not None else rank
        counted = keys is None
        if counted:
            keys = np.arange(self._next, self._next + n)
        ids = np.asarray(keys.cpu() if isinstance(keys, torch.Tensor) else keys)
        if ids.shape != (n,) or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= 1 << 32:
            raise ValueError(f"keys must be {n} whole numbers from 0 to 2**32 - 1, not {shown(keys)}")
        step, self._step, self._next = self._step, self._step + 1, self._next + n
        none = np.zeros(n, bool)
        return Ticket(
            ids.astype(np.int64),
            np.zeros(n, U32),
            none,
            self.seed,
            self.epoch,
            step,
            worker,
            rank_keyed=counted,
        )

    def _at(self, images: Any, raster: Raster) -> tuple[Device, Executor]:
        """Where the batch is, and what carries plans out there."""
        where = images.device if isinstance(images, torch.Tensor) else torch.device("cpu")
        if (where, raster) not in self._made:
            device = make_device(where)
            name = choose_executor(self._executor, device, raster)
            check_effects(name, self._ops)
            normalize = next((op for op in self._ops if isinstance(op, Normalize)), None)
            output = Output(self._dtype, self._last, normalize, raster, raster.channels)
            self._made[where, raster] = device, maker(name, device)(output, self._threads)
        return self._made[where, raster]

    def _planner(self, size: tuple[int, int] | None) -> Planner | ViewsPlanner:
        if size not in self._planners:
            self._planners[size] = planner_of(self._translation.stages, size)
        return self._planners[size].at(self.epoch)

    def _cropped(
        self, images: Any, ticket: Ticket, raster: Raster, device: Device
    ) -> tuple[list[torch.Tensor], Plan]:
        """The crops of each view, ``[B, H, W, C]`` on the device, and the plan."""
        resident = isinstance(images, torch.Tensor) and images.device.type != "cpu"
        each: list[Any] = [tensor_last(i, raster) if resident else pixels_of(i, raster) for i in images]
        height, width = (np.array([image.shape[k] for image in each], np.int64) for k in range(2))
        planner = self._planner(one_size(height, width))
        planner.check(height, width, lambda k: f"image {k} of the batch")
        fits = planner.fits(height, width)
        if not fits.all():
            k = int(np.flatnonzero(~fits)[0])
            raise ValueError(f"image {k} of the batch, {height[k]}x{width[k]} pixels, does not fit augment")
        plan = planner.plan(ticket, height, width)
        rows = np.arange(len(each))
        if resident:
            return [resample_all(view, each, raster) for view in plan.views], plan
        canvas = Canvas(device, self._memory, len(plan), [view.size for view in plan.views], raster)
        jobs = jobs_of(
            plan, rows, [Pixels(image) for image in each], np.full(len(each), Kind.PIXELS, np.uint8)
        )
        PixelDecoder(self._scaler).run(jobs, canvas, lambda: False)
        return [cast(torch.Tensor, canvas.pixels(k)) for k in range(len(plan.views))], plan

    def targets(self, targets: Any, plan: Plan) -> Any:
        """A batch's targets, smoothed and mixed as a plan mixes images."""
        mixes = any(op.stage is Stage.MIX for op in self._ops)
        batches = Batches(
            ("image", "label"), _TARGET, "tuple", self._classes, self._smoothing, self._mix_targets, mixes
        )
        return batches.targets(mapped(lambda t: t.cpu(), _tensors(targets)), plan)

    def _label_maps(self, masks: Any, plan: BatchPlan) -> torch.Tensor:
        check_label_maps(self._translation.lists)
        if len(masks) != len(plan):
            raise ValueError(f"there are {len(plan)} images and {len(masks)} masks; give one for each")
        out = []
        for k, (box, mask) in enumerate(
            zip(boxes_of(plan, np.arange(len(plan))).tolist(), masks, strict=True)
        ):
            held = torch.as_tensor(mask)
            if held.ndim != 2:
                raise ValueError(f"a mask has the shape {tuple(held.shape)}; it must be [H, W]")
            if box[0] + box[2] > held.shape[0] or box[1] + box[3] > held.shape[1]:
                raise ValueError(f"a mask has the shape {tuple(held.shape)}, smaller than its image")
            out.append(shown_map(plan, k, held))
        return torch.stack(out)


def _tensors(targets: Any) -> Any:
    """A batch's targets as tensors."""
    if isinstance(targets, dict):
        return {key: _tensors(value) for key, value in targets.items()}
    if isinstance(targets, tuple):
        return tuple(map(_tensors, targets))
    return torch.as_tensor(np.asarray(targets) if isinstance(targets, list) else targets)


class Stream:
    """What ``fastaug.loader`` gives for an IterableDataset: batches of torch's own DataLoader, by its rules
    on who yields what, each augmented in the worker that made it.

    Samples of a stream have no numbers, so they are keyed by (seed, epoch, worker, position): the same again
    at the same number of workers and ranks, and not at another. There is no shuffling, no resuming, no
    ``replay``; what cannot be read is raised.

    Args:
        dataset: an IterableDataset, whose samples are (image, target, …), dicts or images.
        given: the loader's arguments.
    """

    def __init__(self, dataset: IterableDataset[Any], given: Mapping[str, Any]) -> None:
        for name, default in _NUMBERED.items():
            if given[name] != default:
                raise ValueError(
                    f"{name}={given[name]!r} is not possible with an IterableDataset, whose samples have no "
                    "numbers: leave it out"
                )
        self.dataset, self.batch_size, self.num_workers = dataset, given["batch_size"], given["num_workers"]
        self.seed = given["seed"] if given["seed"] is not None else agreed_seed(1, given["generator"])
        self._augment = Augment(
            [] if given["augment"] is None else given["augment"],
            dtype=given["dtype"],
            memory_format=given["memory_format"],
            num_classes=given["num_classes"],
            label_smoothing=given["label_smoothing"],
            mix_targets=given["mix_targets"],
            channels=given["channels"],
            seed=self.seed,
            executor=given["executor"],
        )
        self._device = make_device(given["device"])
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._next, self._generator = 0, torch.Generator()
        finish = _Finish(self._augment, self._epoch, given["batch"], given["with_plan"])
        options = {name: given[name] for name in _PASSED}
        self._loader: Any = DataLoader(dataset, collate_fn=finish, generator=self._generator, **options)

    def __len__(self) -> int:
        """Batches of an epoch, where the data set has a length."""
        return len(self._loader)

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iterator; ``iter()`` advances it by itself."""
        self._next = whole("epoch", epoch, 0, (1 << EPOCH_BITS) - 1)
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        self._epoch[0], epoch = self._next, self._next
        self._next += 1
        keys = Keys(self.seed, np.zeros(1, U32), epoch).words(Purpose.CALL)[:2, 0].tolist()
        self._generator.manual_seed(keys[0] << 31 ^ keys[1])  # torch seeds its workers from it
        target = self._device.target
        for batch in self._loader:
            yield batch if target.type == "cpu" else mapped(lambda t: t.to(target, non_blocking=True), batch)

    def close(self) -> None:
        """Nothing to end: torch's workers end with their iterator."""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# The loader's arguments that mean something by a sample's number alone, and their values when not given.
_NUMBERED: dict[str, Any] = {
    **dict.fromkeys(("sampler", "batch_sampler", "weights", "balance", "epoch_length", "rank", "world_size")),
    **dict.fromkeys(("collate_fn", "decode", "extra", "source", "keyed")),
    **{"shuffle": None, "on_error": "raise", "workers": "process", "targets": None},
}
_PASSED = (
    *("batch_size", "num_workers", "drop_last", "timeout", "worker_init_fn", "multiprocessing_context"),
    *("prefetch_factor", "persistent_workers"),
)


class _Finish:
    """Makes a finished batch of a list of samples, where torch collates: in a worker.

    Args:
        augment: what is done.
        epoch: of the stream; shared with the workers.
        batch: the form that is asked for.
        with_plan: whether the plan is wanted.
    """

    def __init__(self, augment: Augment, epoch: torch.Tensor, batch: Any, with_plan: bool) -> None:
        self._augment, self._epoch, self._batch, self._with_plan = augment, epoch, batch, with_plan
        self._form: Form | None = None

    def __call__(self, samples: list[Any]) -> Any:
        form = self._form = self._form or form_of(samples[0], "the stream")
        if int(self._epoch) != self._augment.epoch:
            self._augment.set_epoch(int(self._epoch))
        parts = [form.split(sample) for sample in samples]
        images, plan = self._augment([image for image, _ in parts], with_plan=True)
        columns = [default_collate(list(column)) for column in zip(*(more for _, more in parts), strict=True)]
        if form.target is not None:
            columns[form.target] = self._augment.targets(columns[form.target], plan)
        names, kind = batch_kind(self._batch, form.names, form.kind)
        return Batches(names, form, kind).packed(images, tuple(columns), plan if self._with_plan else None)
