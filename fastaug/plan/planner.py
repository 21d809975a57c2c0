"""Draws a batch's plan: every random choice, on the host, before a pixel moves.

Sample-keyed choices (crop, flip, masks) depend on (seed, epoch, sample, occurrence) alone. Mixing
depends on the batch and is keyed by (seed, epoch, batch).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import shown
from ..data.source import Described
from ..ops.augment import (
    MAX_HOLES,
    Augmentation,
    CenterCrop,
    CutMix,
    Cutout,
    GridMask,
    HideAndSeek,
    MixUp,
    Normalize,
    OneOf,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
)
from ..ops.geometry import Geometry
from ..ops.policies import MAX_OPS, AugMix, GaussianBlur, PolicyOp
from ..philox import EPOCH_BITS, STREAM_SHIFT, U32, Keys, Stream, beta, integers
from ..sampling.epoch import Ticket
from .batch_plan import MIX_CUT, MIX_UP, OP, ROW, BatchPlan
from .draw_policy import POLICIES, draw_policy

Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.void]

_STREAMS: dict[type[Augmentation], Stream] = {
    RandomHorizontalFlip: Stream.FLIP,
    Cutout: Stream.CUTOUT,
    GridMask: Stream.GRID_MASK,
    RandomErasing: Stream.ERASING,
    HideAndSeek: Stream.HIDE,
    MixUp: Stream.MIXUP,
    CutMix: Stream.CUTMIX,
    OneOf: Stream.CHOICE,
}
_PER_KIND = 8  # streams of a kind
_GEOMETRY = (RandomResizedCrop, Resize, CenterCrop)
_DRAWN = (*_GEOMETRY, *_STREAMS, *POLICIES, Normalize)  # these and no subclass: its code would not be run
_STAGES = ("geometry and flip", "policy", "masks", "mixing", "Normalize")


@dataclass(frozen=True)
class Step:
    """An augmentation with the stream that its draws come from."""

    op: Augmentation
    stream: int
    members: tuple[Step, ...] = ()  # of a OneOf


class Planner:
    """Turns a checked list of augmentations into plans.

    Args:
        augment: the list, in the order geometry and flip, masks, mixing, Normalize.
        image_size: (height, width) that all images share, or None; needed without a geometry.

    Raises:
        TypeError, ValueError: naming the entry that is wrong and what to do.
    """

    def __init__(self, augment: Sequence[Augmentation], image_size: tuple[int, int] | None = None) -> None:
        check_order(augment)
        self.geometry = Geometry([op for op in augment if isinstance(op, _GEOMETRY)], image_size)
        self.size = self.geometry.size
        normalize = [op for op in augment if isinstance(op, Normalize)]
        self.normalize = normalize[0] if normalize else None
        count: Counter[Stream] = Counter()
        steps = [self._step(op, count) for op in augment if type(op) in _STREAMS]
        self._by_sample = [s for s in steps if s.op.stage <= 2]
        self._by_batch = [s for s in steps if s.op.stage == 3]
        self._policies = [op for op in augment if isinstance(op, PolicyOp)]
        self._most = sum(op.most for op in self._policies)
        self._check_masks()
        check_policies(self._policies, self.size)

    @property
    def mixes(self) -> bool:
        """Whether labels are mixed, so that targets are soft."""
        return bool(self._by_batch)

    @property
    def blends(self) -> bool:
        """Whether MixUp may blend pixels to fractions."""
        ops = [op for s in self._by_batch for op in (s.op, *(m.op for m in s.members))]
        return any(isinstance(op, MixUp) for op in ops)

    def usable(self, described: Described) -> Described:
        """The same with a fault for each image that the geometry cannot use: files may change after they were
        checked."""
        fits = self.geometry.fits(described.height, described.width)
        if fits.all():
            return described
        misfits = {
            int(k): f"{described.height[k]}x{described.width[k]} pixels fit the augmentations no more"
            for k in np.flatnonzero(~fits)
        }
        return replace(described, faults=misfits | described.faults)

    def _step(self, op: Augmentation, count: Counter[Stream]) -> Step:
        kind = _STREAMS[type(op)]
        number, count[kind] = count[kind], count[kind] + 1
        if number >= _PER_KIND:
            raise ValueError(f"augment holds more than {_PER_KIND} of {type(op).__name__}")
        members = tuple(self._step(m, count) for m in op.members) if isinstance(op, OneOf) else ()
        return Step(op, kind + number, members)

    def _check_masks(self) -> None:
        ops = [s.op for s in self._by_sample] + [m.op for s in self._by_sample for m in s.members]
        for kind in (GridMask, HideAndSeek):
            if sum(isinstance(op, kind) for op in ops) > 1:
                raise ValueError(f"augment may hold one {kind.__name__}, not several")
        side = max(self.size)
        holes = 0
        for s in self._by_sample:
            holes += max((_holes(op) for op in (s.op, *(m.op for m in s.members))), default=0)
        for op in ops:
            if isinstance(op, Cutout) and op.length > side:
                raise ValueError(
                    f"Cutout length {op.length} is bigger than the image, "
                    f"{self.size[0]}x{self.size[1]} pixels; take at most {side}"
                )
        if holes > MAX_HOLES:
            raise ValueError(
                f"Cutout and RandomErasing ask for up to {holes} holes a sample; "
                f"at most {MAX_HOLES} are possible"
            )

    def plan(self, ticket: Ticket, height: Ints, width: Ints) -> BatchPlan:
        """The plan of one batch.

        Args:
            ticket: what is asked for.
            height: int64 ``[B]``, of the source images, in pixels.
            width: likewise.
        """
        seed, epoch, step, rank = ticket.seed, ticket.epoch, ticket.step, ticket.rank
        rows = np.zeros(len(ticket.ids), ROW)
        rows["index"], rows["repeat"], rows["occurrence"] = ticket.ids, ticket.repeat, ticket.occurrence
        rows["epoch"] = epoch | (rank << EPOCH_BITS if ticket.rank_keyed else 0)
        rows["partner"], rows["lam"] = np.arange(len(rows)), 1
        keys = Keys(seed, rows["index"].astype(U32), rows["epoch"], rows["occurrence"])
        self.geometry.draw(rows, keys, height, width)
        ops = np.zeros((len(rows), self._most), OP)
        for number, policy in enumerate(self._policies):
            draw_policy(policy, Stream.POLICY + number, rows, ops, keys, self.size)
        for s in self._by_sample:
            self._draw(s, rows, keys, epoch)
        # Mixing's keys: the row takes the sample's place, the batch the occurrence's.
        batch = Keys(
            seed,
            np.arange(len(rows), dtype=U32),
            epoch | rank << EPOCH_BITS,
            step & ((1 << STREAM_SHIFT) - 1),
        )
        for s in self._by_batch:
            self._mix(s, rows, batch)
        return BatchPlan(rows, ops, seed, step, self.size, rows["index"].copy())

    def _draw(self, s: Step, rows: Rows, keys: Keys, epoch: int) -> None:
        if isinstance(s.op, OneOf):
            chosen = choose(keys.uniforms(s.stream)[0], s.op.weights or ())
            for k, member in enumerate(s.members):
                which = np.flatnonzero(chosen == k)
                if which.size:
                    part = rows[which]
                    self._draw(member, part, keys[which], epoch)
                    rows[which] = part
        else:
            _MASKS[type(s.op)](s.op, s.stream, rows, keys, self.size, epoch)

    def _mix(self, s: Step, rows: Rows, batch: Keys) -> None:
        if not isinstance(s.op, OneOf):
            mix(s.op, s.stream, rows, np.arange(len(rows)), batch, self.size)
            return
        keys = batch if s.op.per == "sample" else batch[:1]
        chosen = choose(keys.uniforms(s.stream)[0], s.op.weights or ())
        for k, member in enumerate(s.members):
            which = np.flatnonzero(np.broadcast_to(chosen == k, len(rows)))
            if which.size:
                mix(member.op, member.stream, rows, which, batch, self.size)


def check_order(augment: Sequence[Augmentation]) -> None:
    """Raises when an entry is none of fastaug's augmentations, stands in the wrong place or twice."""
    stage = 0
    for place, op in enumerate(augment):
        check_drawn(f"augment[{place}]", op)
        if op.stage < stage:
            raise ValueError(
                f"augment[{place}], {type(op).__name__}, comes too late: the order is "
                f"{', '.join(_STAGES)}; move it before the {_STAGES[stage]}"
            )
        stage = op.stage
    if sum(op.stage == 3 for op in augment) > 1:
        raise ValueError("augment mixes twice; put the mixing into fastaug.OneOf([...])")
    for once in (Normalize, RandomHorizontalFlip):
        if sum(isinstance(op, once) for op in augment) > 1:
            raise ValueError(f"augment holds {once.__name__} twice; keep one")


def check_drawn(where: str, op: object) -> None:
    """Raises when ``op``, or a member of it, is none of fastaug's own augmentations."""
    if not isinstance(op, Augmentation):
        raise TypeError(
            f"{where} is {op!r}; it must be an augmentation such as fastaug.RandomResizedCrop(224)"
        )
    if type(op) not in _DRAWN:
        base = next((c.__name__ for c in type(op).__mro__ if c in _DRAWN), "an augmentation of fastaug's")
        raise TypeError(
            f"{where} is {shown(op)}, and fastaug has no kernel for the class "
            f"{type(op).__name__}; give {base}, and what else it does to images as a module of "
            "batches, extra=..."
        )
    for k, member in enumerate(op.members if isinstance(op, OneOf) else ()):
        check_drawn(f"{where}.members[{k}]", member)


def check_policies(policies: Sequence[PolicyOp], size: tuple[int, int]) -> None:
    """Raises when a list's policies are more than a plan's row can hold, or do not fit the images."""
    if len(policies) > _PER_KIND:
        raise ValueError(
            f"augment holds {len(policies)} policies and colour operations; at most {_PER_KIND} are possible"
        )
    if len(policies) > 1 and any(isinstance(op, AugMix) for op in policies):
        raise ValueError(
            "AugMix mixes whole images, so it must be the only policy in augment; take the others out"
        )
    if (most := sum(op.most for op in policies)) > MAX_OPS:
        raise ValueError(
            f"augment's policies ask for up to {most} operations a sample; at most {MAX_OPS} are possible"
        )
    for op in policies:
        if isinstance(op, GaussianBlur) and op.kernel_size // 2 >= min(size):
            raise ValueError(
                f"GaussianBlur kernel_size {op.kernel_size} reaches over images of {size[0]}x"
                f"{size[1]} pixels; take at most {2 * min(size) - 1}"
            )


def choose(uniform: npt.NDArray[np.float64], weights: Sequence[float]) -> Ints:
    """Uniforms in (0, 1) as choices among len(weights) members, in proportion to the weights."""
    edges = np.cumsum(weights) / np.sum(weights)
    return np.searchsorted(edges[:-1], uniform, side="right").astype(np.int64)


# ---- flip and masks: each fills its columns of the rows ----


def _holes(op: Augmentation) -> int:
    if isinstance(op, Cutout):
        return op.n_holes
    return int(isinstance(op, RandomErasing))


def draw_flip(
    op: RandomHorizontalFlip, stream: int, rows: Rows, keys: Keys, size: tuple[int, int], epoch: int
) -> None:
    rows["flip"] = keys.uniforms(stream)[0] < op.p


def _add_hole(rows: Rows, which: Ints, box: Sequence[Ints], fill: Sequence[float], noise: bool) -> None:
    """Adds the hole (y0, x0, y1, x1), arrays over ``which``, clipped at the image's border."""
    slot = rows["n_holes"][which]
    for name, value in zip(("y0", "x0", "y1", "x1"), box, strict=True):
        rows["holes"][name][which, slot] = value
    rows["holes"]["fill"][which, slot] = fill
    rows["holes"]["noise"][which, slot] = noise
    rows["n_holes"][which] += 1


def draw_cutout(op: Cutout, stream: int, rows: Rows, keys: Keys, size: tuple[int, int], epoch: int) -> None:
    u = keys.uniforms(stream, 1 + 2 * op.n_holes)
    which = np.flatnonzero(u[0] < op.p)
    height, width = size
    half = op.length // 2
    for k in range(op.n_holes):
        cy = integers(u[1 + 2 * k][which], 0, height)
        cx = integers(u[2 + 2 * k][which], 0, width)
        box = (
            np.maximum(cy - half, 0),
            np.maximum(cx - half, 0),
            np.minimum(cy + half, height),
            np.minimum(cx + half, width),
        )
        _add_hole(rows, which, box, op.fill, False)  # type: ignore[arg-type]


def draw_erasing(
    op: RandomErasing, stream: int, rows: Rows, keys: Keys, size: tuple[int, int], epoch: int
) -> None:
    height, width = size
    todo = np.flatnonzero(keys.uniforms(stream)[0] < op.p)
    low, high = np.log(op.ratio) if op.aspect == "log" else op.ratio
    for attempt in range(1, op.tries + 1):
        if not todo.size:
            break
        u = keys[todo].uniforms(stream, 4, attempt)
        area = height * width * (op.scale[0] + u[0] * (op.scale[1] - op.scale[0]))
        aspect = low + u[1] * (high - low)
        aspect = np.exp(aspect) if op.aspect == "log" else aspect
        h, w = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
        fits = (h < height) & (w < width)
        h, w = h[fits].astype(np.int64), w[fits].astype(np.int64)
        y0, x0 = integers(u[2][fits], 0, height - h + 1), integers(u[3][fits], 0, width - w + 1)
        noise = op.value == "random"
        fill = (0.0, 0.0, 0.0) if noise else op.value
        _add_hole(rows, todo[fits], (y0, x0, y0 + h, x0 + w), fill, noise)  # type: ignore[arg-type]
        todo = todo[~fits]


def draw_hide(
    op: HideAndSeek, stream: int, rows: Rows, keys: Keys, size: tuple[int, int], epoch: int
) -> None:
    sides = np.array(op.grid_sizes)
    rows["hide"] = sides[integers(keys.uniforms(stream)[0], 0, len(sides))]
    rows["hide_p"], rows["hide_fill"] = op.hide_p, op.fill


def draw_grid_mask(
    op: GridMask, stream: int, rows: Rows, keys: Keys, size: tuple[int, int], epoch: int
) -> None:
    p = op.p * min(1.0, epoch / op.ramp_epochs) if op.ramp_epochs else op.p
    u = keys.uniforms(stream, 5)
    d = integers(u[1], *op.d)
    turn = np.radians(integers(u[4], 0, op.rotate))
    rows["grid_d"] = np.where(u[0] < p, d, 0)
    rows["grid_l"] = np.clip(np.ceil(d * op.ratio), 1, d - 1)
    rows["grid_y"], rows["grid_x"] = integers(u[2], 0, d), integers(u[3], 0, d)
    rows["grid_mode"], rows["grid_fill"] = op.mode, op.fill
    rows["grid_cos"], rows["grid_sin"] = np.rint(65536 * np.cos(turn)), np.rint(65536 * np.sin(turn))
    rows["grid_inv"] = -(-(1 << 32) // d)


_MASKS: dict[type[Augmentation], Callable[..., None]] = {
    RandomHorizontalFlip: draw_flip,
    Cutout: draw_cutout,
    RandomErasing: draw_erasing,
    HideAndSeek: draw_hide,
    GridMask: draw_grid_mask,
}


# ---- mixing ----


def mix(op: Any, stream: int, rows: Rows, which: Ints, batch: Keys, size: tuple[int, int]) -> None:
    """Pairs the rows ``which`` with each other and fills their mixing columns.

    Units are what shares a lam: the batch, a pair or a sample. Each unit has keys of its own.
    """
    n = len(which)
    order = np.argsort(batch[:n].words(Stream.PARTNER)[0], kind="stable")
    partner, unit = order.copy(), np.zeros(n, np.int64)
    if op.per == "pair":  # neighbours in the permutation; an odd one out stays alone
        even, odd = order[0 : n - n % 2 : 2], order[1::2]
        partner = np.arange(n)
        partner[even], partner[odd] = odd, even
        unit[even] = unit[odd] = np.arange(len(odd))
        unit[order[n - n % 2 :]] = n // 2
    elif op.per == "sample":
        unit = np.arange(n)
    keys = batch[: unit.max() + 1]
    u = keys.uniforms(stream, 3)
    lam = beta(keys, stream, op.alpha)
    lam = np.where(u[0] < op.p, lam, 1.0)[unit]
    on = (lam < 1) & (partner != np.arange(n))
    lam[~on] = 1
    rows["partner"][which] = np.where(on, which[partner], which)
    if isinstance(op, CutMix):
        lam = _cut(rows, which, on, lam, u[1][unit], u[2][unit], size)
    rows["mix"][which] = np.where(on, MIX_CUT if isinstance(op, CutMix) else MIX_UP, 0)
    rows["lam"][which] = lam


def _cut(
    rows: Rows,
    which: Ints,
    on: npt.NDArray[np.bool_],
    lam: npt.NDArray[np.float64],
    uy: npt.NDArray[np.float64],
    ux: npt.NDArray[np.float64],
    size: tuple[int, int],
) -> npt.NDArray[np.float64]:
    """Fills CutMix's boxes; returns 1 - pasted area / image area."""
    height, width = size
    area = np.ones(len(which))
    for axis, (length, u) in {"y": (height, uy), "x": (width, ux)}.items():
        half = np.floor(length * np.sqrt(1 - lam)).astype(np.int64) // 2
        centre = integers(u, 0, length)
        low, high = np.maximum(centre - half, 0), np.minimum(centre + half, length)
        rows[f"cut_{axis}0"][which] = np.where(on, low, 0)
        rows[f"cut_{axis}1"][which] = np.where(on, high, 0)
        area *= high - low
    return np.where(on, 1 - area / (height * width), 1.0)
