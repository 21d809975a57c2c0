"""torch's DataLoader with torchvision's v2 transforms on uint8 tensors, decoded by torchvision.io."""

from __future__ import annotations

import torch
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2
from workloads import MEAN, STD, Job

from .torchvision_pil import data_loader

TITLE = "torchvision v2 (tensors)"


def pipeline(workload: str):
    """Transforms of one sample; uint8 until the last step, as the documentation advises."""
    normalise = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    if workload == "eval":
        return v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224), *normalise])
    steps = [v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip()]
    if workload == "randaugment":
        steps.append(v2.RandAugment())
    steps += normalise
    if workload == "mixed":
        steps.append(v2.RandomErasing(0.5))
    return v2.Compose(steps)


def read(path: str) -> torch.Tensor:
    """uint8 ``[3, H, W]``."""
    return decode_image(path, mode=ImageReadMode.RGB)


def make(job: Job):
    """ImageFolder, tensors, worker processes."""
    return data_loader(job, ImageFolder(job.data, pipeline(job.workload), loader=read))
