"""The advice's figures: what a run uses where its user left the choice open, and why.

Figures are those of PaddleClas's training guide, as its summary of tricks gives them.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ops import OPERATIONS
from ..ops.base import Augmentation, Stage
from ..ops.crop import CenterCrop, RandomResizedCrop, Resize
from ..ops.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from ..recipes import recipe
from .config import USERS, Config, flag
from .networks import Triple

BATCH = 256  # images a step that rates are given for (Goyal et al. 2017)
RATES = {"sgd": 0.1, "rmsprop": 0.01, "adam": 0.001, "adamw": 0.001, "adadelta": 1.0}
FEW, MANY = 1_000, 100_000  # images to fine-tune on
SMALL = ("MobileNetV1_x0_25", "MobileNetV2_x0_25")
LARGE_SCALE = (0.2, 1.0)  # crops for small networks


@dataclass(frozen=True)
class Settings:
    """What a run uses, every choice made.

    Attributes:
        augment: the training augmentation.
        lr: top rate.
        momentum: of the optimizer.
        warmup_epochs: over which it rises from warmup_start.
        warmup_start: rate of the first step of the warm-up.
        step_epochs: between drops of the piecewise schedule.
        gamma: factor at a drop, or an epoch.
        power: exponent of the polynomial schedule.
        weight_decay: L2.
        label_smoothing: epsilon.
        freeze_bn: batch norms keep their statistics; small batches of few images would spoil good ones.
        mean: for Normalize, per channel, of pixels in [0, 1].
        std: likewise.
        reasons: where each comes from; "" where optimizer and schedule do not use it.
    """

    augment: list[Augmentation]
    lr: float
    momentum: float
    warmup_epochs: float
    warmup_start: float
    step_epochs: float
    gamma: float
    power: float
    weight_decay: float
    label_smoothing: float
    freeze_bn: bool
    mean: Triple
    std: Triple
    reasons: dict[str, str]

    def __str__(self) -> str:
        lines = []
        for option in dataclasses.fields(self)[:-1]:
            value = getattr(self, option.name)
            if not self.reasons[option.name]:  # not used
                continue
            shown = (
                value if option.name == "augment" else [f"{value:.6g}" if isinstance(value, float) else value]
            )
            for k, item in enumerate(shown):
                title, reason = (option.name, self.reasons[option.name]) if k == 0 else ("", "")
                lines.append(f"  {title:16} {item!s:40} {reason}".rstrip())
        return "\n".join(lines)


def resolve(
    config: Config, images: int, world_size: int = 1, statistics: tuple[Triple, Triple] | None = None
) -> Settings:
    """Makes every choice that the config leaves open.

    Args:
        config: what the user asks for.
        images: training images.
        world_size: processes.
        statistics: (mean, std) that the network was made for; None: ImageNet's.
    """
    reasons: dict[str, str] = {}

    def choose(name: str, value: Any, reason: str) -> Any:
        given = getattr(config, name)
        chooser, users = USERS.get(name, ("", ("",)))
        used = not chooser or getattr(config, chooser) in users
        reasons[name] = "" if not used else reason if given is None else f"given by {flag(name)}"
        return value if given is None else given

    step = config.batch_size * world_size * config.accumulate
    fine = config.pretrained is not None
    if config.augment is None:
        known = "the network's own" if statistics else "ImageNet's"
        mean, std = statistics or (IMAGENET_MEAN, IMAGENET_STD)
        mean, std = choose("mean", mean, known), choose("std", std, known)
        augment = _augment(config, mean, std, reasons)
    else:  # the test images are normalised as the list says
        augment = _given(config.augment, config.size)
        last = next((item for item in reversed(augment) if isinstance(item, Normalize)), None)
        known_to_it = last.of(3) if last else (np.zeros(3), np.ones(3))
        mean, std = (tuple(values.tolist()) for values in known_to_it)
        reasons["augment"] = "given by --augment"
        reasons["mean"] = reasons["std"] = "Normalize in --augment" if last else "no Normalize in --augment"
    found = Settings(
        augment=augment,
        lr=choose("lr", *top_rate(config.optimizer, step, images if fine else None)),
        momentum=choose("momentum", 0.9, "usual"),
        warmup_epochs=choose(
            "warmup_epochs",
            min(5, config.epochs) if step > BATCH else 0,
            f"{step} images a step: {'more' if step > BATCH else 'not more'} than {BATCH}",
        ),
        warmup_start=choose("warmup_start", 0.0, "the guide's"),
        step_epochs=choose("step_epochs", config.epochs / 4, "a quarter of the run"),
        gamma=choose("gamma", 0.1 if config.schedule == "piecewise" else 0.97, config.schedule),
        power=choose("power", 1.0, "straight down to 0"),
        weight_decay=choose("weight_decay", *_decay(config)),
        label_smoothing=choose(
            "label_smoothing",
            0.1 if config.model == "ResNet50_vd" else 0.0,
            "0.1 for ResNet50_vd, 0 elsewhere: it hurts small networks",
        ),
        freeze_bn=choose(
            "freeze_bn", fine and images < MANY, f"yes when fine-tuning on fewer than {MANY:,} images"
        ),
        mean=mean,
        std=std,
        reasons=reasons,
    )
    if found.warmup_start > found.lr:
        raise ValueError(
            f"--warmup-start {found.warmup_start:g} is above the top rate {found.lr:g}; give a lower one"
        )
    return found


def top_rate(optimizer: str, step: int, fine_tuned_on: int | None = None) -> tuple[float, str]:
    """The top learning rate and how it comes about.

    Args:
        optimizer: a key of ``RATES``, which are for 256 images a step.
        step: images a step, over all processes and accumulated batches.
        fine_tuned_on: number of training images where training starts from pretrained weights.
    """
    rate, reason = RATES[optimizer], f"{RATES[optimizer]:g} for {optimizer}"
    if fine_tuned_on is not None:
        share = fine_tuning_rate(fine_tuned_on) / RATES["sgd"]
        rate, reason = rate * share, f"{rate * share:.3g} for fine-tuning on {fine_tuned_on} images"
    if optimizer == "adadelta":
        return rate, f"{reason}; not scaled"
    return rate * step / BATCH, f"{reason} x {step}/{BATCH} images a step"


def fine_tuning_rate(images: int) -> float:
    """SGD's rate for 256 images a step: 0.001 below 1,000 images, so that the weights survive, 0.01 from
    100,000, and 0.001 * sqrt(images / 1000) between."""
    return 0.001 * math.sqrt(min(max(images, FEW), MANY) / FEW)


def _decay(config: Config) -> tuple[float, str]:
    if config.optimizer == "adamw":
        return 0.05, "usual for adamw, where it is decoupled"
    if config.model.startswith("MobileNet"):
        return 3e-5, "small MobileNets want less"
    if config.model.startswith("ResNet50") and config.recipe == "randaugment":
        return 7e-5, "harder images want less"
    return 1e-4, "usual"


def _augment(config: Config, mean: Triple, std: Triple, reasons: dict[str, str]) -> list[Augmentation]:
    reasons["augment"] = f"recipe {config.recipe}"
    found = recipe(config.recipe, config.size, config.epochs)
    found[-1] = Normalize(mean, std)
    crop = {name: value for name in ("scale", "ratio") if (value := getattr(config, name)) is not None}
    if "scale" not in crop and config.model in SMALL:
        crop["scale"] = LARGE_SCALE
        reasons["augment"] += "; larger crops for a small network"
    values = {f"RandomResizedCrop.{name}": value for name, value in crop.items()}
    for text in config.override:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise ValueError(f"--override {text!r} must be NAME.FIELD=VALUE, such as GridMask.p=0.5")
        values[key.strip()] = _literal(value)
    for key, value in values.items():
        name, _, part = key.partition(".")
        place = next((k for k, item in enumerate(found) if type(item).__name__ == name), None)
        if place is None:
            held = ", ".join(type(item).__name__ for item in found)
            raise ValueError(f"--override names {name}; recipe {config.recipe} holds {held}")
        known = [option.name for option in dataclasses.fields(found[place])]
        if part not in known:
            raise ValueError(f"--override names {key}; {name} has {', '.join(known)}")
        found[place] = dataclasses.replace(found[place], **{part: value})
    if config.override:
        reasons["augment"] += " with --override"
    _check_size(found, config.size, "--override")
    return found


def _given(texts: Sequence[str], size: int) -> list[Augmentation]:
    """The list of --augment, which must make images of the size that is tested.

    Raises:
        ValueError: when it makes others.
    """
    found = [read_augmentation(text) for text in texts]
    _check_size(found, size, "--augment")
    return found


def _check_size(found: Sequence[Augmentation], size: int, source: str) -> None:
    geometry = [item.size for item in found if isinstance(item, (RandomResizedCrop, Resize, CenterCrop))]
    made = geometry[-1] if geometry else (size, size)
    if isinstance(made, tuple) and made != (size, size):
        raise ValueError(
            f"{source} makes images of {made[0]} x {made[1]} pixels, and --size tests with {size} x {size}; "
            "make both the same"
        )


def _literal(text: str) -> object:
    """A value as Python writes it, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_augmentation(text: str) -> Augmentation:
    """``GridMask(p=0.5)`` as an augmentation: names of fastaug and literal values only, nothing is run.

    Raises:
        ValueError: naming the text and what is accepted.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return _build(tree)
    except (SyntaxError, ValueError, TypeError) as error:
        raise ValueError(
            f"--augment holds {text!r}: {error}; write it as in Python, such as GridMask(p=0.5)"
        ) from None


def _build(tree: ast.expr) -> Any:
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        kind = next((op for op in OPERATIONS if op.__name__ == tree.func.id), None)
        if not (isinstance(kind, type) and issubclass(kind, Augmentation)):
            raise ValueError(f"there is no augmentation {tree.func.id}")
        named = {k.arg: _build(k.value) for k in tree.keywords if k.arg}
        return kind(*map(_build, tree.args), **named)
    if isinstance(tree, (ast.List, ast.Tuple)):
        items = [_build(item) for item in tree.elts]
        return items if isinstance(tree, ast.List) else tuple(items)
    return ast.literal_eval(tree)


def without_mixing(augment: Sequence[Augmentation]) -> list[Augmentation]:
    """The list without MixUp, CutMix and choices between them."""
    return [item for item in augment if item.stage is not Stage.MIX]
