"""Carries out plans with torch's operations alone: masks, mixing and Normalize of images with any number of
channels, as floats, which the compiled kernels do not take."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..ops.holes import NOISE_TABLE
from ..ops.mixing import MIX_CUT, MIX_MASK, MIX_RESIZE, MIX_UP
from ..plan.batch_plan import BatchPlan
from ..sampling.philox import U32, Keys, Stream
from .output import Output


class TensorExecutor:
    """Masks, mixing and normalisation as tensor expressions over the whole batch."""

    name = "tensors"
    takes_unscaled = False

    def __init__(self, output: Output, device: torch.device) -> None:
        self._output, self._device = output, device

    def close(self) -> None:
        """Nothing to end."""

    def run(self, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
        """Masks, mixing and normalisation: ``[B, C, H, W]`` of the output's dtype."""
        o = self._output
        images = self._mixed(plan, self._masked(plan, self.pixels(plan, crops)))
        if o.dtype == torch.uint8:
            images = images.clamp(0, 255).add(0.5).floor()
        layout = torch.channels_last if o.channels_last else torch.contiguous_format
        return images.to(o.dtype).contiguous(memory_format=layout)

    def pixels(self, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
        """Images ``[B, C, H, W]`` in output units, before masks."""
        o = self._output
        images = crops.to(self._device).permute(0, 3, 1, 2)
        if o.normalize is None and o.raster.white == 1:
            return images
        scale, bias = (torch.from_numpy(v).to(images)[:, None, None] for v in (o.scale, o.bias))
        return images * scale + bias

    def _column(self, plan: BatchPlan, name: str) -> torch.Tensor:
        """A plan's column as ``[B, 1, 1]``, to broadcast over rows and columns."""
        values = plan[name].astype(np.float32 if plan[name].dtype.kind == "f" else np.int64)
        return torch.from_numpy(values).to(self._device)[:, None, None]

    def _grid(self, plan: BatchPlan, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = images.shape[2:]
        y = torch.arange(height, device=self._device)[None, :, None]
        x = torch.arange(width, device=self._device)[None, None, :]
        return y, x

    def _masked(self, plan: BatchPlan, images: torch.Tensor) -> torch.Tensor:
        if plan["grid_d"].any():
            images = self._fill(images, self._grid_mask(plan, images), plan["grid_fill"])
        if plan["hide"].any():
            images = self._fill(images, self._hidden(plan), plan["hide_fill"])
        y, x = self._grid(plan, images)
        for k in range(int(plan["n_holes"].max(initial=0))):
            used = self._column(plan, "n_holes") > k
            holes = plan.holes[np.minimum(plan["first_hole"] + k, len(plan.holes) - 1)]
            y0, x0, y1, x1 = (
                torch.from_numpy(holes[name].astype(np.int64)).to(self._device)[:, None, None]
                for name in ("y0", "x0", "y1", "x1")
            )
            inside = used & (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
            filled = self._fill(images, inside, holes["fill"])
            if holes["noise"].any():
                noisy = torch.from_numpy(holes["noise"] != 0).to(self._device)[:, None, None] & inside
                filled = torch.where(noisy[:, None], self._noise(plan), filled)
            images = filled
        return images

    def _fill(self, images: torch.Tensor, mask: torch.Tensor, fill: npt.NDArray[np.generic]) -> torch.Tensor:
        colours = torch.from_numpy(np.array(fill, np.float32)).to(self._device)[:, :, None, None]
        if images.shape[1] != colours.shape[1]:  # where the three are equal
            colours = colours[:, :1]
        return torch.where(mask[:, None], colours, images)

    def _grid_mask(self, plan: BatchPlan, images: torch.Tensor) -> torch.Tensor:
        """GridMask's erased pixels: bool ``[B, H, W]``. Angles are 1/65536 fixed point."""
        height, width = images.shape[2:]
        y, x = self._grid(plan, images)
        v, u = 2 * y + 1 - height, 2 * x + 1 - width  # from the centre, in half pixels
        cos, sin = self._column(plan, "grid_cos"), self._column(plan, "grid_sin")
        d, stripe = self._column(plan, "grid_d"), self._column(plan, "grid_l")
        centre = max(height, width)
        period = d.clamp(min=1)
        down = (cos * v + sin * u).div(1 << 17, rounding_mode="floor") + centre
        over = (cos * u - sin * v).div(1 << 17, rounding_mode="floor") + centre
        in_rows = (down - self._column(plan, "grid_y")).remainder(period) < stripe
        in_columns = (over - self._column(plan, "grid_x")).remainder(period) < stripe
        stripes = in_rows | in_columns
        return torch.where(self._column(plan, "grid_mode") == 1, ~stripes, stripes) & (d > 0)

    def _keys(self, plan: BatchPlan, i: int) -> Keys:
        row = plan.rows[i : i + 1]
        return Keys(plan.seed, row["index"].astype(U32), row["epoch"], row["occurrence"])

    def _hidden(self, plan: BatchPlan) -> torch.Tensor:
        """HideAndSeek's hidden pixels: bool ``[B, H, W]``."""
        height, width = plan.size
        out = np.zeros((len(plan), height, width), bool)
        for i, side in enumerate(plan["hide"].tolist()):
            if side:
                down, over = -(-height // side), -(-width // side)
                words = self._keys(plan, i).words(Stream.HIDE_CELLS, -(-down * over // 4))
                hidden = (words[: down * over, 0] >> 8) * 2.0**-24 < plan["hide_p"][i]
                cells = hidden.reshape(down, over).repeat(side, 0).repeat(side, 1)
                out[i] = cells[:height, :width]
        return torch.from_numpy(out).to(self._device)

    def _noise(self, plan: BatchPlan) -> torch.Tensor:
        """Keyed normal noise for every pixel of the rows that want some: float32 ``[B, C, H, W]``."""
        (height, width), count = plan.size, self._output.raster.channels
        out = np.zeros((len(plan), count, height, width), np.float32)
        for i in np.unique(np.repeat(np.arange(len(plan)), plan["n_holes"])[plan.holes["noise"] != 0]):
            words = self._keys(plan, int(i)).words(Stream.NOISE, height * width)
            bits = words.reshape(height, width, 4)[:, :, :count] // (2**32 // NOISE_TABLE)
            out[i] = self._output.noise[bits].transpose(2, 0, 1)
        return torch.from_numpy(out).to(self._device)

    def _mixed(self, plan: BatchPlan, images: torch.Tensor) -> torch.Tensor:
        if not plan["mix"].any():
            return images
        kind = self._column(plan, "mix")[:, None]
        partner = images[torch.from_numpy(plan["partner"].astype(np.int64)).to(self._device)]
        lam = self._column(plan, "lam")[:, None]
        blended = lam * images + (1 - lam) * partner
        y, x = self._grid(plan, images)
        cut = (
            (y >= self._column(plan, "cut_y0"))
            & (y < self._column(plan, "cut_y1"))
            & (x >= self._column(plan, "cut_x0"))
            & (x < self._column(plan, "cut_x1"))
        )
        mixed = torch.where(kind == MIX_UP, blended, images)
        mixed = torch.where((kind == MIX_CUT) & cut[:, None], partner, mixed)
        for k in np.flatnonzero(plan["mix"] == MIX_MASK).tolist():
            bits = np.unpackbits(plan.masks[plan["mix_mask"][k]], 1, plan.size[1], "little")
            mixed[k] = torch.where(torch.from_numpy(bits > 0).to(self._device), partner[k], mixed[k])
        for k in np.flatnonzero(plan["mix"] == MIX_RESIZE).tolist():
            y0, x0, y1, x1 = (int(plan[f"cut_{name}"][k]) for name in ("y0", "x0", "y1", "x1"))
            exact = partner[k : k + 1].double()  # float32 would round the places
            small = torch.nn.functional.interpolate(exact, (y1 - y0, x1 - x0), mode="bilinear")
            mixed[k, :, y0:y1, x0:x1] = small[0]
        return mixed
