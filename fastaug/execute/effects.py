"""What each executor carries out: the columns of a plan that it reads. What it lacks is refused by name."""

from __future__ import annotations

from collections.abc import Iterable

from ..decode.jobs import VIEW_COLUMNS
from ..ops.base import Augmentation

_PIXELS = {
    *("first_op", "n_ops", "chains", "chain_weight"),
    *("first_hole", "n_holes"),
    *("hide", "hide_p", "hide_fill"),
    *("grid_d", "grid_l", "grid_y", "grid_x", "grid_mode"),
    *("grid_cos", "grid_sin", "grid_inv", "grid_fill"),
    *("mix", "partner", "lam", "cut_y0", "cut_x0", "cut_y1", "cut_x1", "mix_mask"),
}
_POLICIES = {"first_op", "n_ops", "chains", "chain_weight"}
CARRIED_OUT = {"native": _PIXELS, "cuda": _PIXELS, "kornia": _PIXELS, "tensors": _PIXELS - _POLICIES}


def check_effects(executor: str, augment: Iterable[Augmentation]) -> None:
    """Raises a ValueError for an augmentation that neither the decoders nor this executor carry out.

    Args:
        executor: its name.
        augment: the list.
    """
    for op in augment:
        check_effects(executor, getattr(op, "members", ()))
        missing = set(op.columns.names or ()) - CARRIED_OUT[executor] - VIEW_COLUMNS
        if not missing:
            continue
        if executor == "tensors":
            raise ValueError(
                f"{type(op).__name__} changes the colours of uint8 RGB images, and these are floats or "
                "have other channels; take it out of augment"
            )
        able = [name for name, columns in CARRIED_OUT.items() if missing <= columns]
        remedy = f"use executor={able[0]!r}" if able else "no executor does"
        raise ValueError(
            f"executor={executor!r} does not carry out {type(op).__name__} "
            f"(its {', '.join(sorted(missing))}); {remedy}, or take it out of augment"
        )
