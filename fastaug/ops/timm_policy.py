"""timm's policies: RandAugment, AutoAugment and AugMix as its configuration strings mean them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..checks import number, one_of, whole
from ..sampling.philox import beta, integers, log_gamma_variate, normals
from .base import MOST_ENTRIES, Draft, Floats, Ints, Step
from .policy import MAX_CHAINS, PLAIN, PolicyOp, Writer

_LEVELS = 10.0  # what a magnitude is a share of
_FACTORS = ("Color", "Contrast", "Brightness", "Sharpness")
_EACH = 5  # uniforms of an operation: whether, sign, two for the magnitude's noise, one spare


class Level(NamedTuple):
    """An operation of timm's ``AugmentOp``.

    Attributes:
        name: timm's, such as "SolarizeIncreasing".
        prob: that it is carried out, [0, 1].
        magnitude: 0 to 10, or ``most``.
        std: of the normal noise on the magnitude; infinite: uniform from 0 to it.
        most: the largest magnitude; None: 10.
    """

    name: str
    prob: float
    magnitude: float
    std: float = 0.0
    most: float | None = None


@dataclass(frozen=True, repr=False)
class TimmPolicy(PolicyOp):
    """A policy of timm's (Ross Wightman, timm.data.auto_augment): magnitudes are tenths, with noise of their
    own for each sample and operation, and each operation has a probability. Translations are shares of the
    image and not rounded. Where timm takes bilinear or bicubic at random, bilinear is taken.

    Args:
        kind: "rand": ``layers`` of the operations for each sample; "auto": one of the ``sequences``;
            "augmix": chains of operations, mixed.
        sequences: of ``Level``; for "rand" and "augmix" one with all operations.
        layers: of "rand"; the depth of "augmix"'s chains, below 1: one to three.
        weights: of "rand": chances of the operations, which are then drawn without replacement.
        width: chains of "augmix", 1 to 4.
        alpha: of "augmix".
        translate: share of the image at magnitude 10.
        interpolation: "bilinear" or "nearest", for shear, translation and rotation.
        fill: 0 to 255, outside the image.

    Example:
        >>> import fastaug
        >>> fastaug.from_timm("rand-m9-mstd0.5-inc1").layers
        2
    """

    kind: str
    sequences: Sequence[Sequence[Any]]
    layers: int = 2
    weights: Sequence[float] | None = None
    width: int = 3
    alpha: float = 1.0
    translate: float = 0.45
    interpolation: str = field(default="bilinear", kw_only=True)

    @property
    def once(self) -> bool:  # type: ignore[override]
        return self.kind == "augmix"

    def _check(self) -> None:
        super()._check()
        one_of("TimmPolicy kind", self.kind, ("rand", "auto", "augmix"))
        self._set(sequences=tuple(tuple(Level(*each) for each in part) for part in self.sequences))
        if not self.sequences or not all(self.sequences):
            raise ValueError("TimmPolicy sequences must hold an operation each")
        for level in (level for part in self.sequences for level in part):
            check_level(level)
        whole("TimmPolicy width", self.width, 1, MAX_CHAINS)
        whole("TimmPolicy layers", self.layers, -1, MOST_ENTRIES)
        number("TimmPolicy alpha", self.alpha, 0, math.inf, above=True)
        number("TimmPolicy translate", self.translate, 0, 1)
        if self.weights is not None:
            weights = tuple(number("TimmPolicy weights", w, 0, math.inf) for w in self.weights)
            if len(weights) != len(self.sequences[0]) or self.layers > sum(w > 0 for w in weights):
                raise ValueError(
                    f"TimmPolicy weights must be one for each of {len(self.sequences[0])} operations, as "
                    f"many above 0 as there are layers, not {self.weights!r}"
                )
            self._set(weights=weights)
        if self.most > MOST_ENTRIES:
            raise ValueError(
                f"TimmPolicy has up to {self.most} operations; at most {MOST_ENTRIES} are possible"
            )

    def __repr__(self) -> str:
        said = []
        for part in self.sequences:
            rest = {level[1:] for level in part}
            shared = next(iter(rest)) if len(rest) == 1 else None
            names = ", ".join(level.name if shared else f"{level.name} {_told(level[1:])}" for level in part)
            said.append(f"{names}: {_told(shared)}" if shared else names)
        options = {name: getattr(self, name) for name in ("layers", "weights", "width", "alpha", "translate")}
        used = {"rand": ("layers", "weights"), "auto": (), "augmix": ("layers", "width", "alpha")}[self.kind]
        named = ", ".join(
            f"{name}={options[name]}" for name in (*used, "translate") if options[name] is not None
        )
        where = f"interpolation={self.interpolation!r}, fill={self.fill}"
        return f"{type(self).__name__}({self.kind!r}, [{'; '.join(said)}], {named}, {where})"

    @property
    def most(self) -> int:
        if self.kind == "auto":
            return max(map(len, self.sequences))
        depth = self.layers if self.layers > 0 else 3
        return depth if self.kind == "rand" else depth * self.width

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)
        if self.kind == "auto":
            self._draw_auto(draft, step, out)
        elif self.kind == "rand":
            self._draw_rand(draft, step, out)
        else:
            self._draw_chains(draft, step, out)

    def _draw_auto(self, draft: Draft, step: Step, out: Writer) -> None:
        u = draft.keys.uniforms(step.stream, 1 + _EACH * self.most)
        chosen = integers(u[0], 0, len(self.sequences))
        for place, sequence in enumerate(self.sequences):
            rows = np.flatnonzero(chosen == place)
            for k, level in enumerate(sequence):
                self._put(out, level, rows, u[1 + _EACH * k : 1 + _EACH * (k + 1), rows])

    def _draw_rand(self, draft: Draft, step: Step, out: Writer) -> None:
        (levels,) = self.sequences
        u = draft.keys.uniforms(step.stream, self.layers * (1 + _EACH) + len(levels))
        if self.weights is None:
            chosen = integers(u[: self.layers], 0, len(levels))
        else:  # the largest of Gumbel's keys are a draw without replacement
            with np.errstate(divide="ignore"):
                keys = np.log(np.array(self.weights))[:, None] - np.log(-np.log(u[-len(levels) :]))
            chosen = np.argsort(-keys, axis=0, kind="stable")[: self.layers]
        for k in range(self.layers):
            part = u[self.layers + _EACH * k : self.layers + _EACH * (k + 1)]
            for place, level in enumerate(levels):
                rows = np.flatnonzero(chosen[k] == place)
                self._put(out, level, rows, part[:, rows])

    def _draw_chains(self, draft: Draft, step: Step, out: Writer) -> None:
        (levels,) = self.sequences
        n, width, deepest = len(draft), self.width, self.most // self.width
        gammas = np.stack(
            [log_gamma_variate(draft.keys, step.stream, self.alpha, 4096 + 1024 * k) for k in range(width)]
        )
        shares = np.exp(gammas - gammas.max(0))
        shares /= shares.sum(0)
        mixed = beta(draft.keys, step.stream, self.alpha)
        weight = np.zeros((n, 1 + MAX_CHAINS))
        weight[:, 0], weight[:, 1 : 1 + width] = 1 - mixed, (shares * mixed).T
        draft.fill(chains=width, chain_weight=weight)
        each = 1 + deepest * (1 + _EACH)
        u = draft.keys.uniforms(step.stream, width * each, 2048)
        for chain in range(width):
            out.chain, part = chain, u[chain * each :]
            depth = np.full(n, self.layers) if self.layers > 0 else integers(part[0], 1, 4)
            for k in range(deepest):
                own = part[1 + k * (1 + _EACH) :]
                chosen = integers(own[0], 0, len(levels))
                for place, level in enumerate(levels):
                    rows = np.flatnonzero((chosen == place) & (depth > k))
                    self._put(out, level, rows, own[1 : 1 + _EACH, rows])

    def _put(self, out: Writer, level: Level, rows: Ints, u: Floats) -> None:
        """Adds an operation to some rows, each with its own magnitude."""
        hit = u[0] <= level.prob
        rows, u = rows[hit], u[:, hit]
        if not len(rows):
            return
        m = np.full(len(rows), float(level.magnitude))
        if level.std == math.inf:
            m *= u[2]
        elif level.std > 0:
            m += level.std * normals(u[2], u[3])
        share = m.clip(0, level.most or _LEVELS) / _LEVELS
        sign = np.where(u[1] > 0.5, -1.0, 1.0)
        name, height, width = level.name, *out.size
        base = name.removesuffix("Increasing")
        if name in PLAIN:
            out.add(name, rows, share)
        elif name == "Rotate":
            out.add(name, rows, sign * share * 30)
        elif name in ("ShearX", "ShearY"):
            out.add(name, rows, sign * share * 0.3)
        elif name in ("TranslateXRel", "TranslateYRel"):
            out.shift(rows, sign * share * self.translate * (width if "X" in name else height), "X" in name)
        elif base in _FACTORS:
            grown = np.maximum(0.1, 1 + sign * share * 0.9)
            out.factor(base, rows, grown if name != base else share * 1.8 + 0.1)
        elif name.startswith("Posterize"):
            bits = np.trunc(share * 4)
            bits = bits if name == "Posterize" else 4 - bits if base != name else 4 + bits
            out.add("Posterize", rows, bits.clip(0, 8))
        elif base == "Solarize":
            threshold = np.minimum(256, np.trunc(share * 256))
            out.put("Solarize", rows, value=threshold if name == base else 256 - threshold)
        elif name == "SolarizeAdd":
            out.put("SolarizeAdd", rows, value=np.minimum(128, np.trunc(share * 110)))
        else:
            assert name == "Desaturate"
            out.factor("Color", rows, (0.5 - 0.5 * share).clip(0, 1))


def _told(rest: Any) -> str:
    prob, magnitude, std, most = rest
    noise = f" ± {std:g}" if std else ""
    return f"p {prob:g} at {magnitude:g}{noise}" + (f" of {most:g}" if most is not None else "")


def check_level(level: Level) -> None:
    """Raises when an operation is none that can be carried out."""
    names = (
        *PLAIN,
        *("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel", "Solarize", "SolarizeIncreasing"),
        *("Posterize", "PosterizeIncreasing", "PosterizeOriginal", "SolarizeAdd", "Desaturate"),
        *(f"{name}{end}" for name in _FACTORS for end in ("", "Increasing")),
    )
    if level.name not in names:
        raise ValueError(f"timm's {level.name} is not carried out; accepted are {', '.join(names)}")
    number(f"timm's {level.name} probability", level.prob, 0, 1)
    number(f"timm's {level.name} magnitude", level.magnitude, 0, 100)
    if not level.std >= 0:
        raise ValueError(f"timm's {level.name} magnitude_std must be at least 0, not {level.std}")


def read_policy(policy: Any) -> TimmPolicy:
    """A policy object of timm's (``RandAugment``, ``AutoAugment``, ``AugMixAugment``) in fastaug's words.

    Raises:
        ValueError: for operations that cannot be carried out.
    """
    kind = type(policy).__name__
    parts = policy.policy if kind == "AutoAugment" else [policy.ops]
    first = parts[0][0]
    resample, fill = first.kwargs["resample"], first.kwargs["fillcolor"]
    names = {0: "nearest", 2: "bilinear", 3: "bilinear"}
    # Pillow's numbers; a pair is timm's "random". Pillow's affine bicubic is not antialiased either.
    interpolation = (
        "bilinear" if isinstance(resample, (tuple, list)) else names.get(int(resample), "bilinear")
    )
    levels = [
        [Level(o.name, o.prob, o.magnitude, o.magnitude_std, o.magnitude_max) for o in p] for p in parts
    ]
    options: dict[str, Any] = dict(
        translate=first.hparams.get("translate_pct", 0.45), interpolation=interpolation, fill=tuple(fill)
    )
    if kind == "RandAugment":
        weights = policy.choice_weights
        options.update(
            layers=policy.num_layers, weights=None if weights is None else tuple(map(float, weights))
        )
        return TimmPolicy("rand", levels, **options)
    if kind == "AutoAugment":
        return TimmPolicy("auto", levels, **options)
    if policy.blended:
        raise ValueError("AugMix with b1 (blended) is not carried out; leave b1 out")
    options.update(layers=policy.depth, width=policy.width, alpha=policy.alpha)
    return TimmPolicy("augmix", levels, **options)
