"""OneOf and RandomApply: augmentations that not every sample goes through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..checks import number, one_of
from ..sampling.philox import Keys, Stream
from .base import Augmentation, Draft, Ints, Stage, Step, choose

_KINDS = {Stage.POLICY: "all policies and turns", Stage.MASK: "all masks", Stage.MIX: "all mixing"}
Share = tuple[Step, Ints]


@dataclass(frozen=True)
class Group(Augmentation):
    """Base of what holds other augmentations."""

    members: Sequence[Augmentation]

    stream: ClassVar[int | None] = Stream.CHOICE

    def _stage(self, accepted: Sequence[Stage]) -> Stage:
        """The one stage of its members."""
        name = type(self).__name__
        if not isinstance(self.members, Sequence) or not self.members:
            raise TypeError(f"{name} members must be a list of augmentations, not {self.members!r}")
        stages = {m.stage if isinstance(m, Augmentation) else None for m in self.members}
        lone = [m for m in self.members if isinstance(m, Augmentation) and m.stage is Stage.POLICY and m.once]
        stage = stages.pop()
        if stages or stage not in accepted or lone:
            raise ValueError(
                f"{name} members must be {' or '.join(_KINDS[stage] for stage in accepted)}, and no AugMix, "
                f"not {self.members!r}"
            )
        return stage

    @property
    def table(self) -> str:  # type: ignore[override]
        return next((m.table for m in self.members if m.table), "")

    @property
    def blends(self) -> bool:  # type: ignore[override]
        return any(m.blends for m in self.members)

    @property
    def keeps_places(self) -> bool:  # type: ignore[override]
        return all(m.keeps_places for m in self.members)

    def check_size(self, size: tuple[int, int]) -> None:
        for member in self.members:
            member.check_size(size)

    def shares(self, step: Step, keys: Keys) -> Iterator[Share]:
        """Its members, each with the rows that go through it."""
        raise NotImplementedError

    def draw(self, draft: Draft, step: Step) -> None:
        keys = draft.batch[: len(draft)] if self.stage is Stage.MIX else draft.keys
        for member, which in self.shares(step, keys):
            if which.size:
                member.op.draw(draft.only(which), member)


@dataclass(frozen=True)
class OneOf(Group):
    """Exactly one of its members each time: all policies and turns, all masks, or all mixing. torchvision's
    ``RandomChoice``.

    Args:
        members: one or more.
        weights: chances of the members, in proportion; equal when not given.
        per: "sample" (the only choice but for mixing) or "batch". Mixing's default is "batch"; with
            "sample" a batch holds all kinds (timm's ``switch_prob`` with ``mode="elem"``).

    Example:
        >>> import fastaug
        >>> fastaug.OneOf([fastaug.MixUp(0.2), fastaug.CutMix(1.0)], weights=(1, 3)).per
        'batch'
    """

    weights: Sequence[float] | None = None
    per: Literal["batch", "sample"] | None = None

    def _check(self) -> None:
        stage = self._stage((Stage.POLICY, Stage.MASK, Stage.MIX))
        if any(isinstance(m, OneOf) for m in self.members):
            raise ValueError(f"OneOf members must be no OneOf, as in {self.members!r}; put all into one")
        count = len(self.members)
        weights = self.weights if self.weights is not None else (1.0,) * count
        if len(weights) != count:
            raise ValueError(f"OneOf weights must be one for each of {count} members, not {weights!r}")
        if sum(number("OneOf weights", w, 0, math.inf) for w in weights) <= 0:
            raise ValueError(f"OneOf weights must not all be 0, as in {weights!r}")
        mixing = stage is Stage.MIX
        per = self.per or ("batch" if mixing else "sample")
        one_of("OneOf per", per, ("batch", "sample") if mixing else ("sample",))
        self._set(members=tuple(self.members), weights=tuple(weights), per=per, stage=stage)

    @property
    def most(self) -> int:
        return max(m.most for m in self.members)

    def shares(self, step: Step, keys: Keys) -> Iterator[Share]:
        n = len(keys.index)
        drawn = keys[:1] if self.per == "batch" else keys
        chosen = np.broadcast_to(choose(drawn.uniforms(step.stream)[0], self.weights or ()), n)
        for k, member in enumerate(step.members):
            yield member, np.flatnonzero(chosen == k)


@dataclass(frozen=True)
class RandomApply(Group):
    """All of its members with probability ``p``, or none. As torchvision's ``RandomApply``.

    Args:
        members: policies and turns, or masks.
        p: probability.

    Example:
        >>> import fastaug
        >>> fastaug.RandomApply([fastaug.ColorJitter(0.4), fastaug.GaussianBlur(9)], p=0.8).most
        5
    """

    p: float = 0.5

    def _check(self) -> None:
        stage = self._stage((Stage.POLICY, Stage.MASK))
        number("RandomApply p", self.p, 0, 1)
        self._set(members=tuple(self.members), stage=stage)

    @property
    def most(self) -> int:
        return sum(m.most for m in self.members)

    def shares(self, step: Step, keys: Keys) -> Iterator[Share]:
        which = np.flatnonzero(keys.uniforms(step.stream)[0] < self.p)
        for member in step.members:
            yield member, which
