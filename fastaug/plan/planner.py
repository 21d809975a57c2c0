"""Draws a batch's plan: every random choice, on the host, before a pixel moves.

Sample-keyed choices (crop, flip, masks) depend on (seed, epoch, sample, occurrence) alone. Mixing
depends on the batch and is keyed by (seed, epoch, batch).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..checks import naming, shown
from ..data.source import Described
from ..ops import OPERATIONS
from ..ops.base import MOST_ENTRIES, STAGE_NAMES, Augmentation, Draft, Ints, Stage, Step
from ..ops.flip import Flip
from ..ops.geometry import Geometry
from ..ops.holes import HOLE
from ..ops.mask_mix import MaskMix
from ..ops.normalize import Normalize
from ..ops.order import last_crop, places, stands_behind
from ..ops.policy import OP
from ..ops.views import Listing, Views, lists_of
from ..sampling.epoch import Ticket
from ..sampling.philox import EPOCH_BITS, STREAM_SHIFT, STREAMS_EACH, U32, Keys
from .batch_plan import BatchPlan, no_masks
from .row import ROW
from .views_plan import ViewsPlan

_ROW_BITS = 24  # of a batch's number of rows


class Planner:
    """Turns a checked list of augmentations into plans.

    Args:
        augment: the list, in the order geometry and flip, policy, masks, mixing, Normalize. A turn before the
            last crop is geometry, one behind it policy.
        image_size: (height, width) that all images share, or None; needed without a geometry.

    Raises:
        TypeError, ValueError: naming the entry that is wrong and what to do.
    """

    def __init__(self, augment: Sequence[Augmentation], image_size: tuple[int, int] | None = None) -> None:
        check_order(augment)
        streams: Counter[int] = Counter()
        steps = [
            self._step(op, streams, [o.columns.names[0] for o in augment[k:] if isinstance(o, Flip)])  # type: ignore[index]
            for k, op in enumerate(augment)
        ]
        behind = last_crop(augment) + 1
        self.geometry = Geometry(steps[:behind], image_size)
        self.size = self.geometry.size
        self.normalize = next((op for op in augment if isinstance(op, Normalize)), None)
        self._flips = [step for step in steps if isinstance(step.op, Flip)]
        self._steps = [s for s in steps[behind:] if s.op.stream is not None and not isinstance(s.op, Flip)]
        check_tables(augment[behind:])
        for op in augment[behind:]:
            op.check_size(self.size)
        self.mixes = any(op.stage is Stage.MIX for op in augment)  # labels, so that targets are soft
        self.blends = any(op.blends for op in augment)  # pixels to fractions

    def each(self) -> list[Planner]:
        """Those of all stages: itself."""
        return [self]

    def at(self, epoch: int) -> Planner:
        """What plans an epoch."""
        return self

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each view's images: of the one that there is."""
        return (self.size,)

    @property
    def pixels(self) -> int:
        """Pixels that a sample becomes, at most."""
        return self.size[0] * self.size[1]

    @property
    def plain(self) -> bool:
        """Whether any decoder makes the crops; see ``Geometry.plain``."""
        return self.geometry.plain

    def check(self, height: Ints, width: Ints, name: Callable[[int], str]) -> None:
        """Raises when images do not fit; see ``Geometry.check``."""
        self.geometry.check(height, width, name)

    def fits(self, height: Ints, width: Ints) -> npt.NDArray[np.bool_]:
        """Whether images of these sizes make output images."""
        if one_size(height, width) is not None:  # as arrays' are
            return np.repeat(self.geometry.fits(height[:1], width[:1]), len(height))
        return self.geometry.fits(height, width)

    def _step(self, op: Augmentation, streams: Counter[int], later: Sequence[str]) -> Step:
        if op.stream is None:
            return Step(op, 0)
        number, streams[op.stream] = streams[op.stream], streams[op.stream] + 1
        if number >= STREAMS_EACH:
            raise ValueError(
                f"augment holds more than {STREAMS_EACH} of the kind of {type(op).__name__}; no more have "
                "random numbers of their own"
            )
        members = tuple(self._step(member, streams, later) for member in getattr(op, "members", ()))
        return Step(op, op.stream + number, members, tuple(later))

    def plan(self, ticket: Ticket, height: Ints, width: Ints) -> BatchPlan:
        """The plan of one batch.

        Args:
            ticket: what is asked for.
            height: int64 ``[B]``, of the source images, in pixels.
            width: likewise.
        """
        draft = self._cropped(ticket, height, width)
        for each in self._steps:
            each.op.draw(draft, each)
        return finished(draft, ticket.seed, ticket.step)

    def crops(self, ticket: Ticket, height: Ints, width: Ints) -> BatchPlan:
        """The same without what comes after geometry and flip."""
        return finished(self._cropped(ticket, height, width), ticket.seed, ticket.step)

    def _cropped(self, ticket: Ticket, height: Ints, width: Ints) -> Draft:
        n, step = len(ticket.ids), ticket.step
        rows = np.zeros(n, ROW)
        rows["index"], rows["repeat"], rows["occurrence"] = ticket.ids, ticket.repeat, ticket.visit
        rows["epoch"] = ticket.word
        rows["partner"], rows["lam"] = np.arange(n), 1
        # Of numbers that belong to the batch: the row, with the view above it, takes the sample's place, the
        # batch the occurrence's.
        number = step & ((1 << STREAM_SHIFT) - 1)
        row = np.arange(n, dtype=U32) | U32(ticket.view << _ROW_BITS)
        batch = Keys(ticket.seed, row, ticket.epoch | ticket.rank << EPOCH_BITS, number)
        draft = Draft(rows, np.arange(n), ticket.keys(), batch, self.size, ticket.epoch)
        for each in self._flips:
            each.op.draw(draft, each)
        self.geometry.draw(draft, height, width)
        return draft


class ViewsPlanner:
    """Plans several views of each image, each by a list of its own.

    Args:
        planners: of the views.

    Raises:
        ValueError: when they end with another Normalize.
    """

    def __init__(self, planners: Sequence[Planner]) -> None:
        self.views = list(planners)
        self.normalize = same_normalize([(f"view {k}", p) for k, p in enumerate(planners)])
        self.sizes = tuple(planner.size for planner in planners)
        self.pixels = sum(planner.pixels for planner in planners)
        self.plain = all(planner.plain for planner in planners)
        self.mixes, self.blends = any(p.mixes for p in planners), any(p.blends for p in planners)

    def each(self) -> list[ViewsPlanner]:
        """Those of all stages: itself."""
        return [self]

    def at(self, epoch: int) -> ViewsPlanner:
        """What plans an epoch."""
        return self

    def check(self, height: Ints, width: Ints, name: Callable[[int], str]) -> None:
        """Raises when images do not fit a view."""
        for planner in set(self.views):
            planner.check(height, width, name)

    def fits(self, height: Ints, width: Ints) -> npt.NDArray[np.bool_]:
        """Whether images of these sizes make output images of all views."""
        fits: npt.NDArray[np.bool_] = np.all([p.fits(height, width) for p in set(self.views)], axis=0)
        return fits

    def plan(self, ticket: Ticket, height: Ints, width: Ints) -> ViewsPlan:
        """The plan of one batch; see ``Planner.plan``."""
        each = enumerate(self.views)
        return ViewsPlan(tuple(p.plan(replace(ticket, view=k), height, width) for k, p in each))

    def crops(self, ticket: Ticket, height: Ints, width: Ints) -> ViewsPlan:
        """The same without what comes after geometry and flip."""
        each = enumerate(self.views)
        return ViewsPlan(tuple(p.crops(replace(ticket, view=k), height, width) for k, p in each))


class Scheduled:
    """Planners that follow the epoch.

    Args:
        stages: (first epoch, planner) of each, ascending from 0.

    Raises:
        ValueError: when they end with another Normalize, or have other numbers of views.
    """

    def __init__(self, stages: Sequence[tuple[int, Planner | ViewsPlanner]]) -> None:
        self.stages = list(stages)
        planners = [planner for _, planner in stages]
        self.normalize = same_normalize([(f"the list of epoch {first}", p) for first, p in stages])
        if len({(type(p), len(p.sizes)) for p in planners}) > 1:
            raise ValueError("the schedule's lists have other numbers of views; give all the same number")
        self.sizes, self.pixels = planners[0].sizes, max(p.pixels for p in planners)
        self.plain = all(p.plain for p in planners)
        self.mixes, self.blends = any(p.mixes for p in planners), any(p.blends for p in planners)

    def each(self) -> list[Planner | ViewsPlanner]:
        """Those of all stages."""
        return [planner for _, planner in self.stages]

    def at(self, epoch: int) -> Planner | ViewsPlanner:
        """What plans an epoch."""
        return next(planner for first, planner in reversed(self.stages) if first <= epoch)


AnyPlanner = Planner | ViewsPlanner | Scheduled


def planner_of(stages: Sequence[tuple[int, Listing]], image_size: tuple[int, int] | None) -> AnyPlanner:
    """The planner of a list, of Views, or of a schedule of them.

    Args:
        stages: (first epoch, list or Views) of each stage.
        image_size: as in ``Planner``.
    """

    def one(listing: Listing) -> Planner | ViewsPlanner:
        lists, made = lists_of(listing), list[Planner]()
        for k, ops in enumerate(lists):
            same = next((made[j] for j in range(k) if lists[j] == ops), None)
            with naming(f"view {k}" * (len(lists) > 1)):
                made.append(same or Planner(ops, image_size))
        return ViewsPlanner(made) if isinstance(listing, Views) else made[0]

    each = [(first, one(listing)) for first, listing in stages]
    return each[0][1] if len(each) == 1 else Scheduled(each)


def one_size(height: Ints, width: Ints) -> tuple[int, int] | None:
    """The (height, width) that images share, or None."""
    same = len(height) > 0 and bool((height == height[0]).all() and (width == width[0]).all())
    return (int(height[0]), int(width[0])) if same else None


def same_normalize(planners: Sequence[tuple[str, Planner | ViewsPlanner]]) -> Normalize | None:
    """The Normalize of named planners, which must be the same."""
    (first, one), *others = planners
    for name, other in others:
        if other.normalize != one.normalize:
            raise ValueError(
                f"{name} ends with {other.normalize}, and {first} with {one.normalize}; a network needs one: "
                "give all the same"
            )
    return one.normalize


def usable(planner: Planner | ViewsPlanner, described: Described) -> Described:
    """The same with a fault for each image that the geometry cannot use: files may change after they were
    checked."""
    fits = planner.fits(described.height, described.width)
    if fits.all():
        return described
    misfits = {
        int(k): f"{described.height[k]}x{described.width[k]} pixels fit the augmentations no more"
        for k in np.flatnonzero(~fits)
    }
    return replace(described, faults=misfits | described.faults)


def finished(draft: Draft, seed: int, step: int) -> BatchPlan:
    """The plan that a draft of all its rows became."""
    rows = draft.rows
    tables = {}
    for name, dtype in (("hole", HOLE), ("op", OP)):
        tables[name], count = draft.table(f"{name}s", dtype)
        rows[f"n_{name}s"], rows[f"first_{name}"] = count, np.cumsum(count) - count
    masks = np.concatenate([no_masks(draft.size), *draft.masks])
    return BatchPlan(rows, tables["hole"], tables["op"], seed, step, draft.size, rows["index"].copy(), masks)


def check_order(augment: Sequence[Augmentation]) -> None:
    """Raises when an entry is none of fastaug's augmentations, stands in the wrong place or twice."""
    for place, op in enumerate(augment):
        check_drawn(f"augment[{place}]", op)
    stage, last = Stage.GEOMETRY, last_crop(augment)
    for place, (op, own) in enumerate(zip(augment, places(augment), strict=True)):
        if own < stage and not (place > last and stands_behind(op, augment[last + 1 : place])):
            raise ValueError(
                f"augment[{place}], {type(op).__name__}, comes too late: the order is "
                f"{', '.join(STAGE_NAMES)}; move it before the {STAGE_NAMES[stage]}"
            )
        stage = max(stage, own)
    if sum(op.stage is Stage.MIX for op in augment) > 1:
        raise ValueError("augment mixes twice; put the mixing into fastaug.OneOf([...])")
    flat = [part for op in augment for part in (op, *getattr(op, "members", ()))]
    for kind, count in Counter(type(op) for op in flat if op.once and op.stage is not Stage.MIX).items():
        if count > 1:
            raise ValueError(f"augment holds {kind.__name__} twice; keep one")


def check_drawn(where: str, op: object) -> None:
    """Raises when ``op``, or a member of it, is none of fastaug's own augmentations."""
    if not isinstance(op, Augmentation):
        raise TypeError(
            f"{where} is {op!r}; it must be an augmentation such as fastaug.RandomResizedCrop(224)"
        )
    if type(op) not in OPERATIONS and type(op).__base__ is not MaskMix:
        bases = (base.__name__ for base in type(op).__mro__ if base in OPERATIONS)
        known = next(bases, "an augmentation of fastaug's")
        raise TypeError(
            f"{where} is {shown(op)}, and fastaug has no kernel for the class "
            f"{type(op).__name__}; give {known}, and what else it does to images as a module of "
            "batches, extra=..."
        )
    for k, member in enumerate(getattr(op, "members", ())):
        check_drawn(f"{where}.members[{k}]", member)


def check_tables(augment: Sequence[Augmentation]) -> None:
    """Raises when a sample could get more entries than a side table takes, or AugMix is not alone."""
    for table, what in (("holes", "holes"), ("ops", "operations")):
        most = sum(op.most for op in augment if op.table == table)
        if most > MOST_ENTRIES:
            raise ValueError(
                f"augment asks for up to {most} {what} a sample; at most {MOST_ENTRIES} are possible"
            )
    policies = [op for op in augment if op.stage is Stage.POLICY]
    if len(policies) > 1 and any(op.once for op in policies):
        raise ValueError(
            "AugMix mixes whole images, so it must be the only policy in augment; take the others out"
        )
