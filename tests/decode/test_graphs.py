"""The GPU's DALI graphs: built and serialised without a GPU; their CPU twins' pixels beside Pillow's."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fastaug as fa
from fastaug.data.datasets import as_listing
from fastaug.data.opening import open_source
from fastaug.data.source import Kind, Pixels
from fastaug.decode.canvas import Canvas
from fastaug.decode.decoders import Router
from fastaug.decode.graphs import Decode, images_graph
from fastaug.decode.jobs import jobs_of
from fastaug.machine.device import Passed, PlainDevice, Pool
from fastaug.machine.limits import with_remedy
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

from ..conftest import draw_plan, write_corrupt
from ..decoding import CPU, canvas_of, jobs_for, scaled

OPTIONS = Decode("gpu", hw_decoder_load=0.875)


def fields(data: bytes):
    """(number, value) of each field of a protocol buffer message."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            length = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, data[at : at + length]
            at += length


def argument(data: bytes):
    """dali.proto's Argument: 1 name, 3 a float, 4 an int, 5 text, 6 a bool, 7 elements."""
    parts = list(fields(data))
    name = dict(parts)[1].decode()
    values = []
    for number, value in parts:
        if number == 3:
            values.append(struct.unpack("<f", value)[0])
        elif number in (4, 6):
            values.append(value)
        elif number == 5:
            values.append(value.decode())
        elif number == 7:
            values.append(argument(value)[1])
    return name, values[0] if len(values) == 1 else values


def operators(pipe):
    """dali.proto's PipelineDef: 5 operators, of 1 name, 2 inputs, 4 arguments."""
    found = []
    for number, value in fields(pipe.serialize()):
        if number == 5:
            parts = list(fields(value))
            arguments = dict(argument(v) for n, v in parts if n == 4 and b"_origin_stack" not in v)
            inputs = [dict(fields(v)).get(4, b"").decode() for n, v in parts if n == 2]
            found.append((dict(parts)[1].decode(), arguments, [name for name in inputs if name]))
    return found


@pytest.mark.parametrize("files", [True, False])
def test_the_gpu_graph_holds_its_operators_devices_and_arguments(files):
    pipe = images_graph(
        OPTIONS,
        ("mixed", None),
        files=files,
        batch_size=16,
        threads=3,
        size=(224, 192),
        interpolation="bilinear",
    )
    found = [op for op in operators(pipe) if op[0] not in ("ExternalSource", "_TensorSubscript")]
    assert [(name, arguments["device"]) for name, arguments, _ in found] == [
        *([("io__file__Read", "cpu")] if files else []),
        ("decoders__Image", "mixed"),
        ("Slice", "gpu"),
        ("Resize", "gpu"),
    ]
    decoding = found[1 if files else 0][1]
    assert decoding["hw_decoder_load"] == 0.875
    cutting = found[-2][1]
    assert cutting["axes"] == [0, 1]
    _, resize, named = found[-1]
    assert resize["size"] == [224.0, 192.0]
    assert (resize["antialias"], resize["interp_type"]) == (1, 1)  # INTERP_LINEAR
    assert sorted(named) == ["roi_end", "roi_start"]
    assert (pipe.max_batch_size, pipe.num_threads, pipe.prefetch_queue_depth) == (16, 3, 1)


def test_wrong_graphs_are_refused():
    common = dict(files=True, batch_size=4, threads=1, size=(8, 8), interpolation="bilinear")
    with pytest.raises(RuntimeError, match="incompatible device"):  # a GPU decoder fed from the CPU
        images_graph(Decode("gpu"), ("gpu", None), **common)
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        images_graph(Decode("gpu"), ("mixed", None), **common | {"size": ("a", "b")})


class Twin:
    """Runs the GPU's graph on the CPU."""

    decoding = ("cpu", None)

    def run(self, pipe, **inputs):
        return torch.utils.dlpack.from_dlpack(pipe.run(**inputs)[0].as_tensor()).clone()

    def gather(self, images, rows):
        return torch.cat(images)[torch.from_numpy(rows)]

    def staging(self, shape, memory):
        return torch.from_numpy(memory.take(shape, np.uint8))

    def upload(self, host):
        return host

    def mark(self):
        return PlainDevice(torch.device("cpu")).mark()


@pytest.mark.parametrize(
    "augment",
    [
        [fa.RandomResizedCrop((96, 80)), fa.RandomHorizontalFlip()],
        [fa.Resize(128), fa.CenterCrop(112)],
        [fa.Resize((64, 90))],
    ],
    ids=["random crop", "evaluation", "whole"],
)
def test_the_graph_crops_scales_and_flips_as_pillow_does(photos, augment):
    """Within 1 inside; DALI repeats a box's edge where Pillow leaves it out, so borders differ more."""
    from torchvision.transforms import v2

    listing = as_listing(photos)
    names, source = listing.paths, open_source(listing)
    router = Router(Decode("gpu"), 40, 2, Twin())
    border = 0
    for k in range(0, len(names), 4):
        image = Image.open(names[k]).convert("RGB")
        plan = draw_plan(augment, 1, size=image.size[::-1], first=k)
        canvas = canvas_of(1, plan.size)
        assert router.run(jobs_for(source, plan), canvas) == {}
        got = canvas.pixels()[0].numpy().astype(int)
        row = plan.rows[0]
        if isinstance(augment[0], fa.RandomResizedCrop):
            y, x, h, w = (int(row[c]) for c in ("y0", "x0", "h", "w"))
            want = image.crop((x, y, x + w, y + h)).resize(plan.size[::-1], Image.Resampling.BILINEAR)
        else:
            want = v2.Compose(
                [
                    v2.Resize(op.size) if isinstance(op, fa.Resize) else v2.CenterCrop(op.size)
                    for op in augment
                ]
            )(image)
        want = np.asarray(want).astype(int)
        want = want[:, ::-1] if row["flip"] else want
        difference = np.abs(got - want)
        assert difference[2:-2, 2:-2].max() <= 1
        border = max(border, difference.max())
    assert border <= 24


def decoded(source, plan, rows, items=None, kinds=None, canvas=None):
    """A canvas with some rows of a plan, decoded and scaled by the GPU's graph."""
    router = Router(Decode("gpu"), 8, 2, Twin())
    ids = plan["index"][rows]
    boxes = np.stack([plan[name][rows] for name in ("y0", "x0", "h", "w")], 1)
    described = source.describe(Ticket.of(ids))
    items = source.fetch(described, np.arange(len(ids)), boxes) if items is None else items
    kinds = described.kind if kinds is None else kinds
    canvas = canvas or Canvas(Twin(), Pool(), len(plan), [plan.size])
    faults = router.run(jobs_of(plan, rows, items, kinds), canvas)
    router.close()
    return canvas, faults


def sized_plan(source, n: int, size=(40, 48)):
    """A plan of crops and flips for the first images of a source."""
    planner, ids = Planner([fa.RandomResizedCrop(size), fa.RandomHorizontalFlip()]), np.arange(n)
    sizes = source.describe(Ticket.of(ids))
    return planner.plan(Ticket.of(ids), sizes.height, sizes.width)


def test_a_batch_may_mix_filters(photos):
    source = open_source(photos)
    plan = sized_plan(source, 6)
    one = {k: decoded(source, other(plan, k), np.arange(6))[0].pixels() for k in range(3)}
    plan.rows["interpolation"] = [0, 1, 2, 2, 1, 0]
    got = decoded(source, plan, np.arange(6))[0].pixels()
    for row, kind in enumerate(plan["interpolation"]):
        assert (got[row] == one[int(kind)][row]).all()


def with_flip(plan, flipped: int):
    plan = plan.take(range(len(plan)))
    plan.rows["flip_y"] = flipped
    return plan


def other(plan, kind: int):
    plan = plan.take(range(len(plan)))
    plan.rows["interpolation"] = kind
    return plan


def test_a_bad_file_leaves_the_others_their_pixels(photos, tmp_path):
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    write_corrupt(folder, "0000.jpg")
    source = open_source(folder)
    bad = next(i for i in range(len(source)) if "0000.jpg" in source.name(i))
    plan = sized_plan(source, bad + 3)
    rows = np.arange(len(plan))
    canvas, faults = decoded(source, plan, rows)
    assert list(faults) == [bad]
    keep = [k for k in rows.tolist() if k != bad]
    want, none = decoded(source, plan, np.array(keep))
    assert not none
    assert (canvas.pixels(0, keep) == want.pixels(0, keep)).all()


def test_a_broken_device_blames_no_file(photos, monkeypatch):
    """DALI says the same of a bad file and of a context that is gone; the stream knows."""

    def broken(self):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def gone(self, pipe, **inputs):
        raise RuntimeError("Error in MIXED operator: Failed to decode")

    source = open_source(photos)
    plan = sized_plan(source, 4)
    monkeypatch.setattr(Twin, "run", gone)
    monkeypatch.setattr(Passed, "query", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        decoded(source, plan, np.arange(4))
    said = str(with_remedy(RuntimeError("CUDA error: an illegal memory access was encountered")))
    assert "no file is to blame: start the process again" in said


@pytest.mark.parametrize("place", ["cpu", "gpu"])
def test_a_batch_may_mix_kinds_of_images(photos, place):
    """Files and pixels, each row by its own decoder."""
    source = open_source(photos)
    plan = sized_plan(source, 7)
    rows = np.arange(7)
    sizes = source.describe(Ticket.of(rows))
    noise = np.random.default_rng(0)
    images = [
        noise.integers(0, 256, (h, w, 3), np.uint8) for h, w in zip(sizes.height, sizes.width, strict=True)
    ]
    boxes = np.stack([plan[name] for name in ("y0", "x0", "h", "w")], 1)
    items, kinds = list(source.fetch(sizes, np.arange(len(rows)), boxes)), sizes.kind.copy()
    for k in (0, 3, 4):
        items[k], kinds[k] = Pixels(images[k]), Kind.PIXELS
    device = CPU if place == "cpu" else Twin()
    router = Router(Decode(place), 8, 2, None if place == "cpu" else device)
    canvas, files = (Canvas(device, Pool(), 7, [plan.size]) for _ in range(2))
    assert router.run(jobs_of(plan, rows, items, kinds), canvas) == {}
    assert router.run(jobs_for(source, plan), files) == {}
    router.close()
    got, want, drawn = canvas.pixels(), files.pixels(), scaled(plan, images)
    for k in range(7):
        assert (got[k].numpy() == (drawn[k] if k in (0, 3, 4) else want[k].numpy())).all(), k
