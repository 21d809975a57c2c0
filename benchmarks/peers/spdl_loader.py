"""SPDL: threads that demux, decode, crop and scale with FFmpeg; collation and normalisation in torch."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from torchvision.datasets import ImageFolder
from workloads import MEAN, STD, Job, Unsupported

TITLE = "SPDL"


def box(width: int, height: int) -> tuple[int, int, int, int]:
    """RandomResizedCrop's box: w, h, x, y."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1.0)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return w, h, random.randint(0, width - w), random.randint(0, height - h)
    side = min(width, height)
    return side, side, (width - side) // 2, (height - side) // 2


def make(job: Job):
    """A PipelineBuilder with a thread pool, as in SPDL's image classification example."""
    if job.workload not in ("crop", "eval") or job.device != "cpu":
        raise Unsupported("its FFmpeg filters have no such augmentation")
    try:
        import spdl.io as io
        from spdl.pipeline import PipelineBuilder

        io.demux_image  # noqa: B018  loads FFmpeg
    except (ImportError, RuntimeError, AttributeError) as error:
        raise Unsupported(f"SPDL does not load: {str(error).splitlines()[0][:60]}") from error
    samples = ImageFolder(job.data).samples
    mean, std = (torch.tensor(v)[:, None, None] * 255 for v in (MEAN, STD))

    def decode(sample):
        packets = io.demux_image(sample[0])
        if job.workload == "eval":
            steps = ["scale=256:256:force_original_aspect_ratio=increase:flags=bilinear", "crop=224:224"]
        else:
            w, h, x, y = box(packets.width, packets.height)
            steps = [
                f"crop={w}:{h}:{x}:{y}:exact=1",
                "scale=224:224:flags=bilinear",
                *(["hflip"] if random.random() < 0.5 else []),
            ]
        frames = io.decode_packets(packets, filter_desc=",".join([*steps, "format=pix_fmts=rgb24"]))
        return io.to_numpy(io.convert_frames(frames)), sample[1]

    def collate(batch):
        pixels = torch.from_numpy(np.stack([image for image, _ in batch])).permute(0, 3, 1, 2)
        return (pixels.float() - mean) / std, torch.tensor([label for _, label in batch])

    class Epochs:
        def __iter__(self):
            order = random.sample(samples, len(samples)) if job.workload != "eval" else samples
            pipeline = (
                PipelineBuilder()
                .add_source(order)
                .pipe(decode, concurrency=job.threads)
                .aggregate(job.batch)
                .pipe(collate)
                .add_sink(2)
                .build(num_threads=job.threads)
            )
            with pipeline.auto_stop():
                yield from pipeline

    return Epochs()
