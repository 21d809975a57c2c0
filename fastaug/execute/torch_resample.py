"""Scales crops with torch's operations on the CPU: the portable second of the compiled resampler."""

from __future__ import annotations

import numpy as np
import torch

from ..decode.decoder import Crops
from ..ops.augment import INTERPOLATIONS
from ..plan.batch_plan import BatchPlan


def resample(plan: BatchPlan, crops: Crops, out: torch.Tensor | None = None) -> torch.Tensor:
    """The crops at the output's size, flipped where the plan says: uint8 ``[B, H, W, 3]``.

    Two matrix products an image, each pass rounded to uint8 as Pillow does.

    Args:
        plan: the batch.
        crops: its decoded pixels.
        out: where they go, if not into new memory.
    """
    height, width = plan.size
    if out is None:
        out = torch.empty((len(plan), height, width, 3), dtype=torch.uint8)
    for i, row in enumerate(plan.rows):
        image = torch.from_numpy(crops.array(i).astype(np.float32))
        kind = INTERPOLATIONS[row["interpolation"]]
        across = weights(kind, width, int(row["w"]), row["start_x"], row["step_x"])
        down = weights(kind, height, int(row["h"]), row["start_y"], row["step_y"])
        image = torch.einsum("ow,hwc->hoc", across, image).add(0.5).floor().clamp(0, 255)
        image = torch.einsum("oh,hwc->owc", down, image).add(0.5).floor().clamp(0, 255)
        out[i] = (image.flip(1) if row["flip"] else image).to(torch.uint8)
    return out


def weights(kind: str, out_size: int, in_size: int, start: float, step: float) -> torch.Tensor:
    """Scaling along an axis as a matrix: float32 ``[out_size, in_size]``, rows summing to 1.

    Output pixel i weighs the input around start + (i + 0.5) * step: "nearest" takes the pixel there;
    "bilinear" a triangle of half width max(step, 1); "bicubic" Keys's kernel (1981, a = -0.5) of twice
    that. What lies outside the input is left out and the rest weighs more.
    """
    centre = start + (torch.arange(out_size, dtype=torch.float64)[:, None] + 0.5) * step
    if kind == "nearest":
        steps = torch.full((out_size,), step, dtype=torch.float64)
        steps[0] = start + 0.5 * step  # summed up, as Pillow does: it decides ties
        there = steps.cumsum(0).floor().long().clamp(0, in_size - 1)[:, None]
        return torch.zeros(out_size, in_size).scatter_(1, there, 1.0)
    middle = torch.arange(in_size, dtype=torch.float64)[None, :] + 0.5
    x = (middle - centre).abs() / max(step, 1.0)
    if kind == "bilinear":
        out = (1 - x).clamp(min=0)
    else:
        inner, outer = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
        out = torch.where(x < 1, inner, torch.where(x < 2, outer, torch.zeros_like(x)))
    return (out / out.sum(1, keepdim=True)).float()
