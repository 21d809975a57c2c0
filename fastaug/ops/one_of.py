"""OneOf."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..checks import number, one_of
from ..philox import Stream
from .base import Augmentation, Draft, Stage, Step, choose


@dataclass(frozen=True)
class OneOf(Augmentation):
    """Exactly one of its members each time: all masks, or all mixing.

    Args:
        members: two or more of Cutout, RandomErasing, HideAndSeek, GridMask; or of MixUp, CutMix.
        weights: chances of the members, in proportion; equal when not given.
        per: "sample" (the only choice for masks) or "batch". Mixing's default is "batch"; with
            "sample" a batch holds all kinds (timm's ``switch_prob`` with ``mode="elem"``).

    Example:
        >>> import fastaug
        >>> fastaug.OneOf([fastaug.MixUp(0.2), fastaug.CutMix(1.0)], weights=(1, 3)).per
        'batch'
    """

    members: Sequence[Augmentation]
    weights: Sequence[float] | None = None
    per: Literal["batch", "sample"] | None = None

    stream: ClassVar[int | None] = Stream.CHOICE

    def _check(self) -> None:
        if not isinstance(self.members, Sequence) or not self.members:
            raise TypeError(f"OneOf members must be a list of augmentations, not {self.members!r}")
        stages = {m.stage if isinstance(m, Augmentation) else None for m in self.members}
        if any(isinstance(m, OneOf) for m in self.members) or stages not in ({Stage.MASK}, {Stage.MIX}):
            raise ValueError(
                "OneOf members must be all masks (Cutout, RandomErasing, HideAndSeek, "
                f"GridMask) or all mixing (MixUp, CutMix), not {self.members!r}"
            )
        stage = Stage.MASK if Stage.MASK in stages else Stage.MIX
        count = len(self.members)
        weights = self.weights if self.weights is not None else (1.0,) * count
        if len(weights) != count:
            raise ValueError(f"OneOf weights must be one for each of {count} members, not {weights!r}")
        if sum(number("OneOf weights", w, 0, math.inf) for w in weights) <= 0:
            raise ValueError(f"OneOf weights must not all be 0, as in {weights!r}")
        masks = stage is Stage.MASK
        per = self.per or ("sample" if masks else "batch")
        one_of("OneOf per", per, ("sample",) if masks else ("batch", "sample"))
        self._set(members=tuple(self.members), weights=tuple(weights), per=per, stage=stage)

    @property
    def table(self) -> str:  # type: ignore[override]
        return next((m.table for m in self.members if m.table), "")

    @property
    def most(self) -> int:
        return max(m.most for m in self.members)

    @property
    def blends(self) -> bool:  # type: ignore[override]
        return any(m.blends for m in self.members)

    def check_size(self, size: tuple[int, int]) -> None:
        for member in self.members:
            member.check_size(size)

    def draw(self, draft: Draft, step: Step) -> None:
        keys = draft.keys if self.stage is Stage.MASK else draft.batch
        if self.per == "batch":
            keys = keys[:1]
        chosen = np.broadcast_to(choose(keys.uniforms(step.stream)[0], self.weights or ()), len(draft))
        for k, member in enumerate(step.members):
            which = np.flatnonzero(chosen == k)
            if which.size:
                member.op.draw(draft.only(which), member)
