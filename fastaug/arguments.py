"""What a loader's arguments mean, one by one: each is read and checked before any work starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import default_collate

from .badfiles import MODES
from .call.choose import check_channels
from .call.mixture import Parts
from .call.workers import Workers
from .checks import naming, number, one_of, plain, quoted, shown, whole
from .data.source import Source
from .decode.graphs import PLACES, Decode
from .machine.device import Device
from .machine.library import NOT_COMPILED, library
from .ops.base import Augmentation
from .ops.schedule import Schedule
from .ops.translate import Translation, agreed, in_views, translate
from .ops.views import Views, each_list, expanded
from .recipes import VIEWS, recipe, views
from .sampling.draws import Draws, Mixed, Passes, Weighted, class_weights
from .sampling.epoch import Order, OwnOrder
from .sampling.given import Given, GivenOrder
from .timm import collate_mixing

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)


def check_arguments(given: SimpleNamespace) -> None:
    """Raises a TypeError or ValueError for an argument that is out of its range."""
    for name in (
        "prefetch_factor",
        "timeout",
        "num_classes",
        "label_smoothing",
        "max_bad",
        "max_pixels",
        "channels",
    ):
        setattr(given, name, plain(getattr(given, name)))
    if given.batch_size is not None:
        whole("batch_size", given.batch_size, 1)
    whole("num_workers", given.num_workers, 0, 1024)
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
    one_of("dtype", given.dtype, (None, *DTYPES))
    one_of("memory_format", given.memory_format, (torch.contiguous_format, torch.channels_last))
    one_of("on_error", given.on_error, MODES)
    one_of("source", given.source, (None, "files", "call"))
    one_of("workers", given.workers, ("process", "thread"))
    one_of("keyed", given.keyed, (None, True, False))
    one_of("mix_targets", given.mix_targets, (True, False))
    one_of("targets", given.targets, (None, "mask"))
    check_channels(given.channels)
    if given.max_pixels is not None:
        whole("max_pixels", given.max_pixels, 1)
    if given.generator is not None and not isinstance(given.generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, not {shown(given.generator)}")
    check_samplers(given.batch_size, given.shuffle, given.sampler, given.batch_sampler, given.drop_last)


def workers_of(given: SimpleNamespace) -> Workers:
    """Who calls a data set, where it is called."""
    if given.keyed and given.workers == "thread" and given.num_workers:
        raise ValueError(
            "keyed=True is not possible with workers='thread': threads share Python's, NumPy's and torch's "
            "random numbers; use workers='process', or leave keyed out"
        )
    return Workers(
        given.num_workers,
        given.workers,
        given.worker_init_fn,
        given.multiprocessing_context,
        given.persistent_workers,
        2 if given.prefetch_factor is None else given.prefetch_factor,
    )


def order_of(source: Source, given: SimpleNamespace) -> Callable[[int, int], Order]:
    """The order of a source's samples, for a rank among so many: fastaug's own, or the user's."""
    n, batch_size = len(source), given.batch_size or 1
    drop_last, shuffle = given.drop_last, bool(given.shuffle)
    weights, sampler = weights_of(given, source), None
    if given.sampler is not None or given.batch_sampler is not None:
        sampler = Given(given.sampler, given.batch_sampler)

    def order(rank: int, world_size: int) -> Order:
        if sampler is not None:
            return GivenOrder(n, sampler, batch_size, drop_last, rank, world_size)
        length = epoch_length(given.epoch_length, n, batch_size * world_size)
        if drop_last and length is not None and length < batch_size * world_size:
            raise ValueError(
                f"drop_last=True leaves no batch: {length} samples are fewer than batch_size "
                f"{batch_size} x {world_size} ranks; take a smaller batch_size"
            )
        draws: Draws = Passes(n, shuffle, length)
        if weights is not None:
            draws = Weighted(weights, length)
        elif isinstance(source, Parts):
            draws = Mixed(source.counts, source.weights, shuffle, length)
        return OwnOrder(draws, batch_size, drop_last, rank, world_size)

    return order


def epoch_length(given: object, n: int, span: int) -> int | None:
    """Samples of an epoch; None: it has no end.

    Args:
        given: a number of samples, "N batches", ``math.inf``, or None.
        n: of the data set.
        span: samples of a batch, of all ranks together.
    """
    if given is None:
        return n
    if given == math.inf:
        return None
    number, _, unit = given.partition(" ") if isinstance(given, str) else ("", "", "")
    if unit == "batches" and number.isdecimal():
        return whole("epoch_length", int(number), 1) * span
    if isinstance(given, str):
        raise ValueError(f"epoch_length must be a number of samples, 'N batches' or math.inf, not {given!r}")
    return whole("epoch_length", given, 1, 1 << 40)


def weights_of(given: SimpleNamespace, source: Source) -> npt.NDArray[np.float64] | None:
    """A weight for each sample, or None."""
    one_of("balance", given.balance, (None, "class"))
    if given.weights is None and given.balance is None:
        return None
    what = "weights" if given.weights is not None else "balance"
    if given.shuffle is False or given.sampler is not None or given.batch_sampler is not None:
        raise ValueError(
            f"{what} draws samples at random, so sampler, batch_sampler and shuffle=False do not go"
        )
    if given.weights is not None and given.balance is not None:
        raise ValueError("weights and balance both say how often samples come; give one of them")
    if given.balance is not None:
        labels = source.labels()
        if labels is None:
            raise ValueError(
                "balance='class' needs class ids that are known before samples are: give the data set a "
                "``targets`` or ``labels`` with one whole number each, or weights=... with a weight each"
            )
        return class_weights(labels)
    weights = np.asarray(given.weights, np.float64)
    if weights.shape != (len(source),):
        raise ValueError(f"weights has the shape {weights.shape}; give one for each of {len(source)} samples")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong) or not weights.sum() > 0:
        odd = f"sample {wrong[0]}'s is {weights[wrong[0]]}" if len(wrong) else "all are 0"
        raise ValueError(f"weights must be finite, at least 0, and not all 0: {odd}")
    return weights


def check_samplers(
    batch_size: int | None, shuffle: bool | None, sampler: object, batch_sampler: object, drop_last: bool
) -> None:
    """DataLoader's rules on which of these exclude each other."""
    if sampler is not None and shuffle:
        raise ValueError("sampler decides the order, so shuffle must not be given with it")
    if batch_size is None and drop_last:
        raise ValueError("batch_size=None gives samples one by one, so drop_last must not be given with it")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError(
            "batch_sampler decides the batches, so batch_size, shuffle, sampler and "
            "drop_last must not be given with it"
        )


def collating(collate_fn: object) -> Callable[[list[Any]], Any] | None:
    """A user's ``collate_fn`` that is to be called: torch's own says what is done anyway."""
    place = getattr(collate_fn, "__module__", ""), getattr(collate_fn, "__name__", "")
    if collate_fn is None or collate_fn is default_collate or place == ("timm.data.loader", "fast_collate"):
        return None
    if collate_mixing(collate_fn) is not None:
        return None  # stands in the list
    if not callable(collate_fn):
        raise TypeError(f"collate_fn must be a function of a list of samples, not {shown(collate_fn)}")
    return collate_fn


def with_collate(translation: Translation, given: SimpleNamespace) -> Translation:
    """The translation with what timm's mixing collate does; label smoothing and classes are its own too."""
    found = collate_mixing(given.collate_fn)
    if found is None:
        return translation
    mixing, smoothing, classes = found
    if given.label_smoothing:
        raise ValueError("timm's collate_fn smooths labels, so label_smoothing must not be given with it")
    given.label_smoothing, given.num_classes = smoothing, given.num_classes or classes

    def mixed(ops: tuple[Augmentation, ...]) -> tuple[Augmentation, ...]:
        return tuple(sorted((*ops, *mixing), key=lambda op: op.stage))

    later = tuple((first, each_list(ops, mixed)) for first, ops in translation.later)
    return replace(translation, augment=each_list(translation.augment, mixed), later=later)


def check_collating(mixes: bool, smoothing: float, what: str) -> None:
    """Raises where targets would have to be changed behind the user's back."""
    if mixes or smoothing:
        raise ValueError(
            f"{what} gets targets as the data set gives them, so augment may hold no MixUp or CutMix, and "
            "label_smoothing must be 0: leave it out, or mix there"
        )


def augmentations(
    augment: Sequence[object] | str | Schedule | Views, dtype: torch.dtype | None
) -> Translation:
    """What ``augment`` means: a recipe, a list in which torchvision's transforms may stand, Views of such
    lists, or a schedule of them."""
    if isinstance(augment, Schedule):
        each = [(first, augmentations(ops, dtype)) for first, ops in augment.stages]
        found, num_classes = agreed([read for _, read in each], "the schedule's lists")
        later = tuple((first, read.augment) for first, read in each[1:])
        return Translation(each[0][1].augment, found, num_classes, later)
    if isinstance(augment, str):
        augment = views(augment) if augment in VIEWS else recipe(augment)
    if isinstance(augment, Views):
        each_view = []
        for k, ops in enumerate(augment.lists):
            with naming(f"view {k}"):
                each_view.append(augmentations(ops, dtype))
        return in_views(each_view)
    if not isinstance(augment, (list, tuple)):
        raise TypeError(
            "augment must be a list of augmentations or of torchvision's transforms, or a "
            f"recipe's name, not {augment!r}"
        )
    if any(callable(member) for member in augment):  # augmentations are data and not called
        return translate(augment, dtype)
    return Translation(expanded(augment))


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
    known = source.largest_label()
    largest = f"; the largest label is {known[0]}" if known else ""
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
                f"mixing and label smoothing give soft targets, which need num_classes=...{largest}"
            )
        return None
    label, sample = known or (-1, 0)
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


def usual_batch(batch_size: int | None, batch_sampler: object) -> int:
    """What the decoder is built for at first; it grows with the batches of a batch_sampler."""
    if batch_sampler is None:
        return batch_size or 1
    given = getattr(batch_sampler, "batch_size", None)
    return given if isinstance(given, int) and given > 0 else 32


def batch_kind(batch: object, names: tuple[str, ...], kind: str) -> tuple[tuple[str, ...], str]:
    """What a batch's parts are called, and what holds them: "tuple", "dict" or "bare".

    Args:
        batch: "tuple", "dict", a name for each part, or None, as the data set's samples are.
        names: of the parts.
        kind: of the samples.
    """
    if batch is None:
        return names, kind
    if isinstance(batch, str):
        one_of("batch", batch, ("tuple", "dict"))
        return names, batch
    given = tuple(batch) if isinstance(batch, (list, tuple)) else ()
    if len(given) != len(names) or not all(isinstance(name, str) for name in given):
        raise ValueError(
            f"batch must be 'tuple', 'dict', or {len(names)} names, for {', '.join(names)}, not {batch!r}"
        )
    return given, "dict"
