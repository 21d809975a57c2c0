"""Pictures of a run: accuracy and loss by epoch, and which classes are taken for which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..files import replacing

CURVES, CONFUSION = "curves.png", "confusion.png"


def plot_run(
    history: Sequence[dict[str, Any]], confusion: torch.Tensor | None, classes: Sequence[str], folder: Path
) -> None:
    """Both pictures of a finished run, in its folder.

    Args:
        history: records of the epochs.
        confusion: int64 ``[C, C]``; None where there are too many classes.
        classes: C names.
        folder: the run's.
    """
    plot_curves(history, folder / CURVES)
    if confusion is not None:
        plot_confusion(confusion.numpy(), classes, folder / CONFUSION)


def has_pictures(folder: Path, confusion: torch.Tensor | None) -> bool:
    """Whether both are there, or the one that is to be."""
    names = (CURVES,) if confusion is None else (CURVES, CONFUSION)
    return all((folder / name).exists() for name in names)


def plot_curves(history: Sequence[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Training and test accuracy, and both losses, by epoch; a PNG."""
    from matplotlib.figure import Figure

    epochs = [record["epoch"] + 1 for record in history]
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, kind, factor, title in ((left, "accuracy", 100, "accuracy, %"), (right, "loss", 1, "loss")):
        for split in ("train", "test"):
            axes.plot(
                epochs, [factor * record[f"{split}_{kind}"] for record in history], marker=".", label=split
            )
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format="png")


def plot_confusion(
    counts: npt.NDArray[np.int64], classes: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """The confusion matrix as a PNG.

    Args:
        counts: int64 ``[C, C]``, images of class row taken for class column.
        classes: C names; they and the numbers are left out where there are too many to read.
        path: the file.
    """
    from matplotlib.figure import Figure

    n = len(classes)
    side = min(max(5.0, 1.5 + 0.45 * n), 16.0)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class")
    axes.set(xlabel="taken for", ylabel="class", title=f"{np.trace(counts) / max(counts.sum(), 1):.2%} right")
    if n <= 40:
        axes.set_xticks(range(n), classes, rotation=90)
        axes.set_yticks(range(n), classes)
        for row, column in np.argwhere(counts > 0):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8
            )
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format="png")
