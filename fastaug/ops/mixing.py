"""Mixing: pairs of samples of a batch, which share pixels and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..checks import number, one_of
from ..sampling.philox import Keys, Stream, beta, integers
from .base import Augmentation, Draft, Floats, Ints, Per, Sample, Stage, Step

MIX_NONE, MIX_UP, MIX_CUT, MIX_MASK, MIX_RESIZE = range(5)
LATER = 4096  # draws of a stream from here on are what is mixed's own
_NAMES = ("", "mixup", "cutmix", "mask", "resizemix")


@dataclass(frozen=True, eq=False)
class Units:
    """How the rows of a draft are paired, and what is drawn for each unit: what shares a lam.

    Attributes:
        unit: int64 ``[R]``, each row's.
        on: bool ``[R]``, which are mixed with another row.
        lam: float64 ``[U]``, Beta variates; 1 where a unit is not mixed.
        u: float64 ``[2, U]``, uniforms.
        keys: of the units.
    """

    unit: Ints
    on: npt.NDArray[np.bool_]
    lam: Floats
    u: Floats
    keys: Keys


@dataclass(frozen=True)
class Mixing(Augmentation):
    """Base of what mixes samples, ``per`` batch, pair or sample with probability ``p``. Such a unit shares a
    lam."""

    stage: ClassVar[Stage] = Stage.MIX
    # partner: the row that is mixed in, the row itself when there is none. lam: the own label's weight; for
    # MixUp the own pixels' too. cut: inside this box CutMix shows the partner, ResizeMix all of it, scaled.
    # mix_mask: number of the mask, of the plan's, where MaskMix shows the partner.
    columns: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("mix", "i4"),
            ("partner", "i4"),
            ("lam", "f4"),
            ("cut_y0", "i4"),
            ("cut_x0", "i4"),
            ("cut_y1", "i4"),
            ("cut_x1", "i4"),
            ("mix_mask", "i4"),
        ]
    )
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"mix": (MIX_NONE, MIX_RESIZE), "lam": (0, 1)}
    heading: ClassVar[str] = "mixing"
    once: ClassVar[bool] = True

    def _check(self) -> None:
        own: Any = self  # per and p stand behind the fields of each class
        one_of(f"{type(self).__name__} per", own.per, ("batch", "pair", "sample"))
        number(f"{type(self).__name__} p", own.p, 0, 1)

    def shares(self, keys: Keys, stream: int) -> Floats:
        """Each unit's lam, where it is mixed."""
        return np.zeros(len(keys.index))

    def draw(self, draft: Draft, step: Step) -> None:
        """Pairs the draft's rows with each other."""
        own: Any = self
        n, batch = len(draft), draft.batch
        order = np.argsort(batch[:n].words(Stream.PARTNER)[0], kind="stable")
        partner, unit = order.copy(), np.zeros(n, np.int64)
        if own.per == "pair":  # neighbours in the permutation; an odd one out stays alone
            even, odd = order[0 : n - n % 2 : 2], order[1::2]
            partner = np.arange(n)
            partner[even], partner[odd] = odd, even
            unit[even] = unit[odd] = np.arange(len(odd))
            unit[order[n - n % 2 :]] = n // 2
        elif own.per == "sample":
            unit = np.arange(n)
        keys = batch[: unit.max() + 1]
        u = keys.uniforms(step.stream, 3)
        lam = np.where(u[0] < own.p, self.shares(keys, step.stream), 1.0)
        on = (lam[unit] < 1) & (partner != np.arange(n))
        draft.fill(partner=np.where(on, draft.which[partner], draft.which))
        self.mix(draft, Units(unit, on, lam, u[1:], keys), step.stream)

    def mix(self, draft: Draft, units: Units, stream: int) -> None:
        """Fills the other columns.

        Args:
            draft: the rows that are mixed among each other.
            units: how.
            stream: its random numbers; draws from ``LATER`` on are free.
        """

    @classmethod
    def describe(cls, sample: Sample) -> str:
        row = sample.row
        return f"{_NAMES[row['mix']]} with row {row['partner']}, lam {row['lam']:.3f}" if row["mix"] else ""


@dataclass(frozen=True)
class BetaMixing(Mixing):
    """Base of what mixes with lam ~ Beta(alpha, alpha)."""

    alpha: float
    per: Per = "batch"
    p: float = 1.0

    def _check(self) -> None:
        super()._check()
        number(f"{type(self).__name__} alpha", self.alpha, 0, math.inf, above=True)

    def shares(self, keys: Keys, stream: int) -> Floats:
        return beta(keys, stream, self.alpha)


@dataclass(frozen=True)
class MixUp(BetaMixing):
    """Images and labels blended in pairs (Zhang et al. 2018, https://arxiv.org/abs/1710.09412).

    lam ~ Beta(alpha, alpha); x = lam * x + (1 - lam) * x', and labels likewise. Partners come from
    a random permutation of the batch, as in the paper (torchvision rolls by one, timm reverses;
    Kornia's lam is uniform and weighs the partner). Draws depend on (seed, epoch, batch).

    Args:
        alpha: above 0; the paper uses 0.1 to 0.4 on ImageNet.
        per: "batch": one lam; "pair": two samples are each other's partner and share a lam;
            "sample": a lam each.
        p: probability, applied per batch, pair or sample.

    Example:
        >>> import fastaug
        >>> fastaug.MixUp(0.2)
        MixUp(alpha=0.2, per='batch', p=1.0)
    """

    stream: ClassVar[int | None] = Stream.MIXUP
    blends: ClassVar[bool] = True

    def mix(self, draft: Draft, units: Units, stream: int) -> None:
        lam = np.where(units.on, units.lam[units.unit], 1.0)
        draft.fill(mix=np.where(units.on, MIX_UP, MIX_NONE), lam=lam)


@dataclass(frozen=True)
class CutMix(BetaMixing):
    """A box of the partner pasted in (Yun et al. 2019, https://arxiv.org/abs/1905.04899).

    lam ~ Beta(alpha, alpha); sides int(H * sqrt(1 - lam)) and int(W * sqrt(1 - lam)); the centre is
    uniform over the pixels; the box, centre -/+ side // 2, is clipped at the border and lam becomes
    1 - pasted area / image area exactly (Kornia corrects it only when asked to). Partners as in
    MixUp. Draws depend on (seed, epoch, batch).

    Args:
        alpha: above 0; 1.0 in the paper.
        per: as in MixUp.
        p: probability, applied per batch, pair or sample.

    Example:
        >>> import fastaug
        >>> fastaug.CutMix(1.0, per="sample").p
        1.0
    """

    stream: ClassVar[int | None] = Stream.CUTMIX

    def mix(self, draft: Draft, units: Units, stream: int) -> None:
        lam, places = units.lam[units.unit], units.u[:, units.unit]
        boxes = []
        for length, place in zip(draft.size, places, strict=True):
            half = np.floor(length * np.sqrt(1 - lam)).astype(np.int64) // 2
            centre = integers(place, 0, length)
            boxes.append((np.maximum(centre - half, 0), np.minimum(centre + half, length)))
        paste(draft, units.on, MIX_CUT, boxes)


def paste(draft: Draft, on: npt.NDArray[np.bool_], kind: int, boxes: Sequence[tuple[Ints, Ints]]) -> None:
    """Has rows show their partners in a box, with its share of the image as the label's.

    Args:
        draft: the rows.
        on: which of them.
        kind: how, a MIX number.
        boxes: (first, past) along y and x.
    """
    area = np.ones(len(draft))
    for axis, (low, high) in zip("yx", boxes, strict=True):
        draft.fill(**{f"cut_{axis}0": np.where(on, low, 0), f"cut_{axis}1": np.where(on, high, 0)})
        area *= high - low
    lam = np.where(on, 1 - area / (draft.size[0] * draft.size[1]), 1.0)
    draft.fill(mix=np.where(on, kind, MIX_NONE), lam=lam)
