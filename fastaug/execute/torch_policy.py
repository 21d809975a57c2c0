"""Carries out a plan's policies with torchvision's functional operations, on any torch device.

Shares nothing with the kernels but the plan; one image at a time.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from torch.nn.functional import conv2d, grid_sample, pad
from torchvision.transforms.v2 import functional as F

from ..ops.policy import OP_KINDS
from ..plan.batch_plan import BatchPlan


def run_policies(plan: BatchPlan, pixels: torch.Tensor) -> torch.Tensor:
    """uint8 ``[B, H, W, 3]`` to the same, every row's operations carried out."""
    if not plan["n_ops"].any():
        return pixels
    out = pixels.clone()
    for i, row in enumerate(plan.rows):
        ops = plan.sample(i).ops
        if len(ops) and not row["chains"]:
            out[i] = _chain(pixels[i].permute(2, 0, 1), ops).permute(1, 2, 0)
        elif row["chains"]:
            image = pixels[i].permute(2, 0, 1)
            mixed = float(row["chain_weight"][0]) * image
            for chain in range(int(row["chains"])):
                result = _chain(image, ops[ops["chain"] == chain])
                mixed = mixed + float(row["chain_weight"][1 + chain]) * result
            out[i] = mixed.clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    return out


def _chain(image: torch.Tensor, ops: np.ndarray) -> torch.Tensor:
    for op in ops:
        image = operate(image, op)
    return image


def operate(image: torch.Tensor, op: np.void) -> torch.Tensor:
    """One operation on a uint8 image ``[3, H, W]``."""
    kind, value = OP_KINDS[op["kind"]], float(op["value"])
    if kind == "Brightness":
        return F.adjust_brightness(image, value)
    if kind == "Contrast":
        return F.adjust_contrast(image, value)
    if kind == "Color":
        return F.adjust_saturation(image, value)
    if kind == "Sharpness":
        return F.adjust_sharpness(image, value)
    if kind == "Hue":
        return F.adjust_hue(image, value)
    if kind == "Posterize":
        return image & int(value)
    if kind == "Solarize":
        return F.solarize(image, value) if value <= 255 else image
    if kind == "SolarizeAdd":
        return torch.where(image < 128, (image.float() + value).clamp(0, 255).to(torch.uint8), image)
    if kind == "Invert":
        return F.invert(image)
    if kind == "AutoContrast":
        return F.autocontrast(image)
    if kind == "Equalize":
        return F.equalize(image)
    if kind == "Cutout":
        image = image.clone()
        image[:, op["y0"] : op["y1"], op["x0"] : op["x1"]] = _colour(op, image).to(torch.uint8)
        return image
    if kind == "Permute":
        return image[list(permutations(range(3)))[int(value)], :, :]
    if kind == "Blur":
        return _blur(image, op)
    if kind in ("Nearest", "Bilinear"):
        return _geometry(image, op, kind.lower())
    return image


def _colour(op: np.void, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(op["fill"].copy()).to(like.device)[:, None, None]


def _blur(image: torch.Tensor, op: np.void) -> torch.Tensor:
    half = int(op["half"])
    side = torch.from_numpy(op["weight"][: half + 1].copy()).to(image.device)
    line = torch.cat([side.flip(0), side[1:]])
    padded = pad(image.float()[None], [half] * 4, mode="reflect")
    kernel = (line[:, None] * line).expand(3, 1, -1, -1)
    return conv2d(padded, kernel, groups=3)[0].round().clamp(0, 255).to(torch.uint8)


def _geometry(image: torch.Tensor, op: np.void, mode: str) -> torch.Tensor:
    """The pixels at the plan's source positions, through grid_sample in float64."""
    height, width = image.shape[1:]
    lines = torch.from_numpy(op["map"].astype(np.float64) / 2**32)
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
    )
    tilt = op["tilt"].tolist()
    over = 1 + tilt[0] * y + tilt[1] * x
    source = [(lines[k] + lines[k + 1] * y + lines[k + 2] * x) / over for k in (0, 3)]
    grid = torch.stack([(2 * s + 1) / size - 1 for s, size in zip(source, (width, height), strict=True)], -1)
    layers = torch.cat([image.double(), torch.ones_like(image[:1], dtype=torch.float64)])
    sampled = grid_sample(layers[None], grid[None].to(image.device), mode=mode, align_corners=False)[0]
    pixels, share = sampled[:3], sampled[3:]
    if op["filled"]:
        colour = _colour(op, image).double()
        inside = (pixels - colour) * share + colour
        pixels = torch.where(share < 0.5, colour.expand_as(pixels), pixels) if mode == "nearest" else inside
    return pixels.round().clamp(0, 255).to(torch.uint8)
