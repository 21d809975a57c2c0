"""Label maps, for segmentation: through the geometry of their images, by nearest."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..checks import first_line, quoted, shown
from ..data.scanned import read
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
    """Reads label maps and shows what their images show, on ``threads`` threads."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "fastaug-maps")  # starts threads when there is work

    def run(
        self, plan: Plan, rows: Sequence[int], held: Sequence[Any], sizes: Sequence[tuple[int, int]]
    ) -> list[list[torch.Tensor] | torch.Tensor | str]:
        """For each of some rows its map in each view, or in the one that there is: int64 ``[H, W]``, 0 where
        there is nothing; or why there is none.

        Args:
            plan: the batch.
            rows: which.
            held: their maps: paths, encoded bytes, PIL images, arrays or tensors ``[H, W]``.
            sizes: (height, width) of their images.
        """

        def one(k: int) -> list[torch.Tensor] | torch.Tensor | str:
            found = read_map(held[k])
            named = f" {quoted(os.fspath(held[k]))}" if isinstance(held[k], (str, os.PathLike)) else ""
            if isinstance(found, str):
                return f"its label map{named}: {found}"
            if found.shape != sizes[k]:
                sides = " pixels, and it has ".join(f"{h}x{w}" for h, w in (found.shape, sizes[k]))
                return f"its label map{named} has {sides}"
            each = [shown_map(view, rows[k], torch.from_numpy(found.astype(np.int64))) for view in plan.views]
            return each[0] if isinstance(plan, BatchPlan) else each

        return list(self._pool.map(one, range(len(rows))))

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
        held = file.data
    try:
        if isinstance(held, (bytes, bytearray)) or (isinstance(held, np.ndarray) and held.ndim == 1):
            held = Image.open(io.BytesIO(bytes(held)))
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
