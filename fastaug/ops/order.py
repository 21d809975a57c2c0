"""Where augmentations stand in a list, and what may stand behind what."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Augmentation, Stage
from .crop import Crop
from .flip import Flip
from .turns import is_turn


def last_crop(augment: Sequence[Augmentation]) -> int:
    """The place of the last crop, -1 where there is none."""
    return max((k for k, op in enumerate(augment) if isinstance(op, Crop)), default=-1)


def places(augment: Sequence[Augmentation]) -> list[Stage]:
    """The stage of each augmentation where it stands: a turn before the last crop is geometry."""
    last = last_crop(augment)
    return [Stage.GEOMETRY if k < last and is_turn(op) else op.stage for k, op in enumerate(augment)]


def stands_behind(op: Augmentation, before: Sequence[Augmentation]) -> bool:
    """Whether it is a flip that may stand behind these policies: turns are mirrored in exchange, and all that
    are no turns do the same to a mirrored image."""
    return isinstance(op, Flip) and all(isinstance(b, Flip) or is_turn(b) or b.keeps_places for b in before)
