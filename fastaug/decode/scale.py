"""Scales pixels into a batch, by the compiled kernel on threads or torch's operations: those that were
decoded, and images that are pixels already."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.form import Raster
from ..data.source import Kind, Pixels, Stack
from ..machine.library import OTHER_VERSION, library
from ..ops.base import INTERPOLATIONS
from ..ops.sheet import PADDING_MODES
from ..plan.batch_plan import BatchPlan
from ..plan.views_plan import Plan
from .canvas import Canvas, Unscaled
from .jobs import Jobs, axes_of, jobs_of
from .warp import filling, filter_at, nearest_along, padded_from, warped

_PART = 1 << 16  # pixels, read and written, that are worth a thread's while
# The mirror of struct Scaling in kernels/scale.h, where each field is explained.
SCALING = np.dtype(
    [
        ("source", "u8"),
        ("stride", "i8"),
        ("out", "u8"),
        ("y0", "i4"),
        ("x0", "i4"),
        ("h", "i4"),
        ("w", "i4"),
        ("height", "i4"),
        ("width", "i4"),
        ("start_y", "f8"),
        ("start_x", "f8"),
        ("step_y", "f8"),
        ("step_x", "f8"),
        ("flip_y", "i4"),
        ("flip_x", "i4"),
        ("filter", "i4"),
        ("frame", "i4", 4),
        ("mode", "i4"),
        ("fill", "f4", 3),
        ("warp", "i4"),
        ("map", "f8", 9),
    ],
    align=True,
)


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of some jobs: those of each job's box, uint8 RGB.

    Attributes:
        pointers: uint64 ``[J]``, addresses of the first pixels in host memory.
        strides: int64 ``[J]``, bytes from one line to the next.
        owner: keeps the memory alive.
    """

    pointers: npt.NDArray[np.uint64]
    strides: npt.NDArray[np.int64]
    owner: Any


def scalings_of(jobs: Jobs) -> npt.NDArray[np.void]:
    """How the views of some jobs are scaled, without addresses: SCALING ``[V]``."""
    y, x = axes_of(jobs.views)
    scalings = np.zeros(len(jobs.views), SCALING)
    for k, name in enumerate(("y0", "x0", "h", "w")):
        scalings[name] = jobs.views["box"][:, k]
    scalings["height"], scalings["width"] = jobs.views["size"].T
    scalings["filter"] = jobs.views["filter"]
    scalings["start_y"], scalings["step_y"], scalings["flip_y"] = y
    scalings["start_x"], scalings["step_x"], scalings["flip_x"] = x
    for name, column in (
        ("frame", "frame"),
        ("mode", "padding_mode"),
        ("fill", "crop_fill"),
        ("warp", "warp"),
    ):
        scalings[name] = jobs.views[column]
    if scalings["warp"].any():
        scalings["map"] = jobs.views["map"].reshape(-1, 9)
    return scalings


def placed(jobs: Jobs, decoded: Decoded) -> npt.NDArray[np.void]:
    """How the views of some jobs are scaled, with the addresses of their pixels, and not yet where they go:
    SCALING ``[V]``."""
    scalings, job = scalings_of(jobs), jobs.views["job"]
    scalings["source"], scalings["stride"] = decoded.pointers[job], decoded.strides[job]
    return scalings


def lent(plan: Plan, rows: npt.NDArray[np.intp], items: Stack, canvas: Canvas) -> bool:
    """Lends a canvas the crops of a plan, where all of them are pixels of images in one array as they are.

    Args:
        plan: the batch.
        rows: those that are to be decoded.
        items: their images.
        canvas: where they would go.

    Returns:
        Whether it did.
    """
    if not canvas.lends or len(rows) != canvas.count or not all(map(_unscaled, plan.views)):
        return False
    pointers, strides = items.memory()
    crops = []
    for view in plan.views:
        corner = view.rows["y0"] * strides + view.rows["x0"] * np.int64(3)
        crops.append(Unscaled(pointers + corner.astype(np.uint64), strides, items))
    canvas.lend(crops)
    return True


def _unscaled(plan: BatchPlan) -> bool:
    """Whether all rows show pixels as they are."""
    rows = plan.rows
    whole = all((rows[f"step_{a}"] == 1).all() and (rows[f"start_{a}"] % 1 == 0).all() for a in "yx")
    return whole and not rows["warp"].any()


def carry_out(scalings: npt.NDArray[np.void]) -> None:
    """Scales, on the calling thread."""
    lib = library()
    if lib is not None:
        lib.fastaug_scale(scalings.ctypes.data, len(scalings))
        return
    for scaling in scalings:
        scaled(scaling)


class Scaler:
    """Scales on ``threads`` threads, with the compiled kernel where there is one.

    Images come out within 1 of Pillow's, bicubic within 2; each is mirrored as its view says.
    """

    def __init__(self, threads: int) -> None:
        self._threads, lib = threads, library()
        if lib is not None and lib.fastaug_scaling_bytes() != SCALING.itemsize:
            raise ImportError(OTHER_VERSION)
        self._workers = ThreadPoolExecutor(threads, "fastaug-scale")

    def start(self, jobs: Jobs, decoded: Decoded, canvas: Canvas) -> None:
        """Starts scaling the views of some jobs into their rows of the canvas, which waits for it."""
        out, scalings = canvas.host, placed(jobs, decoded)
        scalings["out"] = canvas.addresses(jobs.views)
        pixels = int((scalings["h"] * scalings["w"] + scalings["height"] * scalings["width"]).sum())
        count = max(1, min(len(scalings), 4 * self._threads, pixels // _PART))
        edges = [len(scalings) * k // count for k in range(count + 1)]
        parts = [scalings[first:last] for first, last in itertools.pairwise(edges)]
        canvas.writing([self._workers.submit(self._scale, part, decoded, out) for part in parts])

    def _scale(self, scalings: npt.NDArray[np.void], decoded: Decoded, out: Sequence[torch.Tensor]) -> None:
        carry_out(scalings)  # in memory that the arguments hold

    def close(self) -> None:
        """Ends the threads."""
        self._workers.shutdown()


def scale_wide(jobs: Jobs, image: Callable[[int], npt.NDArray[np.float32]]) -> None:
    """Scales the boxes of jobs whose images are wide, on the calling thread, not rounded.

    Args:
        jobs: with pixels float32 ``[h, w, C]``.
        image: the place of a row, float32 ``[H, W, C]``.
    """
    for scaling, view in zip(scalings_of(jobs), jobs.views, strict=True):
        item = jobs.items[view["job"]]
        assert isinstance(item, Pixels)
        box = torch.from_numpy(item.array[_shown(jobs, view)])
        image(int(view["row"]))[:] = resampled(box, scaling, rounded=False).numpy()


def _shown(jobs: Jobs, view: np.void) -> tuple[slice, slice]:
    """The part of its image that a view looks at."""
    corner = jobs.boxes[view["job"], :2] + view["box"][:2]
    (y, x), (h, w) = corner.tolist(), view["box"][2:].tolist()
    return slice(y, y + h), slice(x, x + w)


def resample_all(plan: BatchPlan, images: Sequence[torch.Tensor], raster: Raster) -> torch.Tensor:
    """The crops of a plan, by torch's operations on the images' device: ``[B, H, W, C]``.

    Args:
        plan: the batch.
        images: ``[H, W, C]`` each, as the raster has them.
        raster: of the pixels.
    """
    kinds = np.zeros(len(plan), np.uint8)
    jobs = jobs_of(plan, np.arange(len(plan)), [], kinds)
    out = []
    for image, scaling, view in zip(images, scalings_of(jobs), jobs.views, strict=True):
        made = resampled(image[_shown(jobs, view)].float(), scaling, rounded=not raster.wide)
        out.append(made if raster.wide else made.to(torch.uint8))
    return torch.stack(out)


def resampled(image: torch.Tensor, scaling: np.void, *, rounded: bool) -> torch.Tensor:
    """One scaling by torch's operations: two matrix products, each rounded to whole numbers as Pillow does,
    or not. A turned one: ``warp.warped``.

    Args:
        image: float32 ``[h, w, C]``, the box.
        scaling: SCALING; its addresses are not looked at.
        rounded: whether pixels are bytes.
    """
    kind, mode = INTERPOLATIONS[scaling["filter"]], PADDING_MODES[scaling["mode"]]
    if scaling["warp"]:
        return warped(image, scaling, kind, mode, rounded=rounded)
    for axis, name, length, into in ((1, "x", "w", "width"), (0, "y", "h", "height")):
        start, step = float(scaling[f"start_{name}"]), float(scaling[f"step_{name}"])
        low, high = scaling["frame"][[1 - (not axis), 3 - (not axis)]].tolist()
        places = padded_from(np.arange(scaling[into]), low, high, mode)
        if step == 1 and start == int(start):
            image = image.index_select(axis, torch.from_numpy(places + int(start)).to(image.device))
        else:
            rows = weights(kind, places, max(low, 0), int(scaling[length]), start, step).to(image.device)
            image = torch.einsum("ow,hwc->hoc" if axis else "oh,hwc->owc", rows, image)
            if rounded:
                image = image.add(0.5).floor().clamp(0, 255)
        outside = (np.arange(scaling[into]) < low) | (np.arange(scaling[into]) >= high)
        if mode == "constant" and outside.any():
            at = (slice(None),) * axis + (torch.from_numpy(outside).to(image.device),)
            image = image.clone()
            image[at] = filling(scaling["fill"], image, rounded=rounded)
    mirrored = [axis for axis, name in enumerate(("flip_y", "flip_x")) if scaling[name]]
    return image.flip(mirrored) if mirrored else image


def boxes_in_memory(jobs: Jobs) -> Decoded:
    """The boxes of jobs whose images are pixels, where they lie."""
    if isinstance(jobs.items, Stack):
        pointers, strides = jobs.items.memory()
    else:
        arrays = [item.array for item in jobs.items if isinstance(item, Pixels)]
        pointers = np.array([array.ctypes.data for array in arrays], np.uint64)
        strides = np.array([array.strides[0] for array in arrays], np.int64)
    corner = jobs.boxes[:, 0] * strides + jobs.boxes[:, 1] * 3
    return Decoded(pointers + corner.astype(np.uint64), strides, jobs.items)


class PixelDecoder:
    """Scales the boxes of images in memory, uint8 ``[h, w, 3]`` whose pixels lie side by side.

    Args:
        scaler: its threads are used.
    """

    def __init__(self, scaler: Scaler) -> None:
        self._scaler = scaler

    def takes(self, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Pixels alone."""
        return kinds == Kind.PIXELS

    def run(self, jobs: Jobs, canvas: Canvas, dropped: Callable[[], bool]) -> dict[int, str]:
        """Never finds a fault: a source that gives pixels has read them."""
        if canvas.raster.wide:
            scale_wide(jobs, canvas.image)
            return {}
        self._scaler.start(jobs, boxes_in_memory(jobs), canvas)
        return {}

    def close(self) -> None:
        """Holds nothing."""


def scaled(scaling: np.void) -> None:
    """Carries out one scaling with torch's operations, the portable second of the compiled kernel."""
    h, w, height, width = (int(scaling[name]) for name in ("h", "w", "height", "width"))
    corner = scaling["source"] + np.uint64(scaling["y0"] * scaling["stride"] + 3 * scaling["x0"])
    image = torch.from_numpy(_pixels(corner, (h, w, 3), scaling["stride"]).astype(np.float32))
    out = _pixels(scaling["out"], (height, width, 3), 3 * width, writable=True)
    out[:] = resampled(image, scaling, rounded=True).to(torch.uint8).numpy()


def _pixels(
    address: int, shape: tuple[int, int, int], stride: int, writable: bool = False
) -> npt.NDArray[np.uint8]:
    """Memory as an array uint8 ``[h, w, 3]``."""
    interface = {
        "data": (int(address), not writable),
        "shape": shape,
        "typestr": "|u1",
        "strides": (int(stride), 3, 1),
        "version": 3,
    }
    return np.asarray(type("Pixels", (), {"__array_interface__": interface})())


def weights(
    kind: str, places: npt.NDArray[np.int64], first: int, in_size: int, start: float, step: float
) -> torch.Tensor:
    """Scaling along an axis as a matrix: float32 ``[len(places), in_size]``, rows summing to 1.

    Output pixel i weighs the input around start + (i + 0.5) * step: "nearest" takes the pixel there; others a
    filter of half width max(step, 1) times its reach. What lies outside the input is left out and the rest
    weighs more.

    Args:
        kind: one of INTERPOLATIONS.
        places: the output pixels.
        first: the least of them.
        in_size: pixels of the input.
        start: where output pixel 0 begins.
        step: from one to the next.
    """
    if kind == "nearest":
        there = nearest_along(places, first, in_size, start, step)
        return torch.zeros(len(places), in_size).scatter_(1, torch.from_numpy(there)[:, None], 1.0)
    centre = start + (places[:, None] + 0.5) * step
    out = filter_at((np.arange(in_size) + 0.5 - centre) / max(step, 1.0), kind)
    return torch.from_numpy((out / out.sum(1, keepdims=True)).astype(np.float32))
