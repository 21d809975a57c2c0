"""Checkpoints: whole or not there, of finite values, and read with nothing but tensors and plain values in
them; and what a run may change when it goes on from one."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..checks import first_line, shown
from ..files import replacing
from .config import LAST, Config
from .settings import Settings

BEST = "best.pt"
_FORMAT = 3
HELD = {"network", "optimizer", "scaler", "loader", "sums", "epoch", "step", "history", "spent", "confusion"}
HELD |= {"described", "identity"}

# Of Config's fields: those that a run keeps from its beginning, and those that have no part in what it
# learns. All others may change when it goes on: they are applied, and said.
KEPT = ("model", "pretrained", "optimizer", "norm_decay", "seed")
FREE = (
    "channels_last",
    "compile",
    "device",
    "workers",
    "output",
    "keep_every",
    "save_steps",
    "resume",
)


def save(state: dict[str, Any], folder: Path, names: list[str]) -> None:
    """Writes a checkpoint under each name, all or none: the first name is replaced last, so that it never
    stands for more than the others hold.

    Raises:
        OSError: when it cannot be written, a full disk say; what was there before stays.
    """
    state = {"format": _FORMAT, **_on_the_host(state)}
    first, *more = (folder / name for name in names)
    try:
        with replacing(first, *more) as file:
            torch.save(state | {"digest": digest(state)}, file)
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's writer
        there = os.path.lexists(first)
        before = "the checkpoint before it is still there" if there else "there is none before it"
        remedy = "go on with --resume" if there else "begin again"
        raise OSError(
            f"{str(first)!r} cannot be written ({error}); {before}: make room and {remedy}"
        ) from error


def _on_the_host(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _on_the_host(item) for key, item in value.items()}
    return value.detach().cpu() if isinstance(value, torch.Tensor) else value


def digest(state: Any) -> str:
    """A fingerprint of all that a checkpoint holds but itself, to the bit."""
    found = hashlib.blake2b(digest_size=16)
    _feed(found, {key: value for key, value in state.items() if key != "digest"})
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, dict):
        found.update(b"{%d" % len(value))
        for key, item in value.items():
            _feed(found, key)
            _feed(found, item)
    elif isinstance(value, (list, tuple)):
        found.update(b"[%d" % len(value))
        for item in value:
            _feed(found, item)
    elif isinstance(value, torch.Tensor):
        found.update(f"{value.dtype} {tuple(value.shape)}".encode())
        found.update(value.contiguous().flatten().view(torch.uint8).numpy())
    else:
        found.update(f"{type(value).__name__} {value!r};".encode())


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
    if missing := HELD - state.keys():
        raise ValueError(f"{str(path)!r} lacks {', '.join(sorted(missing))}; resume from another checkpoint")
    if state.get("digest") != digest(state):
        raise ValueError(
            f"{str(path)!r} is damaged: its content is not what was saved, a fault of the disk or of memory; "
            f"resume from another one in {str(path.parent)!r}, such as {BEST}"
        )
    return state


_WHAT = {
    "model": "network (--model)",
    "pretrained": "source of pretrained weights (--pretrained)",
    "optimizer": "optimizer (--optimizer)",
    "norm_decay": "choice of --norm-decay",
    "seed": "seed (--seed)",
    "averaged": "choice of --ema",
    "classes": "list of classes",
    "images": "number of training images",
    "images_a_step": "number of images a step (--batch-size x processes x --accumulate)",
    "steps": "number of steps an epoch (of --batch-size x --accumulate images)",
}


def check_identity(saved: dict[str, Any], run: dict[str, Any]) -> None:
    """Refuses a checkpoint of another kind of run, naming the difference."""
    for key, ours in run.items():
        if saved["identity"].get(key) != ours:
            raise ValueError(
                f"the checkpoint has another {_WHAT[key]}: {shown(saved['identity'].get(key), 100)}, not "
                f"{shown(ours, 100)}; resume with the settings it was made with, or take its weights with "
                "--pretrained"
            )


def described(config: Config, settings: Settings) -> dict[str, str]:
    """All that has a part in what a run learns, in words: a checkpoint's are compared with those of the run
    that goes on from it."""
    found = {}
    for option in dataclasses.fields(Config):
        name = option.name
        if name in FREE:
            continue
        value = getattr(settings, name, getattr(config, name))
        unused = not settings.reasons.get(name, "used")
        found[name] = "unused" if unused else ", ".join(map(str, value)) if _many(value) else str(value)
    return found


def _many(value: object) -> bool:
    return isinstance(value, (list, tuple))


def changes(saved: dict[str, Any], now: dict[str, str]) -> str:
    """What a run that goes on does otherwise than its checkpoint, a line for each."""
    before = saved["described"]
    return "".join(
        f"\n  {name:16} {before.get(name)} → {value}"
        for name, value in now.items()
        if before.get(name) != value
    )


def not_finite(network: nn.Module, average: nn.Module | None, optimizer: Optimizer) -> list[str]:
    """Names of what holds NaN or infinite values among what a checkpoint would take: weights, batch
    statistics, their average, the optimizer's moments. One look at the device for all of them."""
    tensors = {f"network {name}": value for name, value in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average {name}": value for name, value in average.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer {key} of {name}"] = value
    device = next(network.parameters()).device  # counters of steps are elsewhere
    looked = {
        name: value
        for name, value in tensors.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.device == device
    }
    finite = torch.stack([value.isfinite().all() for value in looked.values()]).tolist()
    return [name for name, good in zip(looked, finite, strict=True) if not good]


def find(resume: str | None, output: str) -> Path | None:
    """The checkpoint that ``--resume`` means; None for none, and for ``auto`` in a new folder."""
    if resume is None:
        return None
    if resume == "auto":
        path = Path(output) / LAST
        return path if path.is_file() else None
    path = Path(resume)
    return path / LAST if path.is_dir() else path
