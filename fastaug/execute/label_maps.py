"""Label maps, for segmentation: through the geometry of their images, by nearest."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..checks import first_line, quoted, shown
from ..data.form import encoded
from ..data.scanned import read
from ..data.source import Described
from ..decode.jobs import boxes_of, views_of
from ..decode.warp import nearest_places
from ..machine.limits import reason_of
from ..ops.base import Augmentation, Stage
from ..ops.order import places
from ..plan.batch_plan import BatchPlan
from ..plan.views_plan import Plan

_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")  # of Pillow's: one number a pixel


def check_label_maps(lists: Iterable[Sequence[Augmentation]]) -> None:
    """Raises a ValueError for an augmentation that label maps cannot follow."""
    for ops in lists:
        for op, stage in zip(ops, places(ops), strict=True):
            if stage is Stage.MIX or (stage is Stage.POLICY and not op.keeps_places):
                raise ValueError(
                    f"{type(op).__name__} moves or mixes pixels in a way that label maps cannot follow; "
                    "take it out of augment, or put a turn before the last crop"
                )


class LabelMaps:
    """Reads label maps and shows what their images show.

    Args:
        threads: how many at once.
        target: their place among what comes with an image.
    """

    def __init__(self, threads: int, target: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "fastaug-maps")  # starts threads when there is work
        self._target = target

    def follow(
        self, plan: Plan, described: Described, rows: npt.NDArray[np.intp], faults: Mapping[int, str]
    ) -> dict[int, str]:
        """Puts what each view shows of label maps, int64 ``[H, W]``, into the place of these: a list of them,
        or the one of the one view that there is.

        Args:
            plan: the batch.
            described: what is known of some rows' images, and their maps: paths, encoded bytes, PIL images,
                arrays or tensors ``[H, W]``; changed in place.
            rows: which these are.
            faults: those that are bad already, which are left out.

        Returns:
            For each row whose map cannot be had, why.
        """

        def one(k: int) -> str:
            fields = described.fields[k]
            held, size = fields[self._target], (int(described.height[k]), int(described.width[k]))
            found = read_map(held)
            named = f" {quoted(os.fspath(held))}" if isinstance(held, (str, os.PathLike)) else ""
            if isinstance(found, str):
                return f"its label map{named}: {found}"
            if found.shape != size:
                sides = " pixels, and it has ".join(f"{h}x{w}" for h, w in (found.shape, size))
                return f"its label map{named} has {sides}"
            whole = torch.from_numpy(found.astype(np.int64))
            each = [shown_map(view, int(rows[k]), whole) for view in plan.views]
            made = each[0] if isinstance(plan, BatchPlan) else each
            described.fields[k] = (*fields[: self._target], made, *fields[self._target + 1 :])
            return ""

        good = [k for k in range(len(rows)) if int(rows[k]) not in faults]
        return {int(rows[k]): why for k, why in zip(good, self._pool.map(one, good), strict=True) if why}

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()


def shown_map(plan: BatchPlan, row: int, held: torch.Tensor) -> torch.Tensor:
    """What a row of a plan shows of its label map ``[H, W]``: the same dtype, 0 where there is nothing."""
    which = np.array([row])
    (view,), (box,) = views_of(plan, which), boxes_of(plan, which).tolist()
    there = torch.from_numpy(nearest_places(view, (box[2], box[3]), plan.size)).to(held.device)
    part = held[box[0] : box[0] + box[2], box[1] : box[1] + box[3]].reshape(-1)
    shown_there = part[there.clamp(min=0)]
    return torch.where(there < 0, torch.zeros_like(shown_there), shown_there)


def read_map(held: Any) -> npt.NDArray[Any] | str:
    """A label map ``[H, W]``, or what is wrong with it."""
    if isinstance(held, (str, os.PathLike)):
        file = read(os.fsencode(held))
        if file.reason:
            return file.reason
        held = file.data.tobytes()
    try:
        data = encoded(held)
        if data is not None:
            held = Image.open(io.BytesIO(data.tobytes()))
        if isinstance(held, Image.Image):
            if held.mode not in _MODES:
                return f"of Pillow's mode {held.mode}; it must have one number a pixel"
            held = np.asarray(held)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises all kinds for damaged bytes
        if isinstance(error, OSError) and error.errno is not None:
            reason_of(error)
        return f"damaged: {first_line(error)}"
    array = np.asarray(held.cpu() if isinstance(held, torch.Tensor) else held)
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "iub":
        return f"{shown(held)}; it must be whole numbers [H, W], a path or bytes of an image, or PIL's"
    return array
