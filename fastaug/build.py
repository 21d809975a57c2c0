"""From the loader's arguments to its pipeline: all is read and checked here, before any thread starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch

from .badfiles import MODES
from .checks import number, one_of, plain, quoted, shown, whole
from .data.datasets import own_transforms, watch
from .data.opening import open_source
from .data.scanned import Scanned
from .data.source import Source
from .decode.gain import MANY, say_gain
from .decode.graphs import PLACES, Decode
from .execute import Executor, choose_executor, maker
from .execute.effects import check_effects
from .execute.output import Output
from .extra import Extra, check_extra
from .machine.device import Device, make_device
from .machine.library import NOT_COMPILED, library
from .ops.base import Augmentation
from .ops.crop import CenterCrop, Resize
from .ops.normalize import Normalize
from .ops.translate import Translation, translate
from .plan.planner import Planner
from .recipes import recipe
from .sampling.epoch import Order, OwnOrder
from .sampling.given import Given, GivenOrder

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)
_DECODERS = {
    "cpu": "cpu: the box decoder, else DALI or Pillow",
    "dali": "cpu: DALI or Pillow",
    "gpu": "gpu: DALI with nvJPEG, or Pillow",
}
_REFUSED = {
    "collate_fn": "batches are made by the kernels; do what it does with the batch in the loop",
    "worker_init_fn": "there are no worker processes to set up",
    "generator": "all randomness comes from seed=",
}


@dataclass(frozen=True, eq=False)
class Pipeline:
    """What a loader does, as data: inert, and the same in every process that it is built in.

    Attributes:
        source: the samples.
        augment: what happens to them.
        planner: draws plans of it.
        order: the order of a rank among so many.
        decode: where and how images are decoded.
        threads: for decoding and for the kernels.
        usual_batch: samples of a usual batch, for which decoders are built at first.
        executor: what carries out plans, by name.
        make_executor: makes it, given the images' format and a number of threads.
        output: format of the images.
        device: where they are delivered.
        classes: C of soft targets; None: targets are class ids.
        label_smoothing: in [0, 1).
        on_error: what becomes of bad files.
        max_bad: how many there may be; None: any number.
        extra: the user's module behind all.
        unchanged: raises when the data set was changed.
        drop_last: whether an epoch's last, shorter batch is left out.
    """

    source: Source
    augment: tuple[Augmentation, ...]
    planner: Planner
    order: Callable[[int, int], Order]
    decode: Decode
    threads: int
    usual_batch: int
    executor: str
    make_executor: Callable[[Output, int], Executor]
    output: Output
    device: Device
    classes: int | None
    label_smoothing: float
    on_error: str
    max_bad: int | None
    extra: Extra | None
    unchanged: Callable[[], None]
    drop_last: bool

    @property
    def random(self) -> bool:
        """Whether the images depend on the seed, whatever their order."""
        fixed = (Resize, CenterCrop, Normalize)
        return self.extra is not None or not all(isinstance(op, fixed) for op in self.augment)

    def lines(self) -> list[tuple[str, str]]:
        """What is done, stage by stage, each with its name."""
        size, output = self.planner.size, self.output
        layout = ", channels last" if output.channels_last else ""
        targets = f"float32 [B, {self.classes}]" if self.classes else "int64 [B]"
        smoothed = f", smoothed by {self.label_smoothing:g}" if self.label_smoothing else ""
        decoding = f"{_DECODERS[self.decode.place]}, {self.decode.threads or self.threads} threads"
        special = ", cut files padded" if self.decode.truncated == "pad" else ""
        special += ", damage an error" if self.decode.strict else ""
        special += ", smaller where that suffices" if self.decode.scaled else ""
        special += ", colour profiles to sRGB" if self.decode.icc else ""
        limit = "" if self.max_bad is None or self.on_error == "raise" else f", at most {self.max_bad} files"
        return [
            ("source", self.source.summary),
            *(("augment" if k == 0 else "", repr(op)) for k, op in enumerate(self.augment)),
            ("decode", decoding + special),
            ("execute", self.executor),
            ("images", f"{str(output.dtype)[6:]} [B, 3, {size[0]}, {size[1]}]{layout}, {self.device.target}"),
            ("targets", targets + smoothed),
            ("on_error", self.on_error + limit),
            *([("extra", shown(self.extra))] if self.extra else []),
        ]


def build(given: SimpleNamespace) -> Pipeline:
    """The pipeline that the arguments of ``Loader`` mean.

    Raises:
        TypeError, ValueError, FileNotFoundError: naming the value and the remedy.
    """
    for name in ("prefetch_factor", "timeout", "num_classes", "label_smoothing", "max_bad", "max_pixels"):
        setattr(given, name, plain(getattr(given, name)))
    for name, remedy in _REFUSED.items():
        if getattr(given, name) is not None:
            raise ValueError(f"{name} has no meaning here: {remedy}; leave it out")
    whole("batch_size", given.batch_size, 1)
    threads = max(1, whole("num_workers", given.num_workers, 0, 1024))
    if given.prefetch_factor is not None:
        whole("prefetch_factor", given.prefetch_factor, 1, 64)
    number("timeout", given.timeout, 0, math.inf)
    if given.seed is not None:
        whole("seed", given.seed, 0, 2**64 - 1)
    if given.world_size is not None:
        whole("world_size", given.world_size, 1, 4096)
    if given.rank is not None:
        whole("rank", given.rank, 0)
    number("label_smoothing", given.label_smoothing, 0, 1, below=True)
    one_of("dtype", given.dtype, (None, *_DTYPES))
    one_of("memory_format", given.memory_format, (torch.contiguous_format, torch.channels_last))
    one_of("on_error", given.on_error, MODES)
    if given.max_pixels is not None:
        whole("max_pixels", given.max_pixels, 1)
    check_samplers(given.batch_size, given.shuffle, given.sampler, given.batch_sampler, given.drop_last)
    device = make_device(given.device)
    decode = decoding(given.decode, device)
    translation = augmentations(given.dataset, given.augment, given.dtype)
    dtype = given.dtype or translation.dtype or torch.float32
    extra = check_extra(given.extra, dtype, device)
    source = open_source(given.dataset, given.max_pixels)
    limit = bad_limit(given.max_bad, len(source))
    planner = fitting_planner(translation.augment, source)
    if dtype == torch.uint8 and (planner.normalize or planner.blends):
        raise ValueError(
            "dtype=torch.uint8 gives raw pixels, so augment may hold neither "
            "Normalize nor MixUp; take them out or choose a float dtype"
        )
    if decode.place == "cpu" and len(source) >= MANY and isinstance(source, Scanned) and source.unindexed:
        say_gain(source, source.unindexed, planner)
    executor = choose_executor(given.executor, device)
    check_effects(executor, translation.augment)
    soft = planner.mixes or given.label_smoothing > 0
    classes = class_count(source, given.num_classes, translation.num_classes, soft)
    return Pipeline(
        source=source,
        augment=translation.augment,
        planner=planner,
        order=order_of(len(source), given),
        decode=decode,
        threads=threads,
        usual_batch=min(usual_batch(given.batch_size, given.batch_sampler), len(source)),
        executor=executor,
        make_executor=maker(executor, device),
        output=Output(dtype, given.memory_format == torch.channels_last, planner.normalize),
        device=device,
        classes=classes if soft else None,
        label_smoothing=given.label_smoothing,
        on_error=given.on_error,
        max_bad=limit,
        extra=extra,
        unchanged=watch(given.dataset, own=given.augment is None),
        drop_last=given.drop_last,
    )


def fitting_planner(augment: Sequence[Augmentation], source: Source) -> Planner:
    """The planner of a list, for the source's images.

    Raises:
        ValueError: when an image does not fit it.
    """
    ids, height, width = source.sizes()
    one = height.min() == height.max() and width.min() == width.max()
    planner = Planner(augment, (int(height[0]), int(width[0])) if one else None)
    planner.geometry.check(height, width, lambda k: quoted(source.name(int(ids[k]))))
    return planner


def order_of(n: int, given: SimpleNamespace) -> Callable[[int, int], Order]:
    """The order of n samples, for a rank among so many: fastaug's own, or the user's."""
    batch_size, drop_last, shuffle = given.batch_size, given.drop_last, bool(given.shuffle)
    sampler = None
    if given.sampler is not None or given.batch_sampler is not None:
        sampler = Given(given.sampler, given.batch_sampler)

    def order(rank: int, world_size: int) -> Order:
        if sampler is not None:
            return GivenOrder(n, sampler, batch_size, drop_last, rank, world_size)
        if drop_last and n < batch_size * world_size:
            raise ValueError(
                f"drop_last=True leaves no batch: {n} samples are fewer than batch_size "
                f"{batch_size} x {world_size} ranks; take a smaller batch_size"
            )
        return OwnOrder(n, batch_size, shuffle, drop_last, rank, world_size)

    return order


def check_samplers(
    batch_size: int, shuffle: bool | None, sampler: object, batch_sampler: object, drop_last: bool
) -> None:
    """DataLoader's rules on which of these exclude each other."""
    if sampler is not None and shuffle:
        raise ValueError("sampler decides the order, so shuffle must not be given with it")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError(
            "batch_sampler decides the batches, so batch_size, shuffle, sampler and "
            "drop_last must not be given with it"
        )


def augmentations(
    dataset: object, augment: Sequence[object] | str | None, dtype: torch.dtype | None
) -> Translation:
    """What ``augment`` means: a recipe, a list in which torchvision's transforms may stand, or None, the data
    set's own transform."""
    if isinstance(augment, str):
        return Translation(tuple(recipe(augment)))
    if augment is None:
        return _own(own_transforms(dataset), dtype)
    if not isinstance(augment, (list, tuple)):
        raise TypeError(
            "augment must be a list of augmentations or of torchvision's transforms, or a "
            f"recipe's name, not {augment!r}"
        )
    if any(callable(member) for member in augment):  # augmentations are data and not called
        return translate(augment, dtype)
    return Translation(tuple(augment))


def _own(parts: Sequence[tuple[str, object]], dtype: torch.dtype | None) -> Translation:
    """The translation that all parts of a data set share."""
    known: dict[int, Translation] = {}
    for name, transform in parts:
        if id(transform) not in known:
            known[id(transform)] = Translation(()) if transform is None else translate([transform], dtype)
        if known[id(transform)] != known[id(parts[0][1])]:
            raise ValueError(
                f"{parts[0][0]} and {name} have different transforms, {shown(parts[0][1])} and "
                f"{shown(transform)}; give them the same, or use augment=[...] for all, or a "
                "loader for each"
            )
    return known[id(parts[0][1])]


def decoding(decode: Decode | str | None, device: Device) -> Decode:
    """Where and how images are decoded for a device."""
    gpu = device.target.type == "cuda"
    if not isinstance(decode, Decode):
        one_of("decode", decode, (None, *PLACES))
        decode = Decode(decode or "auto")
    if decode.place == "gpu" and not gpu:
        raise ValueError(
            f"decode={decode.place!r} needs a CUDA device, and batches are delivered on "
            f"{device.target}; use decode='cpu' or device='cuda'"
        )
    place = decode.place if decode.place != "auto" else "gpu" if gpu else "cpu"
    if place == "cpu" and library() is None:
        place = "dali"  # the same pixels
    for name in ("strict", "scaled"):
        if getattr(decode, name) and place != "cpu":
            remedy = "use place='cpu'" if place == "gpu" else NOT_COMPILED
            raise ValueError(f"Decode {name}=True is the box decoder's, which decodes on the CPU: {remedy}")
    return replace(decode, place=place)


def class_count(source: Source, num_classes: int | None, mixing: int | None, soft: bool) -> int | None:
    """How many classes there are, if that is known.

    Args:
        source: whose labels must be below it.
        num_classes: what the loader was told.
        mixing: what torchvision's MixUp or CutMix were told.
        soft: whether it must be known.
    """
    if None not in (num_classes, mixing) and num_classes != mixing:
        raise ValueError(
            f"num_classes={num_classes}, and MixUp or CutMix in augment say {mixing}; give one number"
        )
    num_classes = mixing if num_classes is None else num_classes
    if num_classes is not None:
        whole("num_classes", num_classes, 1)
    elif source.classes is not None:
        num_classes = len(source.classes)
    if num_classes is None:
        if soft:
            raise ValueError(
                "mixing and label smoothing give soft targets, which need "
                f"num_classes=...; the largest label is {source.largest_label()[0]}"
            )
        return None
    label, sample = source.largest_label()
    if label >= num_classes:
        raise ValueError(
            f"{quoted(source.name(sample))} has label {label}, out of range for "
            f"num_classes={num_classes}; labels count from 0 to {num_classes - 1}"
        )
    return num_classes


def bad_limit(max_bad: float | None, n: int) -> int | None:
    """How many of n files may be bad: ``max_bad`` is a share of them (rounded up), a number, or None."""
    if max_bad is None:
        return None
    if isinstance(max_bad, float):
        return math.ceil(number("max_bad", max_bad, 0, 1, below=True) * n)
    return whole("max_bad", max_bad, 0)


def usual_batch(batch_size: int, batch_sampler: object) -> int:
    """What the decoder is built for at first; it grows with the batches of a batch_sampler."""
    if batch_sampler is None:
        return batch_size
    given = getattr(batch_sampler, "batch_size", None)
    return given if isinstance(given, int) and given > 0 else 32
