"""AugMix."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..checks import number, one_of, whole
from ..sampling.philox import beta, integers, log_gamma_variate
from .base import MOST_ENTRIES, Draft, Step
from .policy import MAX_CHAINS, PolicyOp, Writer, magnitudes, signed

_AUGMIX_PARTIAL = (
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
_AUGMIX = (*_AUGMIX_PARTIAL, "Brightness", "Color", "Contrast", "Sharpness")


@dataclass(frozen=True)
class AugMix(PolicyOp):
    """Chains of operations, mixed with each other and with the image (Hendrycks et al. 2019,
    https://arxiv.org/abs/1912.02781). As torchvision's ``AugMix``, of which the weights are
    Dirichlet(alpha) over the chains times a Beta(alpha, alpha).

    Args:
        severity: 1 to 10: magnitudes come from the first ``severity`` of ten bins.
        mixture_width: number of chains, 1 to 4.
        chain_depth: operations of a chain; below 1: one to three, drawn for each chain.
        alpha: above 0.
        all_ops: also brightness, colour, contrast and sharpness.
        interpolation: "bilinear" by default here.
        fill: as in RandAugment.

    Example:
        >>> import fastaug
        >>> fastaug.AugMix(severity=1).mixture_width
        3
    """

    severity: int = 3
    mixture_width: int = 3
    chain_depth: int = -1
    alpha: float = 1.0
    all_ops: bool = True
    interpolation: str = field(default="bilinear", kw_only=True)

    once: ClassVar[bool] = True

    def _check(self) -> None:
        super()._check()
        whole("AugMix severity", self.severity, 1, 10)
        whole("AugMix mixture_width", self.mixture_width, 1, MAX_CHAINS)
        whole("AugMix chain_depth", self.chain_depth, -(2**31), MOST_ENTRIES)
        number("AugMix alpha", self.alpha, 0, math.inf, above=True)
        one_of("AugMix all_ops", self.all_ops, (True, False))
        if self.most > MOST_ENTRIES:
            raise ValueError(
                f"AugMix of {self.mixture_width} chains, {self.chain_depth} deep, is {self.most} "
                f"operations; at most {MOST_ENTRIES} are possible"
            )

    @property
    def most(self) -> int:
        return self.mixture_width * (self.chain_depth if self.chain_depth > 0 else 3)

    @property
    def operations(self) -> tuple[str, ...]:
        """The space that chains draw from."""
        return _AUGMIX if self.all_ops else _AUGMIX_PARTIAL

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)
        n, width, deepest = len(draft), self.mixture_width, self.most // self.mixture_width
        # Draws far apart: no gamma is rejected a thousand times. Dirichlet: gammas over their sum.
        firsts = [4096 + 1024 * k for k in range(width)]
        gammas = np.stack([log_gamma_variate(draft.keys, step.stream, self.alpha, k) for k in firsts])
        shares = np.exp(gammas - gammas.max(0))
        shares /= shares.sum(0)
        own = beta(draft.keys, step.stream, self.alpha)
        weight = np.zeros((n, 1 + MAX_CHAINS))
        weight[:, 0], weight[:, 1 : 1 + width] = own, (shares * (1 - own)).T
        draft.fill(chains=width, chain_weight=weight)
        u = draft.keys.uniforms(step.stream, width * (1 + 3 * deepest), 2048)
        tables = {name: magnitudes(name, 10, draft.size, "mix") for name in self.operations}
        for chain in range(width):
            out.chain = chain
            part = u[chain * (1 + 3 * deepest) :]
            depth = np.full(n, self.chain_depth) if self.chain_depth > 0 else integers(part[0], 1, 4)
            for k in range(deepest):
                chosen = integers(part[1 + 3 * k], 0, len(self.operations))
                bins = integers(part[2 + 3 * k], 0, self.severity)
                for place, name in enumerate(self.operations):
                    which = np.flatnonzero((chosen == place) & (depth > k))
                    out.add(name, which, signed(name, tables[name][bins[which]], part[3 + 3 * k][which]))
