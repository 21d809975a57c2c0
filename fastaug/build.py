"""From the loader's arguments to its pipeline: all is read and checked here, before any thread starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import torch

from .arguments import (
    augmentations,
    bad_limit,
    batch_kind,
    check_arguments,
    check_collating,
    class_count,
    collating,
    decoding,
    order_of,
    usual_batch,
    with_collate,
    workers_of,
)
from .call.called import Called
from .call.choose import Asked, Chosen, choose
from .call.mixture import Mixture, Parts
from .call.workers import Workers
from .checks import quoted, shown
from .data.datasets import watch
from .data.form import Raster
from .data.scanned import Scanned
from .data.source import Source
from .decode.gain import MANY, say_gain
from .decode.graphs import Decode
from .execute import Executor, choose_executor, maker
from .execute.batches import Batches
from .execute.effects import check_effects
from .execute.label_maps import check_label_maps
from .execute.output import Output
from .extra import Extra, check_extra
from .machine.device import Device, make_device
from .ops.base import Augmentation
from .ops.corners import CornerCrop
from .ops.crop import CenterCrop, Resize
from .ops.normalize import Normalize
from .ops.pad import Pad
from .ops.translate import Stage, Translation
from .ops.views import Views, lists_of, runs
from .plan.planner import AnyPlanner, one_size, planner_of
from .sampling.epoch import Order

_DECODERS = {
    "cpu": "cpu: the box decoder, else DALI or Pillow",
    "dali": "cpu: DALI or Pillow",
    "gpu": "gpu: DALI with nvJPEG, or Pillow",
}


@dataclass(frozen=True, eq=False)
class Pipeline:
    """What a loader does, as data: inert, and the same in every process that it is built in.

    Attributes:
        source: the samples.
        augment: what happens to them: (first epoch, list or Views) of each stage, one but for a schedule.
        planner: draws plans of it.
        order: the order of a rank among so many.
        decode: where and how images are decoded.
        workers: who calls the data set, where it is called.
        threads: for decoding and for the kernels.
        random: whether the images depend on the seed, whatever their order.
        raster: of the pixels on their way.
        usual_batch: samples of a usual batch, for which decoders are built at first.
        executor: what carries out plans, by name.
        make_executor: makes it, given the images' format and a number of threads.
        output: format of the images.
        device: where they are delivered.
        batches: what comes beside the images, and in which form.
        on_error: what becomes of bad files.
        max_bad: how many there may be; None: any number.
        extra: the user's module behind all.
        unchanged: raises when the data set was changed.
        drop_last: whether an epoch's last, shorter batch is left out.
    """

    source: Source
    augment: tuple[Stage, ...]
    planner: AnyPlanner
    order: Callable[[int, int], Order]
    decode: Decode
    workers: Workers
    threads: int
    random: bool
    raster: Raster
    usual_batch: int
    executor: str
    make_executor: Callable[[Output, int], Executor]
    output: Output
    device: Device
    batches: Batches
    on_error: str
    max_bad: int | None
    extra: Extra | None
    unchanged: Callable[[], None]
    drop_last: bool

    def ahead(self, given: int | None) -> int:
        """Batches that are prepared ahead, for what was given as ``prefetch_factor``."""
        workers = self.workers
        parts = self.source.sources if isinstance(self.source, Parts) else [self.source]
        if any(isinstance(part, Called) for part in parts):
            return workers.number * workers.prefetch + 1 if workers.number else 0
        return 2 if given is None else given

    def lines(self) -> list[tuple[str, str]]:
        """What is done, stage by stage, each with its name."""
        output = self.output
        layout = ", channels last" if output.channels_last else ""
        counts = runs(self.planner.sizes)
        shapes = (
            f"{n} x " * (n > 1) + f"[B, {output.channels}, {height}, {width}]"
            for (height, width), n in counts
        )
        decoding = f"{_DECODERS[self.decode.place]}, {self.decode.threads or self.threads} threads"
        special = ", cut files padded" if self.decode.truncated == "pad" else ""
        special += ", damage an error" if self.decode.strict else ""
        special += ", smaller where that suffices" if self.decode.scaled else ""
        special += ", colour profiles to sRGB" if self.decode.icc else ""
        limit = "" if self.max_bad is None or self.on_error == "raise" else f", at most {self.max_bad} files"
        return [
            ("source", self.source.summary),
            *said_stages(self.augment),
            ("decode", decoding + special),
            ("execute", self.executor),
            (
                "images",
                f"{str(output.dtype)[6:]} {', '.join(shapes)}{layout}, {self.device.target}",
            ),
            ("targets", self.batches.summary),
            ("on_error", self.on_error + limit),
            *([("extra", shown(self.extra))] if self.extra else []),
        ]


def build(given: SimpleNamespace) -> Pipeline:
    """The pipeline that the arguments of ``Loader`` mean.

    Raises:
        TypeError, ValueError, FileNotFoundError: naming the value and the remedy.
    """
    check_arguments(given)
    device = make_device(given.device)
    decode = decoding(given.decode, device)
    workers = workers_of(given)
    augment = None if given.augment is None else partial(augmentations, given.augment, given.dtype)
    keyed = given.keyed if given.keyed is not None else given.workers == "process" or not given.num_workers
    chosen = choose(
        Asked(given.dataset, given.source, augment, given.dtype, given.channels, keyed, given.max_pixels),
        workers,
    )
    source, translation = chosen.source, with_collate(chosen.translation, given)
    dtype = given.dtype or translation.dtype or torch.float32
    extra = check_extra(given.extra, dtype, device)
    limit = bad_limit(given.max_bad, len(source))
    planner = fitting_planner(translation, source)
    if dtype == torch.uint8 and (planner.normalize or planner.blends):
        raise ValueError(
            "dtype=torch.uint8 gives raw pixels, so augment may hold neither "
            "Normalize nor MixUp; take them out or choose a float dtype"
        )
    if decode.place == "cpu" and len(source) >= MANY and isinstance(source, Scanned) and source.unindexed:
        say_gain(source, source.unindexed, planner.at(0))
    if decode.place == "gpu" and not planner.plain:
        raise ValueError(
            "decode='gpu' crops, scales and flips by 'nearest', 'bilinear' or 'bicubic' alone, and augment "
            "pads, turns before a crop, or takes another filter; use decode='cpu'"
        )
    executor = choose_executor(given.executor, device, chosen.raster)
    check_effects(executor, translation.ops)
    soft = planner.mixes or given.label_smoothing > 0
    collate, single = collating(given.collate_fn), given.batch_size is None
    if given.targets == "mask":
        check_masks(chosen, translation, given.label_smoothing)
    names, kind = batch_kind(given.batch, source.names, chosen.form.kind)
    kind = "single" if single else kind
    if collate is not None or single:
        check_collating(planner.mixes, given.label_smoothing, "collate_fn" if collate else "batch_size=None")
    return Pipeline(
        source=source,
        augment=translation.stages,
        planner=planner,
        order=order_of(source, given),
        decode=decode,
        workers=workers,
        threads=max(1, workers.number),
        random=is_random(source, translation.ops, extra),
        raster=chosen.raster,
        usual_batch=min(usual_batch(given.batch_size, given.batch_sampler), len(source)),
        executor=executor,
        make_executor=maker(executor, device),
        output=Output(
            dtype,
            given.memory_format == torch.channels_last,
            planner.normalize,
            chosen.raster,
            given.channels or chosen.raster.channels,
        ),
        device=device,
        batches=Batches(
            names,
            chosen.form,
            kind,
            class_count(source, given.num_classes, translation.num_classes, soft and chosen.ids),
            given.label_smoothing,
            given.mix_targets,
            planner.mixes,
            chosen.ids,
            given.targets == "mask",
            collate,
        ),
        on_error=given.on_error,
        max_bad=limit,
        extra=extra,
        unchanged=changes(given.dataset, source, given.augment is None),
        drop_last=given.drop_last,
    )


def check_masks(chosen: Chosen, translation: Translation, smoothing: float) -> None:
    """Raises where targets can be no label maps."""
    if chosen.form.target is None or chosen.ids:
        raise ValueError(
            "targets='mask' takes samples of (image, label map): a path, bytes, a PIL image or an array "
            "[H, W] each, and these have none"
        )
    if smoothing:
        raise ValueError("label_smoothing is of class ids, and targets='mask' gives label maps; leave it out")
    check_label_maps(translation.lists)


def said_stages(stages: Sequence[Stage]) -> Iterator[tuple[str, str]]:
    """A line for each augmentation, under the epoch from which it holds."""
    for first, listing in stages:
        heading = "augment" if len(stages) == 1 else f"epoch {first}"
        for number, (augment, times) in enumerate(runs(lists_of(listing))):
            if isinstance(listing, Views):
                yield "" if number else heading, "a view of" if times == 1 else f"{times} views of"
                heading = ""
            for k, op in enumerate(augment):
                yield "" if k else heading, repr(op)


def is_random(source: Source, ops: Sequence[Augmentation], extra: Extra | None) -> bool:
    """Whether images depend on the seed, whatever their order."""
    parts = source.sources if isinstance(source, Parts) else [source]
    called = any(isinstance(part, Called) and part.calling.keyed for part in parts)
    fixed = all(isinstance(op, (Resize, CenterCrop, CornerCrop, Pad, Normalize)) for op in ops)
    return called or extra is not None or not fixed


def fitting_planner(translation: Translation, source: Source) -> AnyPlanner:
    """The planner of a list, or of those of a schedule, for the source's images.

    Raises:
        ValueError: when an image does not fit it.
    """
    ids, height, width = source.sizes()
    planner = planner_of(translation.stages, one_size(height, width))
    for each in planner.each():
        each.check(height, width, lambda k: quoted(source.name(int(ids[k]))))
    return planner


def changes(data: object, source: Source, own: bool) -> Callable[[], None]:
    """What raises when the data set is another than it was. One that is called says what it is each time."""
    if isinstance(source, Parts) and isinstance(data, Mixture):
        each = [
            changes(part, held, own)
            for (part, _), held in zip(data.parts.values(), source.sources, strict=True)
        ]

        def check_all() -> None:
            for check_one in each:
                check_one()

        return check_all
    if not isinstance(source, Called):
        return watch(data, own=own)
    dataset, n = source.calling.dataset, len(source)

    def check() -> None:
        if len(dataset) != n:
            raise RuntimeError(
                f"the length of {source.calling.name} has changed since the loader was made, from {n} to "
                f"{len(dataset)}; make a new loader"
            )

    return check
