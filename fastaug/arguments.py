"""What the loader's arguments mean: each is read and checked here, before any thread starts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .checks import number, one_of, shown, whole
from .datasets import own_transforms
from .device import Device
from .given import Given, GivenSampler
from .graphs import PLACES, Decode
from .recipes import recipe
from .sampler import EpochSampler
from .sources import Source
from .translate import Translation, translate


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
        decode = Decode(decode or ("gpu" if gpu else "cpu"))
    if decode.place != "cpu" and not gpu:
        raise ValueError(
            f"decode={decode.place!r} needs a CUDA device, and batches are delivered on "
            f"{device.target}; use decode='cpu' or device='cuda'"
        )
    return decode


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
                f"num_classes=...; the largest label is {source.labels.max()}"
            )
        return None
    worst = int(source.labels.argmax())
    if source.labels[worst] >= num_classes:
        raise ValueError(
            f"{source.name(worst)} has label {source.labels[worst]}, out of range for "
            f"num_classes={num_classes}; labels count from 0 to {num_classes - 1}"
        )
    return num_classes


def ranks(rank: int | None, world_size: int | None, alone: tuple[int, int] = (0, 1)) -> tuple[int, int]:
    """(rank, world_size), where they are not given from torch.distributed, or ``alone`` without it."""
    running = torch.distributed.is_available() and torch.distributed.is_initialized()
    if world_size is None:
        world_size = torch.distributed.get_world_size() if running else alone[1]
    if rank is None:
        rank = torch.distributed.get_rank() if running else alone[0]
    whole("world_size", world_size, 1, 4096)
    return whole("rank", rank, 0, world_size - 1), world_size


def bad_limit(max_bad: float | None, n: int) -> int | None:
    """How many of n files may be bad: ``max_bad`` is a share of them (rounded up), a number, or None."""
    if max_bad is None:
        return None
    if isinstance(max_bad, float):
        return math.ceil(number("max_bad", max_bad, 0, 1 - 1e-9) * n)
    return whole("max_bad", max_bad, 0)


def make_sampler(
    n: int,
    batch_size: int,
    shuffle: bool,
    given: Given | None,
    drop_last: bool,
    seed: int,
    rank: int,
    world_size: int,
) -> EpochSampler | GivenSampler:
    """The order of n samples: fastaug's own, or the user's."""
    if given is not None:
        return GivenSampler(n, given, batch_size, drop_last, seed, rank, world_size)
    if drop_last and n < batch_size * world_size:
        raise ValueError(
            f"drop_last=True leaves no batch: {n} samples are fewer than batch_size "
            f"{batch_size} x {world_size} ranks; take a smaller batch_size"
        )
    return EpochSampler(n, batch_size, shuffle, drop_last, seed, rank, world_size)


def usual_batch(batch_size: int, batch_sampler: object) -> int:
    """What the decoder is built for at first; it grows with the batches of a batch_sampler."""
    if batch_sampler is None:
        return batch_size
    given = getattr(batch_sampler, "batch_size", None)
    return given if isinstance(given, int) and given > 0 else 32
