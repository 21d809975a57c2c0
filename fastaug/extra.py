"""A user's own module behind ours: Kornia's augmentations, or any function of a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from .checks import shown
from .execute.output import Output
from .machine.device import Device
from .plan.batch_plan import BatchPlan
from .sampling.philox import U32, Keys, Stream

Extra = Callable[[torch.Tensor], torch.Tensor]


def check_extra(extra: object, dtype: torch.dtype, device: Device) -> Extra | None:
    """``extra`` where it can be run for a loader with this dtype and device.

    Raises:
        TypeError: when it is no module and no function.
        ValueError: when the loader's dtype is uint8, or its device has no generators that can be kept.
    """
    if extra is None:
        return None
    if isinstance(extra, type):
        raise TypeError(f"extra is the class {extra.__name__}; make one of it: extra={extra.__name__}(...)")
    if not callable(extra):
        raise TypeError(
            "extra must be a torch.nn.Module or a function of a batch [B, 3, H, W], not "
            f"{shown(extra)} ({type(extra).__name__}); several modules go into a "
            "torch.nn.Sequential or a kornia.augmentation.AugmentationSequential"
        )
    if dtype == torch.uint8:
        raise ValueError(
            "dtype=torch.uint8 gives raw pixels, and extra takes floats, as Kornia's modules "
            "do; choose a float dtype, or call the module in the loop"
        )
    device.generators()
    return extra


@torch.no_grad()
def run_extra(
    extra: Extra, plan: BatchPlan, images: torch.Tensor, output: Output, device: Device
) -> torch.Tensor:
    """The images ``[B, 3, H, W]`` after the user's module, in the loader's dtype and layout.

    Call it on the thread that asks for the batch: torch's CPU generator is one for the whole process, so on a
    thread of ours its numbers would mix with those that the user's dropout draws meanwhile.

    Raises:
        TypeError, ValueError: when what comes back is not a batch of the same length on the same device.
    """
    if not len(plan):
        return images
    with seeded(device.generators(), batch_seed(plan)):
        out = extra(images)
    if not isinstance(out, torch.Tensor):
        raise TypeError(
            f"extra must return a tensor, not {type(out).__name__}; labels stay as they are, so "
            "let it take and return images alone (a Kornia container: data_keys=['input'])"
        )
    if not out.ndim or len(out) != len(images):
        raise ValueError(
            f"extra must keep the batch's {len(images)} images, and it returned a tensor of "
            f"shape {tuple(out.shape)}; let it return one image for each"
        )
    if out.device != images.device:
        raise ValueError(
            f"extra returned images on {out.device}, and the loader delivers on "
            f"{images.device}; move its parameters there, or give the loader device=..."
        )
    last = output.channels_last and out.ndim == 4
    return out.to(output.dtype, memory_format=torch.channels_last if last else torch.contiguous_format)


def batch_seed(plan: BatchPlan) -> int:
    """The 64-bit seed of a batch's module.

    The key is that of the batch's first sample, on a stream of its own. An epoch visits a sample (or the same
    one again, which its key counts) in one batch of one rank, so the seed is the batch's alone; it is read
    off the plan, wherever that is replayed.
    """
    first = plan.rows[:1]
    keys = Keys(plan.seed, first["index"].astype(U32), first["epoch"], first["occurrence"])
    low, high = keys.words(Stream.EXTRA)[:2, 0].tolist()
    return int(high << 32 | low)


@contextmanager
def seeded(generators: Sequence[torch.Generator], seed: int) -> Iterator[None]:
    """Inside, the generators begin at a seed; afterwards they are as they were."""
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
