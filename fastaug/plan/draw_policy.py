"""Draws a policy's operations into a plan: every choice, sign and magnitude, for each sample by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..ops.augment import Augmentation
from ..ops.policies import (
    PLAIN,
    SIGNED,
    AugMix,
    AutoAugment,
    ColorJitter,
    Entry,
    GaussianBlur,
    Policy,
    PolicyOp,
    RandAugment,
    RandomGrayscale,
    RandomSolarize,
    TrivialAugmentWide,
    magnitudes,
)
from ..ops.policy_tables import AUTOAUGMENT
from ..philox import Keys, beta, integers, log_gamma_variate
from .batch_plan import OP_KINDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.void]
_UNIT = 2.0**32  # of the maps


class Writer:
    """Appends operations to the rows of a plan."""

    def __init__(self, op: PolicyOp, rows: Rows, ops: Rows, size: tuple[int, int]) -> None:
        self.rows, self.ops, self.size = rows, ops, size
        self._turn, self._fill = op.interpolation.capitalize(), op.fill
        self.chain = 0

    def add(self, name: str, which: Ints, magnitude: Floats) -> None:
        """Operation ``name``, as a policy means it, with a magnitude for each of the rows ``which``."""
        if not which.size or name == "Identity":
            return
        height, width = self.size
        m, zero, one = magnitude, np.zeros(len(which)), np.ones(len(which))
        # The lines give (x_by_x, x_by_y, x, y_by_x, y_by_y, y) about the image's centre.
        if name == "ShearX":
            self._geometry(which, one, m, m * height / 2, zero, one, zero)
        elif name == "ShearY":
            self._geometry(which, one, zero, zero, m, one, m * width / 2)
        elif name == "TranslateX":
            self._geometry(which, one, zero, -np.trunc(m), zero, one, zero)
        elif name == "TranslateY":
            self._geometry(which, one, zero, zero, zero, one, -np.trunc(m))
        elif name == "Rotate":
            turn = np.radians(m)
            self._geometry(which, np.cos(turn), -np.sin(turn), zero, np.sin(turn), np.cos(turn), zero)
        elif name in ("Brightness", "Color", "Contrast", "Sharpness"):
            self.factor(name, which, 1.0 + m)
        elif name == "Posterize":
            bits = np.trunc(m).astype(np.int64)
            self.put("Posterize", which, value=np.where(bits >= 8, 255, (255 << (8 - bits)) & 255))
        elif name == "Solarize":
            self.put("Solarize", which, value=255 * m)
        elif name == "SolarizeAdd":
            self.put("SolarizeAdd", which, value=m)
        else:
            assert name in PLAIN
            self.put(name, which)

    def factor(self, name: str, which: Ints, value: Floats) -> None:
        """Blends with a gray, mean or smooth image: own * value + other * (1 - value)."""
        self.put(name, which, value=value, rest=1.0 - value)

    def square(self, which: Ints, side: Floats, cy: Ints, cx: Ints) -> None:
        """Cutout's gray square about (cy, cx), clipped at the border."""
        half = (np.trunc(side) / 2).astype(np.int64)
        height, width = self.size
        self.put(
            "Cutout",
            which,
            fill=np.full((len(which), 3), 128.0),
            y0=np.clip(cy - half, 0, height),
            x0=np.clip(cx - half, 0, width),
            y1=np.clip(cy + half, 0, height),
            x1=np.clip(cx + half, 0, width),
            value=side,
        )

    def put(self, kind: str, which: Ints, **fields: Any) -> None:
        """The next operation of the rows ``which``."""
        slot = self.rows["n_ops"][which]
        fields.update(kind=OP_KINDS.index(kind), chain=self.chain)
        for name, value in fields.items():
            self.ops[name][which, slot] = value
        self.rows["n_ops"][which] += 1

    def _geometry(self, which: Ints, *matrix: Floats) -> None:
        """Source positions from output positions; ``matrix`` is about the image's centre."""
        xx, xy, x, yx, yy, y = matrix
        height, width = self.size
        cx, cy = (width - 1) / 2, (height - 1) / 2
        lines = np.stack([x + cx - xx * cx - xy * cy, xy, xx, y + cy - yx * cx - yy * cy, yy, yx], 1)
        fill = np.zeros(3) if self._fill is None else np.asarray(self._fill, np.float64)
        self.put(
            self._turn,
            which,
            map=np.rint(lines * _UNIT).astype(np.int64),
            fill=fill,
            filled=self._fill is not None,
        )


def draw_policy(
    op: Augmentation, stream: int, rows: Rows, ops: Rows, keys: Keys, size: tuple[int, int]
) -> None:
    """Draws one policy of a list for all rows."""
    assert isinstance(op, PolicyOp)
    _DRAW[type(op)](op, stream, keys, Writer(op, rows, ops, size))


def _signed(name: str, magnitude: Floats, u: Floats) -> Floats:
    return np.where(u <= 0.5, -magnitude, magnitude) if name in SIGNED else magnitude


def draw_rand(op: RandAugment, stream: int, keys: Keys, out: Writer) -> None:
    u = keys.uniforms(stream, 2 * op.num_ops)
    for k in range(op.num_ops):
        chosen = integers(u[2 * k], 0, len(op.operations))
        for number, name in enumerate(op.operations):
            which = np.flatnonzero(chosen == number)
            table = magnitudes(name, op.num_magnitude_bins, out.size, "auto")
            m = np.full(len(which), table[op.magnitude])
            out.add(name, which, _signed(name, m, u[2 * k + 1][which]))


def draw_trivial(op: TrivialAugmentWide, stream: int, keys: Keys, out: Writer) -> None:
    u = keys.uniforms(stream, 3)
    chosen, bins = integers(u[0], 0, len(op.operations)), integers(u[2], 0, op.num_magnitude_bins)
    for number, name in enumerate(op.operations):
        which = np.flatnonzero(chosen == number)
        m = magnitudes(name, op.num_magnitude_bins, out.size, "wide")[bins[which]]
        out.add(name, which, _signed(name, m, u[1][which]))


def draw_augmix(op: AugMix, stream: int, keys: Keys, out: Writer) -> None:
    n, width, deepest = len(keys.index), op.mixture_width, op.most // op.mixture_width
    # Draws far apart: no gamma is rejected a thousand times. Dirichlet: gammas over their sum.
    gammas = np.stack([log_gamma_variate(keys, stream, op.alpha, 4096 + 1024 * k) for k in range(width)])
    shares = np.exp(gammas - gammas.max(0))
    shares /= shares.sum(0)
    own = beta(keys, stream, op.alpha)
    out.rows["chains"] = width
    out.rows["chain_weight"][:, 0] = own
    out.rows["chain_weight"][:, 1 : 1 + width] = (shares * (1 - own)).T
    u = keys.uniforms(stream, width * (1 + 3 * deepest), 2048)
    tables = {name: magnitudes(name, 10, out.size, "mix") for name in op.operations}
    for chain in range(width):
        out.chain = chain
        part = u[chain * (1 + 3 * deepest) :]
        depth = np.full(n, op.chain_depth) if op.chain_depth > 0 else integers(part[0], 1, 4)
        for k in range(deepest):
            chosen = integers(part[1 + 3 * k], 0, len(op.operations))
            bins = integers(part[2 + 3 * k], 0, op.severity)
            for number, name in enumerate(op.operations):
                which = np.flatnonzero((chosen == number) & (depth > k))
                out.add(name, which, _signed(name, tables[name][bins[which]], part[3 + 3 * k][which]))


def draw_sequences(op: Policy, stream: int, keys: Keys, out: Writer) -> None:
    _sequences(op.sequences, op.most, stream, keys, out)


def draw_auto(op: AutoAugment, stream: int, keys: Keys, out: Writer) -> None:
    def entry(name: str, probability: float, place: int | None) -> Entry:
        table = magnitudes(name, 10, out.size, "auto")
        return name, probability, None if place is None else float(table[place])

    _sequences([[entry(*e) for e in pair] for pair in AUTOAUGMENT[op.policy]], 2, stream, keys, out)


def _sequences(sequences: Sequence[Sequence[Entry]], most: int, stream: int, keys: Keys, out: Writer) -> None:
    u = keys.uniforms(stream, 1 + 4 * most)
    chosen = integers(u[0], 0, len(sequences))
    for number, sequence in enumerate(sequences):
        rows = np.flatnonzero(chosen == number)
        for k, (name, probability, magnitude) in enumerate(sequence):
            chance, sign, down, over = u[1 + 4 * k : 5 + 4 * k, rows]
            hit = chance <= probability
            which, m = rows[hit], np.full(int(hit.sum()), 0.0 if magnitude is None else float(magnitude))
            if name == "Cutout":
                height, width = out.size
                out.square(which, m, integers(down[hit], 0, height), integers(over[hit], 0, width))
            else:
                out.add(name, which, _signed(name, m, sign[hit]))


def draw_jitter(op: ColorJitter, stream: int, keys: Keys, out: Writer) -> None:
    u = keys.uniforms(stream, 9)
    touched = u[8] < op.p
    order = np.argsort(u[4:8], axis=0)
    ranges = {"Brightness": op.brightness, "Contrast": op.contrast, "Color": op.saturation, "Hue": op.hue}
    for place in range(4):
        for number, (name, bounds) in enumerate(ranges.items()):
            low, high = bounds  # type: ignore[misc]
            if low == high == (0.0 if name == "Hue" else 1.0):
                continue
            which = np.flatnonzero((order[place] == number) & touched)
            value = low + (high - low) * u[number][which]
            if name == "Hue":
                out.put("Hue", which, value=value)
            else:
                out.factor(name, which, value)


def draw_gray(op: RandomGrayscale, stream: int, keys: Keys, out: Writer) -> None:
    which = np.flatnonzero(keys.uniforms(stream)[0] < op.p)
    out.factor("Color", which, np.zeros(len(which)))


def draw_blur(op: GaussianBlur, stream: int, keys: Keys, out: Writer) -> None:
    u = keys.uniforms(stream, 2)
    which = np.flatnonzero(u[0] < op.p)
    low, high = op.sigma  # type: ignore[misc]
    sigma = low + (high - low) * u[1][which]
    half = op.kernel_size // 2
    weight = np.zeros((len(which), out.ops["weight"].shape[-1]))
    weight[:, : half + 1] = np.exp(-0.5 * (np.arange(half + 1) / sigma[:, None]) ** 2)
    weight /= weight[:, :1] + 2 * weight[:, 1:].sum(1, keepdims=True)
    out.put("Blur", which, half=half, weight=weight, value=sigma)


def draw_solarize(op: RandomSolarize, stream: int, keys: Keys, out: Writer) -> None:
    which = np.flatnonzero(keys.uniforms(stream)[0] < op.p)
    out.put("Solarize", which, value=op.threshold)


_DRAW: dict[type[Augmentation], Callable[..., None]] = {
    RandAugment: draw_rand,
    TrivialAugmentWide: draw_trivial,
    AugMix: draw_augmix,
    AutoAugment: draw_auto,
    Policy: draw_sequences,
    ColorJitter: draw_jitter,
    RandomGrayscale: draw_gray,
    GaussianBlur: draw_blur,
    RandomSolarize: draw_solarize,
}
POLICIES = tuple(_DRAW)
