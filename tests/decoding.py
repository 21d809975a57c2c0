"""Decoders called as the engine calls them, with images that tests make."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from fastaug.data.source import Kind, Pixels, Source
from fastaug.decode.canvas import Canvas
from fastaug.decode.decoders import Router
from fastaug.decode.graphs import Decode, built
from fastaug.decode.jobs import Jobs, jobs_of, views_of
from fastaug.decode.scale import PixelDecoder, Scaler
from fastaug.machine.device import PlainDevice, Pool
from fastaug.plan.batch_plan import BatchPlan
from fastaug.sampling.epoch import Ticket

CPU = PlainDevice(torch.device("cpu"))


def canvas_of(n: int, size: tuple[int, int]) -> Canvas:
    return Canvas(CPU, Pool(), n, [size])


def scaled(plan: BatchPlan, images: Sequence[np.ndarray], compiled: bool = True) -> np.ndarray:
    """A plan's boxes of images in memory, scaled: uint8 [B, H, W, 3]."""
    scaler = Scaler(2)
    if not compiled:
        scaler._lib = None
    rows = np.arange(len(plan))
    kinds = np.full(len(plan), Kind.PIXELS, np.uint8)
    canvas = canvas_of(len(plan), plan.size)
    jobs = jobs_of(plan, rows, [Pixels(image) for image in images], kinds)
    assert PixelDecoder(scaler).run(jobs, canvas, lambda: False) == {}
    scaler.close()
    return canvas.pixels().numpy()


def jobs_for(source: Source, plan: BatchPlan) -> Jobs:
    ids = plan["index"]
    boxes = np.stack([plan[name] for name in ("y0", "x0", "h", "w")], 1)
    described = source.describe(Ticket.of(ids))
    rows = np.arange(len(ids))
    return jobs_of(plan, rows, source.fetch(described, rows, boxes), described.kind)


def box_of(
    source: Source, i: int, box: tuple[int, int, int, int], router: Router | None = None
) -> np.ndarray:
    """The decoded pixels (y0, x0, h, w) of sample i, not scaled: uint8 [h, w, 3].

    Raises:
        ValueError: with the reason, when it cannot be decoded.
    """
    _, _, h, w = box
    described = source.describe(Ticket.of(np.array([i])))
    assert not described.faults, described.faults
    boxes = np.array([box], np.int32)
    items = source.fetch(described, np.arange(1), boxes)
    views = views_of(whole_image(h, w), np.arange(1))
    own = router or Router(Decode(), 1, 1, None)
    canvas = canvas_of(1, (h, w))
    faults = own.run(Jobs(items, described.kind, boxes, views), canvas)
    if router is None:
        own.close()
    if faults:
        raise ValueError(faults[0])
    return canvas.pixels()[0].numpy()


@cache
def peeking():
    """DALI's header parser."""
    import nvidia.dali as dali

    @dali.pipeline_def(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def peek():
        data = dali.fn.external_source(name="data", dtype=dali.types.UINT8, ndim=1, batch=True)
        return dali.fn.peek_image_shape(data, dtype=dali.types.INT32)

    return built(peek())


def peeked(image: np.ndarray) -> tuple[int, int]:
    """(height, width) as DALI reads them from an encoded image; (0, 0) where it does not."""
    try:
        height, width = (int(side) for side in peeking().run(data=[image])[0].as_array()[0][:2])
    except RuntimeError:
        return 0, 0
    return (height, width) if min(height, width) > 0 else (0, 0)


def whole_image(h: int, w: int) -> BatchPlan:
    """A plan of one row that shows its whole box as it is."""
    import fastaug as fa

    from .conftest import draw_plan

    return draw_plan([fa.Resize((h, w), "nearest")], 1, size=(h, w))
