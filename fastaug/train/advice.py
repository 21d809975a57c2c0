"""Reads training and test accuracy together: over-fitting, under-fitting or fine, and what to change.

Both are measured after the epoch, with the same weights: test accuracy on centre crops of the test
images; training accuracy on training images as the network trains on them (crops, policy, masks), but
not mixed and with their own labels, so that it means the same whether MixUp is on or not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..augment import RandomResizedCrop
from .config import FILE, Config, read_config
from .logs import read_metrics
from .plots import plot_curves
from .settings import LARGE_SCALE, SMALL, Settings, resolve

MUCH = 0.05  # training accuracy above test by more is over-fitting


@dataclass(frozen=True)
class Advice:
    """A verdict and what follows from it.

    Attributes:
        verdict: "over-fitting", "under-fitting" or "fine".
        train: training accuracy, 0 to 1.
        test: test accuracy, 0 to 1.
        changes: sentences with the flags that carry them out.
    """

    verdict: str
    train: float
    test: float
    changes: tuple[str, ...]

    def text(self, short: bool = False) -> str:
        """One line with ``short``, else with what to change."""
        why = {
            "fine": "about equal, or training a little higher",
            "over-fitting": "training much higher than test",
            "under-fitting": "training lower than test",
        }[self.verdict]
        line = f"  {self.verdict}: train {self.train:.2%}, test {self.test:.2%} ({why})"
        if short or not self.changes:
            return line
        return "\n".join([line, *(f"    - {change}" for change in self.changes)])


def advise(history: Sequence[dict[str, Any]], settings: Settings, config: Config) -> Advice:
    """What the last epoch's accuracies say.

    "Much higher" is more than 5 points, "lower" more than 0; both must exceed twice the standard error of
    the difference, which test sets of a few hundred images have.

    Args:
        history: records of the epochs, as ``metrics.jsonl`` holds them.
        settings: what the run uses.
        config: what its user asked for.
    """
    last = history[-1]
    train, test = last["train_accuracy"], last["test_accuracy"]
    noise = 2 * math.hypot(_error(train, last["train_images"]), _error(test, last["test_images"]))
    gap = train - test
    if gap > max(MUCH, noise):
        return Advice("over-fitting", train, test, tuple(_against_over_fitting(settings, config)))
    if gap < -noise:
        return Advice("under-fitting", train, test, tuple(_against_under_fitting(settings, config)))
    return Advice("fine", train, test, ())


def _error(share: float, images: int) -> float:
    return math.sqrt(max(share * (1 - share), 0.0) / images)


def _against_over_fitting(settings: Settings, config: Config) -> list[str]:
    decay = settings.weight_decay
    changes = [f"more weight decay: --weight-decay {2 * decay if decay else 1e-4:.3g} (now {decay:.3g})"]
    if config.augment is None:
        stronger = "cutmix or --recipe mixup" if config.recipe == "standard" else "cutmix"
        if config.recipe != "cutmix":
            changes.append(f"more augmentation: --recipe {stronger} (now {config.recipe})")
    else:
        changes.append("more augmentation: add a policy, masks or mixing to --augment")
    if settings.label_smoothing == 0 and config.model not in SMALL:
        changes.append(
            "label smoothing: --label-smoothing 0.1 (it helps larger networks and hurts small ones)"
        )
    return changes


def _against_under_fitting(settings: Settings, config: Config) -> list[str]:
    changes = []
    if settings.weight_decay > 0:
        changes.append(
            f"less weight decay: --weight-decay {settings.weight_decay / 3:.2g} (now "
            f"{settings.weight_decay:.3g})"
        )
    if config.augment is None and config.recipe != "standard":
        changes.append(f"less augmentation: --recipe standard (now {config.recipe})")
    crop = next((a for a in settings.augment if isinstance(a, RandomResizedCrop)), None)
    if crop is not None and crop.scale[0] < LARGE_SCALE[0]:
        changes.append(
            f"larger crops: --scale {LARGE_SCALE[0]:g} {LARGE_SCALE[1]:g} (now {crop.scale[0]:g} "
            f"{crop.scale[1]:g})"
        )
    if crop is not None and crop.ratio[1] / crop.ratio[0] > 1.3:
        changes.append(f"less stretch: --ratio 0.9 1.11 (now {crop.ratio[0]:.3g} {crop.ratio[1]:.3g})")
    if settings.label_smoothing > 0:
        changes.append(f"no label smoothing: --label-smoothing 0 (now {settings.label_smoothing:g})")
    return changes


def advise_folder(folder: str) -> str:
    """The advice on a run that has been made, and its curves as ``curves.png`` in the folder.

    Raises:
        FileNotFoundError, ValueError: when the folder holds no run.
    """
    path = Path(folder)
    history = read_metrics(path)
    config = read_config(path / FILE)
    advice = advise(history, resolve(config, images=1), config)
    plot_curves(history, path / "curves.png")
    best = max(history, key=lambda record: record["test_accuracy"])
    return (
        f"{len(history)} epochs of {config.model} with recipe {config.recipe}; best test accuracy "
        f"{best['test_accuracy']:.2%} at epoch {best['epoch']}\n{advice.text()}\n"
        f"  curves: {path / 'curves.png'}"
    )
