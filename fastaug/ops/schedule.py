"""Lists of augmentations that follow the epoch: progressive sizes, growing magnitudes, no mixing at the
end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ..checks import MAX_SIZE, number, shown, whole
from ..sampling.philox import EPOCH_BITS
from .base import Augmentation, Stage
from .crop import Crop
from .views import Views

_STEP = 16  # pixels: sizes in between are multiples of it


@dataclass(frozen=True)
class Schedule:
    """Which list of augmentations holds from which epoch on; ``augment=`` takes it in a list's place.

    Args:
        stages: (first epoch, list) of each stage, the first from epoch 0 on, ascending. All must end with the
            same Normalize.

    Example:
        >>> import fastaug
        >>> crops = {0: [fastaug.RandomResizedCrop(128)], 9: [fastaug.RandomResizedCrop(224)]}
        >>> fastaug.schedule(crops).at(10)[0].size
        (224, 224)
    """

    stages: tuple[tuple[int, tuple[Any, ...] | Views], ...]

    def __post_init__(self) -> None:
        if not self.stages or self.stages[0][0] != 0:
            raise ValueError("a schedule begins with epoch 0: give it a list")
        last = -1
        for epoch, augment in self.stages:
            whole("schedule epoch", epoch, last + 1, (1 << EPOCH_BITS) - 1)
            if not isinstance(augment, (tuple, Views)):
                raise TypeError(
                    f"schedule epoch {epoch} must have a list of augmentations, not {shown(augment)}"
                )
            last = epoch

    def at(self, epoch: int) -> tuple[Any, ...] | Views:
        """The list of an epoch."""
        return next(augment for first, augment in reversed(self.stages) if first <= epoch)


def schedule(
    augment: Mapping[int, Sequence[object] | Views] | Sequence[object],
    epochs: int | None = None,
    *,
    size: tuple[int, int] | None = None,
    magnitude: tuple[int, int] | None = None,
    p: tuple[float, float] | None = None,
    alpha: tuple[float, float] | None = None,
    mixing_off: int = 0,
) -> Schedule:
    """A list of augmentations whose parameters follow the epoch, without a new loader, and after a resume.

    Args:
        augment: {first epoch: list, or Views}, and nothing else; or a list, whose parameters are then
            changed:
        epochs: length of the run. From its first epoch to its last go, in equal steps:
        size: the output's side in pixels, rounded to multiples of 16 in between: of RandomResizedCrop, or of
            Resize to (height, width).
        magnitude: of RandAugment.
        p: of masks.
        alpha: of MixUp and CutMix.
        mixing_off: so many epochs at the end are without MixUp and CutMix; soft targets stay soft.

    Raises:
        TypeError, ValueError: naming the value; also when nothing in the list has the parameter.

    Example:
        >>> import fastaug
        >>> crop = [fastaug.RandomResizedCrop(224), fastaug.MixUp(0.2), fastaug.Normalize()]
        >>> plan = fastaug.schedule(crop, 10, size=(128, 224), mixing_off=2)
        >>> [(first, ops[0].size[0], len(ops)) for first, ops in plan.stages][::3]
        [(0, 128, 3), (4, 176, 3), (8, 208, 2)]
    """
    if isinstance(augment, Mapping):
        if epochs is not None or mixing_off or any(v is not None for v in (size, magnitude, p, alpha)):
            raise ValueError("a schedule is {epoch: list}, or a list with epochs=... and what follows them")
        each = sorted(augment.items())
        return Schedule(tuple((k, ops if isinstance(ops, Views) else tuple(ops)) for k, ops in each))
    if isinstance(augment, Views):
        raise ValueError("a schedule of Views is {epoch: Views}; give the Views of each stage")
    if epochs is None:
        raise ValueError("a schedule of one list needs epochs=..., the length of the run")
    whole("schedule epochs", epochs, 1, 1 << EPOCH_BITS)
    whole("schedule mixing_off", mixing_off, 0, epochs)
    ranges: dict[str, tuple[float, float]] = {}
    for name, pair, most in (
        ("size", size, MAX_SIZE),
        ("magnitude", magnitude, 1000),
        ("p", p, 1),
        ("alpha", alpha, 1e9),
    ):
        if pair is not None:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(f"schedule {name} must be (first, last), not {shown(pair)}")
            first, last = (number(f"schedule {name}", v, 1 if name == "size" else 0, most) for v in pair)
            ranges[name] = first, last
            if not any(_has(op, name) for op in augment):
                raise ValueError(f"schedule {name}: nothing in the list follows it")
    stages: list[tuple[int, tuple[Any, ...]]] = []
    for epoch in range(epochs):
        share = epoch / max(1, epochs - 1)
        values = {name: between(name, *pair, share) for name, pair in ranges.items()}
        ops = tuple(_with(op, values) for op in augment)
        if epoch >= epochs - mixing_off:
            ops = tuple(op for op in ops if getattr(op, "stage", None) is not Stage.MIX)
        if not stages or stages[-1][1] != ops:
            stages.append((epoch, ops))
    return Schedule(tuple(stages))


def _has(op: object, name: str) -> bool:
    if any(_has(member, name) for member in getattr(op, "members", ())):
        return True
    if not isinstance(op, Augmentation) or name not in {field.name for field in fields(op)}:
        return False
    if name == "size":
        return isinstance(op, Crop) and isinstance(op.size, tuple)  # type: ignore[attr-defined]
    return op.stage is {"p": Stage.MASK, "alpha": Stage.MIX, "magnitude": Stage.POLICY}[name]


def _with(op: Any, values: Mapping[str, float]) -> Any:
    if getattr(op, "members", ()):
        op = replace(op, members=tuple(_with(member, values) for member in op.members))
    for name, value in values.items():
        if _has(op, name) and not getattr(op, "members", ()):
            op = replace(op, **{name: value})
    return op


def between(name: str, first: float, last: float, share: float) -> float:
    """A parameter's value at a share of the run."""
    value = first + (last - first) * share
    if name == "size":
        return int(value) if share in (0, 1) else max(_STEP, round(value / _STEP) * _STEP)
    return round(value) if name == "magnitude" else value
