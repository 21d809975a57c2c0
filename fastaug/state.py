"""A loader's state: its place, and what has to be the same where it is loaded again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import shown
from .ops.views import Views, said_listing
from .sampling.epoch import Begin, Place
from .sampling.philox import EPOCH_BITS

if TYPE_CHECKING:
    from .build import Pipeline

VERSION = 3

_WHAT = {
    "version": "format",
    "samples": "number of samples",
    "names": "file names",
    "labels": "labels",
    "seed": "seed",
    "order": "order",
    "drop_last": "drop_last",
    "augment": "augment",
}


def identity(pipeline: Pipeline) -> dict[str, Any]:
    """What a resumed loader must share, JSON-able. Fourteen million files take up to a second, once.

    File names count from their common folder on, so that a data set may move. Batch size and number of
    ranks are free; so is all that does not change which samples come and how they are augmented.
    """
    return {
        "version": VERSION,
        **pipeline.source.identity(),
        "drop_last": pipeline.drop_last,
        "augment": said(pipeline.augment),
    }


def said(stages: Sequence[tuple[int, Sequence[object] | Views]]) -> str:
    """What is done to images, and from which epoch on."""
    lists = [(first, said_listing(augment)) for first, augment in stages]
    return lists[0][1] if len(lists) == 1 else "; ".join(f"epoch {first}: {ops}" for first, ops in lists)


def saved(place: Place) -> dict[str, Any]:
    """A place, JSON-able."""
    begin = place.begin and {**asdict(place.begin), "digest": place.digest}
    given = json.loads(json.dumps(begin, default=np.ndarray.tolist))
    return {"epoch": place.epoch, "consumed": place.consumed, "sampler": given}


def place(state: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[Place, int]:
    """The place and the seed of a state.

    Args:
        state: what ``state_dict`` returned.
        expected: what it has to say; a seed only where the loader was given one.

    Raises:
        TypeError, ValueError: when it is no state, or what it says differs from the loader's.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"the state is {shown(state)}; give what state_dict() returned")
    for key, what in _WHAT.items():
        if key in expected and state.get(key) != expected[key]:
            raise ValueError(
                f"the state's {what} is {state.get(key)!r}, the loader's {expected[key]!r}; load it "
                "into a loader that has the same data set, seed, order and augment, or begin an "
                "epoch anew with set_epoch()"
            )
    seed = _whole(state, "seed", (1 << 64) - 1)
    epoch, consumed = _whole(state, "epoch", (1 << EPOCH_BITS) - 1), _whole(state, "consumed")
    given: Any = state.get("sampler")
    if given is None and not expected["order"].startswith("of a "):
        return Place(epoch, consumed), seed
    try:
        digest, rank, world_size = (_whole(given, key) for key in ("digest", "rank", "world_size"))
        seeds = tuple(int(seed) for seed in given["seeds"])
        held = tuple((str(kind), value) for kind, value in given["held"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"the state's sampler is {shown(given)}: the state is damaged, so take an older one"
        ) from error
    return Place(epoch, consumed, digest, Begin(rank, world_size, seeds, held)), seed


def _whole(state: Mapping[str, Any], key: str, most: int = 1 << 62) -> int:
    value = state.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(
            f"the state's {key} is {value!r}; it must be a whole number from 0 to {most}: "
            "the state is damaged, so take an older one"
        )
    return value
