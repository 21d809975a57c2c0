"""What a batch is besides its images: targets, mixed or not, further fields, and the form in which all is
handed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import default_collate, default_convert

from ..checks import shown
from ..data.form import Form
from ..plan.batch_plan import BatchPlan
from ..plan.views_plan import Plan, ViewsPlan


@dataclass(frozen=True)
class Batches:
    """How batches are made of what comes with the images.

    Attributes:
        names: of the parts of a batch, the image first.
        form: of the data set's samples.
        kind: "tuple", "dict", "bare" for images alone, or "single" for samples one by one.
        classes: C of soft targets; None: class ids stay.
        smoothing: of labels, in [0, 1).
        mix: whether targets are mixed as images are; otherwise (targets, partners' targets, lam) is given.
        mixes: whether images are mixed at all.
        ids: whether targets are class ids.
        maps: whether they are label maps.
        collate: makes the batch of a list of samples instead, or None.
    """

    names: tuple[str, ...]
    form: Form
    kind: str = "tuple"
    classes: int | None = None
    smoothing: float = 0.0
    mix: bool = True
    mixes: bool = False
    ids: bool = True
    maps: bool = False
    collate: Callable[[list[Any]], Any] | None = None

    def fields(self, fields: npt.NDArray[Any], plan: Plan) -> tuple[Any, ...]:
        """The fields of a batch, by default_collate's rules, the target as it is to be.

        Args:
            fields: int64 ``[B]``, class ids; or object ``[B]``, a tuple for each row.
            plan: the batch.
        """
        if self.collate is not None or self.kind == "single":
            return tuple(fields.tolist()) if fields.dtype == object else tuple((i,) for i in fields.tolist())
        if fields.dtype != object:
            return (self.targets(torch.from_numpy(fields), plan),)
        columns = [default_collate(list(column)) for column in zip(*fields.tolist(), strict=True)]
        target = self.form.target
        if target is not None and not self.maps:
            columns[target] = self.targets(columns[target], plan)
        return tuple(columns)

    def targets(self, targets: Any, plan: Plan) -> Any:
        """A batch's targets, smoothed and mixed; or in pairs with lam. Of views that are mixed, a list."""
        if isinstance(plan, ViewsPlan):
            each = [self.targets(targets, view) for view in plan.views if self.mixes]
            return each or self.targets(targets, plan.views[0])
        if not self.mixes or self.mix:
            return self._soft(targets, plan)
        partner = torch.from_numpy(plan["partner"].astype(np.int64))
        pair = (self._soft(each, plan, mixed=False) for each in (targets, _taken(targets, partner)))
        return *pair, torch.from_numpy(plan["lam"].astype(np.float32))

    def _soft(self, targets: Any, plan: BatchPlan, mixed: bool = True) -> Any:
        """Targets smoothed, then mixed."""
        if isinstance(targets, Mapping):
            return {key: self._soft(value, plan, mixed) for key, value in targets.items()}
        if isinstance(targets, (tuple, list)):
            return type(targets)(self._soft(value, plan, mixed) for value in targets)
        if not isinstance(targets, torch.Tensor):
            return targets  # texts, which nothing mixes
        if targets.ndim == 1 and not targets.is_floating_point():
            if self.classes is None or not (self.smoothing or (mixed and self.mixes)):
                return targets
            return plan.soft_targets(targets.numpy(), self.classes, self.smoothing, mixed=mixed)
        if self.smoothing and targets.ndim == 2:
            # As timm smooths: off is s / C, on 1 - s + s / C.
            targets = targets.float() * (1 - self.smoothing) + self.smoothing / targets.shape[1]
        if not (mixed and self.mixes):
            return targets
        kept = targets if targets.is_floating_point() else targets.float()
        lam = torch.from_numpy(plan["lam"]).to(kept.dtype).view(-1, *[1] * (kept.ndim - 1))
        return lam * kept + (1 - lam) * kept[torch.from_numpy(plan["partner"].astype(np.int64))]

    def packed(self, images: Any, fields: tuple[Any, ...], plan: Plan | None) -> Any:
        """What the loader yields.

        Args:
            images: of the batch; a list, where there are views.
            fields: what ``fields`` gave.
            plan: where it is wanted.
        """
        if self.collate is not None or self.kind == "single":
            return self._called(images, fields, plan)
        parts = (images, *fields)
        names, place = list(self.names), self.form.place
        if self.kind == self.form.kind and place:  # which the image keeps
            names.insert(place, names.pop(0))
            parts = (*fields[:place], images, *fields[place:])
        if self.kind == "dict":
            return dict(zip(names, parts, strict=True)) | ({} if plan is None else {"plan": plan})
        if plan is not None:
            return *parts, plan
        return images if self.kind == "bare" else parts

    def _called(self, images: Any, fields: tuple[Any, ...], plan: Plan | None) -> Any:
        """What the user's function makes of finished samples; or the one sample that there is."""
        each_image = map(list, zip(*images, strict=True)) if isinstance(images, list) else images
        samples = [self.form.join(image, each) for image, each in zip(each_image, fields, strict=True)]
        made = default_convert(samples[0]) if self.collate is None else self.collate(samples)
        return made if plan is None else (made, plan)

    @property
    def summary(self) -> str:
        """For people: what targets are."""
        soft = self.classes is not None and (self.smoothing or (self.mixes and self.mix))
        kind = "int64 [B]" if self.ids else "as the data has them"
        if self.maps:
            return "label maps, int64 [B, H, W]"
        kind = "none" if self.form.target is None else f"float32 [B, {self.classes}]" if soft else kind
        smoothed = f", smoothed by {self.smoothing:g}" if self.smoothing else ""
        pairs = "" if self.mix or not self.mixes else ", in pairs with lam"
        parts = (
            ""
            if self.kind == "tuple" and len(self.names) == 2
            else f"; a {self.kind} of {', '.join(self.names)}"
        )
        return kind + smoothed + pairs + parts


def _taken(targets: Any, rows: torch.Tensor) -> Any:
    """Rows of what was collated."""
    if isinstance(targets, torch.Tensor):
        return targets[rows]
    if isinstance(targets, Mapping):
        return {key: _taken(value, rows) for key, value in targets.items()}
    if isinstance(targets, (tuple, list)):
        if all(isinstance(t, (str, bytes)) for t in targets):
            return [targets[k] for k in rows.tolist()]
        return type(targets)(_taken(value, rows) for value in targets)
    raise TypeError(f"targets {shown(targets)} cannot be paired; use mix_targets=True")


def mapped(do: Callable[[torch.Tensor], Any], held: Any) -> Any:
    """The same with something done to each tensor in it."""
    if isinstance(held, torch.Tensor):
        return do(held)
    if isinstance(held, Mapping):
        return {key: mapped(do, value) for key, value in held.items()}
    if isinstance(held, Sequence) and not isinstance(held, (str, bytes)):
        if hasattr(held, "_fields"):
            return type(held)(*(mapped(do, value) for value in held))
        return type(held)(mapped(do, value) for value in held)  # type: ignore[call-arg]
    return held
