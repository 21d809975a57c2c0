"""Reads training and test accuracy together: over-fitting, under-fitting, nothing learnt or fine, and what to
change.

Both are measured after the epoch, with the same weights: test accuracy on centre crops of the test
images; training accuracy on training images as the network trains on them (crops, policy, masks), but
not mixed and with their own labels, so that it means the same whether MixUp is on or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ops.crop import RandomResizedCrop
from .checkpoint import BEST
from .config import FILE, Config, read_config
from .logs import Record, best, read_metrics
from .plots import plot_curves
from .settings import LARGE_SCALE, SMALL, Settings, resolve

MUCH = 0.05  # training accuracy above test by more is over-fitting
WHY = {
    "fine": "about equal, or training a little higher",
    "over-fitting": "training much higher than test",
    "under-fitting": "training lower than test",
    "nothing learnt": "no better than one answer for all images",
    "worse than before": f"test much better in an earlier epoch, which {BEST} holds",
    "not finite": "the loss is not finite when it is tested, so these accuracies mean nothing",
}


@dataclass(frozen=True)
class Advice:
    """A verdict and what follows from it.

    Attributes:
        verdict: a key of ``WHY``.
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
        line = f"  {self.verdict}: train {self.train:.2%}, test {self.test:.2%} ({WHY[self.verdict]})"
        if short or not self.changes:
            return line
        return "\n".join([line, *(f"    - {change}" for change in self.changes)])


def advise(history: Sequence[dict[str, Any]], settings: Settings, config: Config) -> Advice:
    """What the last epoch's accuracies say.

    "Much higher" is more than 5 points, "lower" more than 0; both must exceed twice the standard error of
    the difference, which test sets of a few hundred images have. So must what is "much better" before, and
    accuracy above chance, which is what the largest class's name as the answer to all images would reach.

    Args:
        history: records of the epochs, as ``metrics.jsonl`` holds them.
        settings: what the run uses.
        config: what its user asked for.
    """
    last = history[-1]
    train, test = last["train_accuracy"], last["test_accuracy"]
    errors = _error(train, last["train_images"]), _error(test, last["test_images"])
    gap, noise = train - test, 2 * math.hypot(*errors)
    top = best(history) or last
    lost, doubt = top["test_accuracy"] - test, 2 * math.hypot(errors[1], _error(*_of(top, "test")))
    by_chance = [_at_chance(last, split) for split in ("train", "test")]

    def advice(verdict: str, changes: Iterable[str] = ()) -> Advice:
        return Advice(verdict, train, test, tuple(changes))

    if not all(math.isfinite(last[key]) for key in ("train_loss", "check_loss", "test_loss")):
        return advice("not finite", _steadier(last["top_lr"], config))
    if gap > max(MUCH, noise) and not all(by_chance):
        return advice("over-fitting", _against_over_fitting(settings, config))
    if lost > max(MUCH, doubt):
        return advice("worse than before", _steadier(last["top_lr"], config))
    if gap < -noise and not all(by_chance):
        return advice("under-fitting", _against_under_fitting(settings, config))
    if any(by_chance):
        return advice("nothing learnt", _to_learn_at_all(last["top_lr"], config))
    return advice("fine")


def _of(record: Record, split: str) -> tuple[float, int]:
    return record[f"{split}_accuracy"], record[f"{split}_images"]


def _error(share: float, images: int) -> float:
    """The standard error of a share."""
    return math.sqrt(max(share * (1 - share), 0.0) / images)


def _at_chance(record: Record, split: str) -> bool:
    accuracy, images = _of(record, split)
    chance = record[f"{split}_chance"]
    return accuracy <= chance + 2 * _error(chance, images)


def _steadier(rate: float, config: Config) -> list[str]:
    changes = [f"a lower rate: --lr {rate / 3:.2g} (now {rate:.3g} at the top)", "a longer --warmup-epochs"]
    if config.clip_grad is None:
        changes.append("shorter gradients: --clip-grad 1")
    if config.amp == "float16":
        changes.append("a number format without overflow: --amp bfloat16")
    return changes


def _to_learn_at_all(rate: float, config: Config) -> list[str]:
    return [
        f"another rate: --lr {rate / 10:.2g} where the training loss jumps or grows, --lr {3 * rate:.2g} "
        f"where it hardly falls (now {rate:.3g} at the top)",
        f"a longer run, if the training loss still falls: --epochs {2 * config.epochs} (now {config.epochs})",
        "labels that fit: look whether the folders' names say what is in the pictures (fastaug preview)",
    ]


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
    top = best(history)
    most = f"{top['test_accuracy']:.2%} at epoch {top['epoch']}" if top else "unknown: no test loss is finite"
    with_what = "--augment" if config.augment else f"recipe {config.recipe}"
    return (
        f"{len(history)} epochs of {config.model} with {with_what}; best test accuracy {most}\n"
        f"{advice.text()}\n  curves: {path / 'curves.png'}"
    )
