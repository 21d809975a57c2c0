"""Checkpoints: whole or not there, and read with nothing but tensors and plain values in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..checks import first_line, shown
from ..files import replacing
from .config import LAST

BEST = "best.pt"
_FORMAT = 1


def save(state: dict[str, Any], folder: Path, names: list[str]) -> None:
    """Writes a checkpoint under each name, each at once or not at all.

    Raises:
        OSError: when it cannot be written, a full disk say; what was there before stays.
    """
    for name in names:
        try:
            with replacing(folder / name) as file:
                torch.save({"format": _FORMAT, **state}, file)
        except (OSError, RuntimeError) as error:  # RuntimeError: torch's writer
            raise OSError(
                f"{str(folder / name)!r} cannot be written ({error}); the checkpoint before it is still "
                "there: make room and go on with --resume"
            ) from error


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint.

    Raises:
        FileNotFoundError, ValueError: when there is none, or it is damaged or something else.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {str(path)!r}; give a run's folder, or leave out --resume"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} is cut short or is not a checkpoint ({first_line(error)}); resume from "
            f"another one in {str(path.parent)!r}, such as {BEST}"
        ) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ValueError(
            f"{str(path)!r} is not a checkpoint that this version of fastaug can resume (format "
            f"{_FORMAT}); weights alone go to --pretrained"
        )
    return state


_WHAT = {
    "model": "network", "classes": "list of classes", "optimizer_name": "optimizer",
    "images_a_step": "number of images a step (batch size x processes x accumulated batches)",
    "norm_decay": "choice of --norm-decay", "averaged": "choice of --ema",
}  # fmt: skip


def check_identity(saved: dict[str, Any], run: dict[str, Any]) -> None:
    """Refuses a checkpoint of another kind of run, naming the difference."""
    for key, ours in run.items():
        if saved[key] != ours:
            raise ValueError(
                f"the checkpoint has another {_WHAT[key]}: {shown(saved[key], 100)}, not {shown(ours, 100)}; "
                "resume with the settings it was made with, or take its weights with --pretrained"
            )


def find(resume: str | None, output: str) -> Path | None:
    """The checkpoint that ``--resume`` means; None for none, and for ``auto`` in a new folder."""
    if resume is None:
        return None
    if resume == "auto":
        path = Path(output) / LAST
        return path if path.is_file() else None
    path = Path(resume)
    return path / LAST if path.is_dir() else path
