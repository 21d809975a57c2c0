"""Policies of sequences: the user's own, and AutoAugment's learnt ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..checks import number, one_of
from ..sampling.philox import integers
from .base import MOST_ENTRIES, Draft, Step
from .policy import OPERATIONS, PLAIN, Entry, PolicyOp, Writer, magnitudes, signed
from .policy_tables import AUTOAUGMENT

_MOVING = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Cutout"}


@dataclass(frozen=True)
class Policy(PolicyOp):
    """One of several sequences of operations, each carried out with a probability of its own.

    Args:
        sequences: a list of sequences; a sequence is a list of (operation, probability, magnitude).
            Magnitudes are those of ``torchvision.transforms.v2.functional``: Shear a tangent, Translate
            pixels, Rotate degrees, Brightness, Color, Contrast and Sharpness a factor less 1, Posterize
            bits, Solarize a threshold as a share of 255, SolarizeAdd what is added below 128, Cutout the
            side of a gray (128) square in pixels, others None. Those in ``SIGNED`` are negated for half
            of the samples.
        interpolation: as in RandAugment.
        fill: as in RandAugment.

    Example:
        >>> import fastaug
        >>> fastaug.Policy([[("Rotate", 0.5, 20.0), ("Invert", 0.1, None)]]).most
        2
    """

    sequences: Sequence[Sequence[Entry]]

    def _check(self) -> None:
        super()._check()
        if not isinstance(self.sequences, Sequence) or not self.sequences:
            raise TypeError(f"Policy sequences must be a list of sequences, not {self.sequences!r}")
        for sequence in self.sequences:
            for entry in sequence:
                check_entry(entry)
        self._set(sequences=tuple(tuple(tuple(e) for e in s) for s in self.sequences))
        if self.most > MOST_ENTRIES:
            raise ValueError(
                f"Policy has a sequence of {self.most} operations; at most {MOST_ENTRIES} are possible"
            )

    @property
    def most(self) -> int:
        return max(len(s) for s in self.sequences)

    @property
    def keeps_places(self) -> bool:  # type: ignore[override]
        return not any(name in _MOVING for sequence in self.sequences for name, *_ in sequence)

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)
        draw_sequences(self.sequences, draft, step.stream, out)


def check_entry(entry: object) -> None:
    """Raises when an entry of a Policy is not (operation, probability, magnitude)."""
    if not isinstance(entry, Sequence) or len(entry) != 3:
        raise TypeError(f"Policy entries are (operation, probability, magnitude), not {entry!r}")
    name, probability, magnitude = entry
    one_of("Policy operation", name, OPERATIONS)
    number(f"Policy probability of {name}", probability, 0, 1)
    if name in PLAIN:
        if magnitude is not None:
            raise ValueError(f"Policy operation {name} has no magnitude; give None, not {magnitude!r}")
        return
    bounds = {
        "Posterize": (0, 8),
        "Solarize": (0, 1),
        "SolarizeAdd": (-255, 255),
        "Cutout": (0, 8192),
        "ShearX": (-10, 10),
        "ShearY": (-10, 10),
        "TranslateX": (-8192, 8192),
        "TranslateY": (-8192, 8192),
        "Rotate": (-360, 360),
    }
    number(f"Policy magnitude of {name}", magnitude, *bounds.get(name, (-1, 100)))


@dataclass(frozen=True)
class AutoAugment(PolicyOp):
    """One of 25 learnt pairs of operations (Cubuk et al. 2018, https://arxiv.org/abs/1805.09501). As
    torchvision's ``AutoAugment`` (DALI's ``image_net`` policy is another one, for TPUs).

    Args:
        policy: "imagenet", "cifar10" or "svhn", or a member of torchvision's AutoAugmentPolicy.
        interpolation: as in RandAugment.
        fill: as in RandAugment.

    Example:
        >>> import fastaug
        >>> fastaug.AutoAugment("cifar10").policy
        'cifar10'
    """

    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"

    def _check(self) -> None:
        super()._check()
        self._set(policy=getattr(self.policy, "value", self.policy))
        one_of("AutoAugment policy", self.policy, ("imagenet", "cifar10", "svhn"))

    @property
    def most(self) -> int:
        return 2

    def draw(self, draft: Draft, step: Step) -> None:
        out = Writer(self, draft)

        def entry(name: str, probability: float, place: int | None) -> Entry:
            table = magnitudes(name, 10, draft.size, "auto")
            return name, probability, None if place is None else float(table[place])

        draw_sequences(
            [[entry(*e) for e in pair] for pair in AUTOAUGMENT[self.policy]], draft, step.stream, out
        )


def draw_sequences(sequences: Sequence[Sequence[Entry]], draft: Draft, stream: int, out: Writer) -> None:
    """Draws one of the sequences for each row, and which of its operations happen."""
    u = draft.keys.uniforms(stream, 1 + 4 * max(map(len, sequences)))
    chosen = integers(u[0], 0, len(sequences))
    for place, sequence in enumerate(sequences):
        rows = np.flatnonzero(chosen == place)
        for k, (name, probability, magnitude) in enumerate(sequence):
            chance, sign, down, over = u[1 + 4 * k : 5 + 4 * k, rows]
            hit = chance <= probability
            which, m = rows[hit], np.full(int(hit.sum()), 0.0 if magnitude is None else float(magnitude))
            if name == "Cutout":
                height, width = out.size
                out.square(which, m, integers(down[hit], 0, height), integers(over[hit], 0, width))
            else:
                out.add(name, which, signed(name, m, sign[hit]))
