"""Policies to compare executors on: every operation by itself, and whole policies.

Plain plans, without a decoder, Kornia or a GPU: whatever carries out plans can be tried on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch

import fastaug as fa
from fastaug.ops.policy import MAX_BLUR, OP_KINDS, OPERATIONS, PLAIN, Writer
from fastaug.plan.batch_plan import BatchPlan

from .drafts import draft_of, plan_from

SIZES = [(1, 1), (1, 7), (3, 5), (31, 33), (64, 64)]
# Usual, extreme and boundary magnitudes, as in Policy. Those of translations are shares of a side.
MAGNITUDES = {
    "ShearX": (0.3, -0.99, 0.0, 10.0),
    "ShearY": (-0.3, 0.99, 0.0, -10.0),
    "TranslateX": (0.3, -0.5, 0.0, 1.0, -3.0),
    "TranslateY": (-0.3, 0.5, 0.0, -1.0, 3.0),
    "Rotate": (30.0, -135.0, 0.0, 90.0, 180.0, 360.0),
    "Brightness": (0.5, -0.9, 0.0, -1.0, 99.0),
    "Color": (0.5, -0.9, 0.0, -1.0, 99.0),
    "Contrast": (0.5, -0.9, 0.0, -1.0, 99.0),
    "Sharpness": (0.5, -0.9, 0.0, -1.0, 99.0),
    "Posterize": (4, 0, 1, 7, 8),
    "Solarize": (0.5, 0.0, 1 / 255, 0.999, 1.0),
    "SolarizeAdd": (60, -60, 0, 255, -255),
    "Cutout": (0.0, 1.0, 2.0, 9.0, 8192.0),
    **dict.fromkeys(PLAIN, (0.0,)),
}
HUES = (-0.5, -0.31, 0.0, 0.07, 0.25, 0.5)
SIGMAS = (0.1, 1.0, 1e-3, 50.0)
TURNS = [
    ("nearest", None),
    ("nearest", (128.0, 64.5, 255.0)),
    ("bilinear", None),
    ("bilinear", (128.0, 64.5, 255.0)),
    ("bilinear", 0.0),
]
GEOMETRY = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")

POLICIES = {
    "rand": [fa.RandAugment(4, 20)],
    "rand bilinear": [fa.RandAugment(3, 25, interpolation="bilinear", fill=128)],
    "trivial": [fa.TrivialAugmentWide()],
    "auto": [fa.AutoAugment()],
    "augmix": [fa.AugMix(severity=8)],
    "augmix wide": [fa.AugMix(severity=10, mixture_width=4, chain_depth=3, interpolation="nearest")],
    "augmix of one": [fa.AugMix(severity=8, mixture_width=1, chain_depth=4, all_ops=False)],
    "self-supervised": [
        fa.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        fa.RandomGrayscale(0.2),
        fa.GaussianBlur(5),
        fa.RandomSolarize(128, p=0.2),
    ],
    "turns": [
        fa.RandomRotation(40, interpolation="bilinear", fill=9),
        fa.RandomAffine(20, (0.2, 0.1), (0.6, 1.5), (-20, 20, -9, 9)),
        fa.RandomPerspective(0.6, p=0.9),
        fa.RandomPerspective(0.6, p=0.9, interpolation="nearest", fill=(1, 2, 3)),
    ],
    "colours": [
        fa.RandomPhotometricDistort(),
        fa.RandomChannelPermutation(p=0.8),
        fa.RandomAdjustSharpness(2),
        fa.RandomAutocontrast(),
        fa.OneOf([fa.RandomInvert(1.0), fa.RandomPosterize(3, 1.0), fa.RandomPerspective(0.5, p=1.0)]),
        fa.RandomApply([fa.RandomEqualize(), fa.RandomRotation(20)], 0.5),
    ],
    "in place": [fa.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.5), fa.RandomGrayscale(0.3)],
    "own": [
        fa.Policy([[("SolarizeAdd", 1.0, 60), ("Cutout", 0.9, 8)], [("Rotate", 1.0, 40.0)], []]),
        fa.TrivialAugmentWide(),
    ],
}


def images(n: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Noise of all values, of few, and of one, in turns: uint8 ``[n, H, W, 3]``."""
    rng = np.random.default_rng(seed)
    ranges = [(0, 256), (100, 103), (0, 2), (254, 256), (9, 10)]
    pictures = [rng.integers(*ranges[(k + seed) % len(ranges)], (*size, 3), np.uint8) for k in range(n)]
    return torch.from_numpy(np.stack(pictures))


def plan_with(size: tuple[int, int], n: int, write: Callable[[Writer], None], **options: object) -> BatchPlan:
    """A plan of n rows whose operations ``write(writer)`` puts, one a row; ``options`` are RandAugment's."""
    draft = draft_of(n, size)
    write(Writer(fa.RandAugment(**options), draft))
    return plan_from(draft)


def single_operations(size: tuple[int, int]) -> Iterator[tuple[str, BatchPlan]]:
    """(name, plan) for every kind of operation: a row for each magnitude, then one without an operation."""
    for name in OPERATIONS:
        values = np.array(MAGNITUDES[name], float)
        if name.startswith("Translate"):
            values *= size[name == "TranslateX"]
        which = np.arange(len(values))
        for interpolation, fill in TURNS if name in GEOMETRY else TURNS[:1]:
            label = f"{name} {interpolation} {fill}" if name in GEOMETRY else name
            write = partial(_operation, name=name, which=which, values=values)
            yield label, plan_with(size, len(values) + 1, write, interpolation=interpolation, fill=fill)
    which = np.arange(len(HUES))
    yield "Hue", plan_with(size, len(HUES) + 1, lambda out: out.put("Hue", which, value=HUES))
    orders = np.arange(6)
    yield "Permute", plan_with(size, 7, lambda out: out.put("Permute", orders, value=orders))
    for half in sorted({0, 1, 2, MAX_BLUR - 1} & set(range(min(size)))):
        yield f"Blur {2 * half + 1}", plan_with(size, len(SIGMAS) + 1, partial(_blur, half=half))


def _operation(out: Writer, name: str, which: np.ndarray, values: np.ndarray) -> None:
    if name == "Cutout":
        out.square(which, values, which % out.size[0], which * 3 % out.size[1])
    elif name == "Identity":
        out.put("Identity", which)
    else:
        out.add(name, which, values)


def _blur(out: Writer, half: int) -> None:
    weight = np.zeros((len(SIGMAS), MAX_BLUR))
    weight[:, : half + 1] = np.exp(-0.5 * (np.arange(half + 1) / np.array(SIGMAS)[:, None]) ** 2)
    weight /= weight[:, :1] + 2 * weight[:, 1:].sum(1, keepdims=True)
    out.put("Blur", np.arange(len(SIGMAS)), half=half, weight=weight)


def kinds_of(plans: Iterable[tuple[str, BatchPlan]]) -> set[str]:
    """The kinds of operations in the plans' used entries."""
    return {OP_KINDS[k] for _, plan in plans for k in plan.ops["kind"]}
